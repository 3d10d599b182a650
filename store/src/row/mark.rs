//! The one row that says where the others stand.

use compute::model::{LogIdentity, LogState};
use compute::port::store::Epoch;

use super::{Cell, Cells, Names, Reader, Table, Wrong, bytes, checksum, int, number, seal};

/// `epoch` has the guard's place, but is compared by hand.
pub(crate) const MARK: Table = Table {
    name: "presence_mark",
    key: &[number("only_row")],
    values: &[number("epoch"), bytes("log_identity"), number("watermark"), number("time_ms"), number("rolling_hash")],
    guard: "epoch",
};

pub(crate) fn mark_cells(epoch: Epoch, log: &LogState) -> Vec<Cell> {
    let mut cells = vec![
        int(1),
        int(epoch.0),
        Cell::Blob(log.identity.0.to_vec()),
        int(log.watermark.packed()),
        int(log.time_ms),
        int(log.rolling_hash),
    ];
    seal(&mut cells, 0, &mut Vec::new());
    cells
}

pub(crate) fn mark(cells: &impl Cells) -> Result<(Epoch, LogState), Wrong> {
    let mut names = Names::default();
    let mut reader = Reader { cells, names: &mut names, at: 1 };
    let mut read = || {
        let epoch = Epoch(reader.u64()?);
        let log = LogState {
            identity: LogIdentity(reader.sixteen()?),
            watermark: reader.position()?,
            time_ms: reader.u64()?,
            rolling_hash: reader.u64()?,
        };
        checksum::check(&MARK, cells, &mut Vec::new())?;
        Ok((epoch, log))
    };
    read().map_err(|wrong: Wrong| format!("table {}: {wrong}", MARK.name))
}
