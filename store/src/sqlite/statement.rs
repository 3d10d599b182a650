//! The SQL of each table, written out once for each size of a statement, so that each is prepared once.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe};

use crate::batch::SIZES;
use crate::row::{
    Cell, Freezes, Instances, Kind, MARK, Namespaces, Origins, Overrides, Services, Sessions, Suspicions, Table,
    Tombstones,
};

/// Texts made of the names of tables and columns in this crate, and of nothing else.
pub(super) struct Statements(HashMap<&'static str, Texts>);

struct Texts {
    upsert: [Arc<str>; SIZES.len()],
    delete: [Arc<str>; SIZES.len()],
    clear: Arc<str>,
    select: Arc<str>,
    select_range: Arc<str>,
}

pub(super) type Sql = AssertSqlSafe<Arc<str>>;

impl Statements {
    pub(super) fn new() -> Self {
        const TABLES: [Table; 10] = [
            Namespaces::TABLE,
            Services::TABLE,
            Instances::TABLE,
            Overrides::TABLE,
            Tombstones::TABLE,
            Sessions::TABLE,
            Suspicions::TABLE,
            Freezes::TABLE,
            Origins::TABLE,
            MARK,
        ];
        Self(TABLES.iter().map(|table| (table.name, Texts::of(table))).collect())
    }

    pub(super) fn upsert<K: Kind>(&self, rows: usize) -> Sql {
        sql(&self.texts(&K::TABLE).upsert[place(rows)])
    }

    pub(super) fn delete<K: Kind>(&self, rows: usize) -> Sql {
        sql(&self.texts(&K::TABLE).delete[place(rows)])
    }

    pub(super) fn clear<K: Kind>(&self) -> Sql {
        sql(&self.texts(&K::TABLE).clear)
    }

    pub(super) fn select<K: Kind>(&self) -> Sql {
        sql(&self.texts(&K::TABLE).select)
    }

    /// The rows whose rowid is from the first to the second argument.
    pub(super) fn select_range<K: Kind>(&self) -> Sql {
        sql(&self.texts(&K::TABLE).select_range)
    }

    pub(super) fn select_mark(&self) -> Sql {
        sql(&self.texts(&MARK).select)
    }

    pub(super) fn put_mark(&self) -> Sql {
        sql(&self.texts(&MARK).upsert[place(1)])
    }

    fn texts(&self, table: &Table) -> &Texts {
        self.0.get(table.name).expect("every table has its texts")
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
        let columns = table.columns().collect::<Vec<_>>().join(", ");
        let select = format!("SELECT {columns} FROM {}", table.name);
        Self {
            upsert: SIZES.map(|rows| upsert(table, &columns, rows).into()),
            delete: SIZES.map(|rows| delete(table, rows).into()),
            clear: format!("DELETE FROM {}", table.name).into(),
            select_range: format!("{select} WHERE rowid BETWEEN ? AND ?").into(),
            select: select.into(),
        }
    }
}

fn upsert(table: &Table, columns: &str, rows: usize) -> String {
    let name = table.name;
    let key = table.key.join(", ");
    let values = marks(table.width(), rows);
    let set: Vec<String> = table.values.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    let (set, guard) = (set.join(", "), table.guard);
    format!(
        "INSERT INTO {name} ({columns}) VALUES {values} ON CONFLICT ({key}) DO UPDATE SET {set} \
         WHERE excluded.{guard} >= {name}.{guard}"
    )
}

fn delete(table: &Table, rows: usize) -> String {
    let key = table.key.join(", ");
    let wanted = marks(table.key.len(), rows);
    match table.key {
        [one] => format!("DELETE FROM {} WHERE {one} IN (VALUES {wanted})", table.name),
        _ => format!("DELETE FROM {} WHERE ({key}) IN (VALUES {wanted})", table.name),
    }
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
