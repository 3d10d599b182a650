//! Many rows in one value.
//!
//! The driver copies each value of each row on the thread of the connection and frees it on another, which costs more
//! than all else that a load does. So a load lets SQLite put a page of rows into one value: each row as its numbers and
//! the lengths of its texts and blobs, in decimal, with a comma behind each (nothing before the comma: NULL), and then
//! those texts and blobs.

use crate::row::{Cells, Holds, Table, Wrong};

/// One row of a page.
pub(super) struct Record<'a>(Vec<Found<'a>>);

enum Found<'a> {
    Null,
    Number(i64),
    Bytes(&'a [u8]),
}

/// Takes the next row of `table` off the front of `page`.
pub(super) fn take<'a>(table: &Table, page: &mut &'a [u8]) -> Result<Record<'a>, Wrong> {
    let mut found = Vec::with_capacity(table.width());
    let mut lengths = Vec::with_capacity(table.width());
    for column in table.columns() {
        let number = number(page).ok_or_else(|| format!("table {}, column {}: no number", table.name, column.name))?;
        match (number, column.holds) {
            (None, _) => found.push(Found::Null),
            (Some(number), Holds::Number) => found.push(Found::Number(number)),
            (Some(length), Holds::Bytes) => {
                lengths.push((found.len(), length));
                found.push(Found::Null);
            }
        }
    }
    for (at, length) in lengths {
        let parts = usize::try_from(length).ok().and_then(|length| page.split_at_checked(length));
        let (bytes, rest) = parts.ok_or_else(|| format!("table {}: a row that ends early", table.name))?;
        found[at] = Found::Bytes(bytes);
        *page = rest;
    }
    Ok(Record(found))
}

/// `Some(None)`: there is nothing before the comma.
fn number(page: &mut &[u8]) -> Option<Option<i64>> {
    // The longest number has 20 characters.
    let comma = page.iter().take(21).position(|byte| *byte == b',')?;
    let (digits, rest) = page.split_at(comma);
    *page = &rest[1..];
    if digits.is_empty() {
        return Some(None);
    }
    str::from_utf8(digits).ok()?.parse().ok().map(Some)
}

impl Cells for Record<'_> {
    fn int(&self, at: usize) -> Result<i64, Wrong> {
        match self.0[at] {
            Found::Number(number) => Ok(number),
            Found::Null => Err("NULL".to_owned()),
            Found::Bytes(_) => Err("no number".to_owned()),
        }
    }

    fn text(&self, at: usize) -> Result<&str, Wrong> {
        str::from_utf8(self.blob(at)?).map_err(|e| e.to_string())
    }

    fn blob(&self, at: usize) -> Result<&[u8], Wrong> {
        match self.0[at] {
            Found::Bytes(bytes) => Ok(bytes),
            Found::Null => Err("NULL".to_owned()),
            Found::Number(_) => Err("a number".to_owned()),
        }
    }

    fn is_null(&self, at: usize) -> Result<bool, Wrong> {
        Ok(matches!(self.0[at], Found::Null))
    }
}

#[cfg(test)]
mod tests;
