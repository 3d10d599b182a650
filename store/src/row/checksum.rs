//! A checksum over each row: what a database's own checks let through, a bit that a disk has turned, is found here.

use twox_hash::XxHash3_64;

use super::{Cell, Cells, Column, Holds, Table, Wrong, number};

/// The last column of every table.
pub(crate) const CHECKSUM: Column = number("checksum");

const NULL: u8 = 0;
const NUMBER: u8 = 1;
const BYTES: u8 = 2;

/// Puts the checksum of the row that begins at `from` behind it.
pub(crate) fn seal(cells: &mut Vec<Cell>, from: usize, scratch: &mut Vec<u8>) {
    scratch.clear();
    for cell in &cells[from..] {
        match cell {
            Cell::Int(value) => add_number(*value, scratch),
            Cell::Text(text) => add_bytes(text.as_bytes(), scratch),
            Cell::Blob(blob) => add_bytes(blob, scratch),
            Cell::Null => scratch.push(NULL),
        }
    }
    cells.push(Cell::Int(of(scratch)));
}

/// Whether a row is what was written.
pub(super) fn check(table: &Table, cells: &impl Cells, scratch: &mut Vec<u8>) -> Result<(), Wrong> {
    scratch.clear();
    let last = table.width() - 1;
    for (at, column) in table.columns().take(last).enumerate() {
        if cells.is_null(at)? {
            scratch.push(NULL);
        } else if column.holds == Holds::Number {
            add_number(cells.int(at)?, scratch);
        } else {
            add_bytes(cells.blob(at).or_else(|_| cells.text(at).map(str::as_bytes))?, scratch);
        }
    }
    let (found, written) = (of(scratch), cells.int(last)?);
    if found == written {
        return Ok(());
    }
    Err(format!(
        "the row is {found:016x}, written was {written:016x}: it is damaged; restore the store from a copy, and check \
         the disk"
    ))
}

/// Texts and blobs count the same: some databases tell them apart, others do not.
fn add_bytes(bytes: &[u8], scratch: &mut Vec<u8>) {
    scratch.push(BYTES);
    scratch.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    scratch.extend_from_slice(bytes);
}

fn add_number(value: i64, scratch: &mut Vec<u8>) {
    scratch.push(NUMBER);
    scratch.extend_from_slice(&value.to_le_bytes());
}

/// Columns are signed: the bits are kept.
fn of(bytes: &[u8]) -> i64 {
    XxHash3_64::oneshot(bytes) as i64
}
