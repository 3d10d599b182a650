//! The SQL of each table, written out once for each size of a statement, so that each is prepared once.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe};

use crate::batch::SIZES;
use crate::row::{Cell, Holds, Kind, MARK, Table, tables};

/// How many rows are read at once.
pub(super) const PAGE: usize = 256;

/// Texts made of the names of tables and columns in this crate, and of nothing else.
pub(super) struct Statements {
    tables: HashMap<&'static str, Texts>,
    select_mark: Arc<str>,
}

struct Texts {
    upsert: [Arc<str>; SIZES.len()],
    delete: [Arc<str>; SIZES.len()],
    clear: Arc<str>,
    page: Arc<str>,
}

pub(super) type Sql = AssertSqlSafe<Arc<str>>;

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            tables: tables().iter().chain([&MARK]).map(|table| (table.name, Texts::of(table))).collect(),
            select_mark: format!("SELECT {} FROM {}", columns(&MARK), MARK.name).into(),
        }
    }

    pub(super) fn upsert<K: Kind>(&self, rows: usize) -> Sql {
        sql(&self.texts(&K::TABLE).upsert[place(rows)])
    }

    pub(super) fn delete<K: Kind>(&self, rows: usize) -> Sql {
        sql(&self.texts(&K::TABLE).delete[place(rows)])
    }

    pub(super) fn clear(&self, table: &Table) -> Sql {
        sql(&self.texts(table).clear)
    }

    /// The first [`PAGE`] rows whose rowid is from the first to the second argument: the last rowid of them, and all of
    /// them as [records](super::record).
    pub(super) fn page<K: Kind>(&self) -> Sql {
        sql(&self.texts(&K::TABLE).page)
    }

    pub(super) fn select_mark(&self) -> Sql {
        sql(&self.select_mark)
    }

    pub(super) fn put_mark(&self) -> Sql {
        sql(&self.texts(&MARK).upsert[place(1)])
    }

    fn texts(&self, table: &Table) -> &Texts {
        self.tables.get(table.name).expect("every table has its texts")
    }
}

fn sql(text: &Arc<str>) -> Sql {
    AssertSqlSafe(text.clone())
}

fn place(rows: usize) -> usize {
    SIZES.iter().position(|size| *size == rows).expect("pieces have these sizes")
}

impl Texts {
    fn of(table: &Table) -> Self {
        let columns = columns(table);
        Self {
            upsert: SIZES.map(|rows| upsert(table, &columns, rows).into()),
            delete: SIZES.map(|rows| delete(table, rows).into()),
            clear: format!("DELETE FROM {}", table.name).into(),
            page: page(table, &columns).into(),
        }
    }
}

fn columns(table: &Table) -> String {
    table.columns().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

fn page(table: &Table, columns: &str) -> String {
    let head = table.columns().map(|column| match column.holds {
        Holds::Number => column.name.to_owned(),
        Holds::Bytes => format!("octet_length({})", column.name),
    });
    let body = table.columns().filter(|column| column.holds == Holds::Bytes).map(|column| column.name);
    let head = head.collect::<Vec<_>>().join(", ',', ");
    let body = body.collect::<Vec<_>>();
    let record = [&[head.as_str(), "','"], body.as_slice()].concat().join(", ");
    format!(
        "SELECT max(at), group_concat(concat({record}), '') FROM (SELECT rowid AS at, {columns} FROM {} \
         WHERE rowid BETWEEN ? AND ? ORDER BY rowid LIMIT {PAGE})",
        table.name
    )
}

fn upsert(table: &Table, columns: &str, rows: usize) -> String {
    let name = table.name;
    let key = key(table);
    let values = marks(table.width(), rows);
    let set: Vec<String> = table.written().map(|column| format!("{0} = excluded.{0}", column.name)).collect();
    let (set, guard) = (set.join(", "), table.guard);
    format!(
        "INSERT INTO {name} ({columns}) VALUES {values} ON CONFLICT ({key}) DO UPDATE SET {set} \
         WHERE excluded.{guard} >= {name}.{guard}"
    )
}

fn delete(table: &Table, rows: usize) -> String {
    let (name, key, wanted) = (table.name, key(table), marks(table.key.len(), rows));
    if table.key.len() == 1 {
        format!("DELETE FROM {name} WHERE {key} IN (VALUES {wanted})")
    } else {
        format!("DELETE FROM {name} WHERE ({key}) IN (VALUES {wanted})")
    }
}

fn key(table: &Table) -> String {
    table.key.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// `(?, ?), (?, ?)`.
fn marks(width: usize, rows: usize) -> String {
    let one = format!("({})", vec!["?"; width].join(", "));
    vec![one; rows].join(", ")
}

pub(super) fn arguments(cells: Vec<Cell>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(cells.len(), 0);
    for cell in cells {
        let added = match cell {
            Cell::Int(value) => arguments.add(value),
            Cell::Text(value) => arguments.add(value),
            Cell::Blob(value) => arguments.add(value),
            Cell::Null => arguments.add(None::<i64>),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests;
