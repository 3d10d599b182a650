//! What guards decisions: sessions, freezes, and which origins were applied.

use compute::model::{Freeze, FreezeRow, FreezeScope, NodeIncarnation, OriginRow, Session, SessionId, SessionRow};
use prost::Message as _;
use schemas::thuban::change::v1 as proto;

use super::{Cell, Cells, Kind, Reader, Table, Wrong, bytes, int, number, service_cells, text};

pub(crate) struct Sessions;

impl Kind for Sessions {
    type Key = SessionId;
    type Value = SessionRow;

    const TABLE: Table = Table {
        name: "presence_session",
        key: &[bytes("session")],
        values: &[
            number("revision"),
            number("epoch"),
            number("node"),
            number("grace_ms"),
            number("opened_at_ms"),
            bytes("client"),
        ],
        guard: "revision",
    };

    fn write_key(key: &SessionId, out: &mut Vec<Cell>) {
        out.push(Cell::Blob(key.0.to_vec()));
    }

    fn write_value(row: &SessionRow, out: &mut Vec<Cell>) {
        out.extend([
            int(row.revision.packed()),
            int(u64::from(row.epoch)),
            int(row.node.0),
            int(u64::from(row.grace_ms)),
            int(row.opened_at_ms),
            text(&row.client),
        ]);
    }

    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(SessionId, SessionRow), Wrong> {
        let key = SessionId(reader.sixteen()?);
        let row = Session {
            revision: reader.revision()?,
            epoch: reader.u32()?,
            node: NodeIncarnation(reader.u64()?),
            grace_ms: reader.u32()?,
            opened_at_ms: reader.u64()?,
            client: reader.text()?.into(),
        };
        Ok((key, row))
    }
}

pub(crate) struct Freezes;

impl Kind for Freezes {
    type Key = FreezeScope;
    type Value = FreezeRow;

    const TABLE: Table = Table {
        name: "presence_freeze",
        key: &[number("scope_node"), bytes("namespace"), bytes("service")],
        values: &[number("revision"), number("node"), number("since_ms"), number("lapsed"), number("of")],
        guard: "revision",
    };

    fn write_key(key: &FreezeScope, out: &mut Vec<Cell>) {
        match key {
            FreezeScope::Node(node) => out.extend([int(node.0), text(""), text("")]),
            FreezeScope::Service(service) => {
                out.push(int(0));
                service_cells(service, out);
            }
        }
    }

    fn write_value(row: &FreezeRow, out: &mut Vec<Cell>) {
        out.extend([
            int(row.revision.packed()),
            int(row.node.0),
            int(row.since_ms),
            int(u64::from(row.lapsed)),
            int(u64::from(row.of)),
        ]);
    }

    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(FreezeScope, FreezeRow), Wrong> {
        let node = reader.u64()?;
        // No namespace has an empty name.
        let key = if reader.cells.text(reader.at)?.is_empty() {
            let (_, service) = (reader.next(), reader.text()?);
            if !service.is_empty() {
                return Err("a service without a namespace".to_owned());
            }
            FreezeScope::Node(NodeIncarnation(node))
        } else {
            FreezeScope::Service(reader.service_key()?)
        };
        let row = Freeze {
            revision: reader.revision()?,
            node: NodeIncarnation(reader.u64()?),
            since_ms: reader.u64()?,
            lapsed: reader.u32()?,
            of: reader.u32()?,
        };
        Ok((key, row))
    }
}

pub(crate) struct Origins;

impl Kind for Origins {
    type Key = NodeIncarnation;
    type Value = OriginRow;

    const TABLE: Table = Table {
        name: "presence_origin",
        key: &[number("node")],
        values: &[number("last_seen"), number("highest"), bytes("gaps")],
        guard: "last_seen",
    };

    fn write_key(key: &NodeIncarnation, out: &mut Vec<Cell>) {
        out.push(int(key.0));
    }

    fn write_value(row: &OriginRow, out: &mut Vec<Cell>) {
        // What has a column is not written twice.
        let gaps = proto::OriginRow { gaps: row.gaps.clone(), ..proto::OriginRow::default() };
        out.extend([int(row.last_seen.packed()), int(row.highest), Cell::Blob(gaps.encode_to_vec())]);
    }

    fn read<C: Cells>(reader: &mut Reader<'_, C>) -> Result<(NodeIncarnation, OriginRow), Wrong> {
        let key = NodeIncarnation(reader.u64()?);
        let (last_seen, highest) = (reader.position()?, reader.u64()?);
        let gaps = proto::OriginRow::decode(reader.blob()?).map_err(|e| e.to_string())?.gaps;
        let rising = gaps.is_sorted_by(|a, b| a < b) && gaps.last().is_none_or(|last| *last < highest);
        if !rising {
            return Err(format!("gaps that do not rise to below {highest}"));
        }
        Ok((key, OriginRow { highest, gaps, last_seen }))
    }
}
