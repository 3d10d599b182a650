//! The nodes that the log shows, and those that it says are gone.

use compute::model::{MemberRow, NodeIncarnation};

use super::{Cell, Cells, Kind, Reader, Table, Wrong, bytes, int, number, text};

pub(crate) struct Members;

impl Kind for Members {
    type Key = NodeIncarnation;
    type Value = MemberRow;

    const TABLE: Table = Table {
        name: "presence_member",
        key: &[number("node")],
        values: &[
            number("seen"),
            number("joined"),
            number("joined_ms"),
            number("applied"),
            number("rolling_hash"),
            number("landed"),
            number("leaving"),
            number("gone"),
            bytes("name"),
            bytes("peer"),
        ],
        guard: "seen",
    };

    fn write_key(key: &NodeIncarnation, out: &mut Vec<Cell>) {
        out.push(int(key.0));
    }

    fn write_value(row: &MemberRow, out: &mut Vec<Cell>) {
        out.extend([
            int(row.seen.packed()),
            int(row.joined.packed()),
            int(row.joined_ms),
            int(row.applied.packed()),
            int(row.rolling_hash),
            int(row.landed.packed()),
            int(u64::from(row.leaving)),
            int(u64::from(row.gone)),
            text(&row.name),
            text(&row.peer),
        ]);
    }

    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(NodeIncarnation, MemberRow), Wrong> {
        let key = NodeIncarnation(reader.u64()?);
        let row = MemberRow {
            seen: reader.revision()?,
            joined: reader.revision()?,
            joined_ms: reader.u64()?,
            applied: reader.position()?,
            rolling_hash: reader.u64()?,
            landed: reader.position()?,
            leaving: reader.flag()?,
            gone: reader.flag()?,
            name: reader.text()?.into(),
            peer: reader.text()?.into(),
        };
        Ok((key, row))
    }
}
