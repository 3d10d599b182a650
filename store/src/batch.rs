//! A batch of rows as every dialect lands it: each kind in the order of its keys, puts apart from deletes.

use compute::model::{Row, Rows};

use crate::row::{Cell, Kind, every_kind, seal};

/// Rows of one kind. Sorted, so that two landings lock in the same order and pages are visited once.
pub(crate) struct Sorted<K: Kind> {
    pub(crate) puts: Vec<(K::Key, K::Value)>,
    pub(crate) deletes: Vec<K::Key>,
}

macro_rules! batch {
    ($($field:ident: $kind:ident),+) => {
        pub(crate) struct Batch {
            $(pub(crate) $field: Sorted<crate::row::$kind>),+
        }

        impl Batch {
            /// Refuses a key that comes twice: it has no one value at the batch's end.
            pub(crate) fn new(rows: Rows) -> Result<Self, String> {
                Ok(Self { $($field: Sorted::new(rows.$field)?),+ })
            }
        }
    };
}
every_kind!(batch);

impl<K: Kind> Sorted<K> {
    fn new(mut rows: Vec<Row<K::Key, K::Value>>) -> Result<Self, String> {
        rows.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        if let Some(pair) = rows.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
            return Err(format!("table {}, key {:?} twice in one batch", K::TABLE.name, pair[0].key()));
        }
        let (mut puts, mut deletes) = (vec![], vec![]);
        for row in rows {
            match row {
                Row::Put(key, value) => puts.push((key, value)),
                Row::Delete(key) => deletes.push(key),
            }
        }
        Ok(Self { puts, deletes })
    }
}

/// The cells of these rows, one row behind the other.
pub(crate) fn put_cells<K: Kind>(rows: &[(K::Key, K::Value)]) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(rows.len() * K::TABLE.width());
    let mut scratch = Vec::new();
    for (key, value) in rows {
        let from = cells.len();
        K::write_key(key, &mut cells);
        K::write_value(value, &mut cells);
        seal(&mut cells, from, &mut scratch);
    }
    cells
}

pub(crate) fn key_cells<K: Kind>(keys: &[K::Key]) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(keys.len() * K::TABLE.key.len());
    keys.iter().for_each(|key| K::write_key(key, &mut cells));
    cells
}

/// How many rows a statement takes: few sizes, because each is a statement to prepare and to keep.
pub(crate) const SIZES: [usize; 4] = [1_000, 100, 10, 1];

/// `rows` in pieces of [`SIZES`], the largest first.
pub(crate) fn pieces<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rest.len())?;
        let (piece, behind) = rest.split_at(size);
        rest = behind;
        Some(piece)
    })
}

#[cfg(test)]
mod tests;
