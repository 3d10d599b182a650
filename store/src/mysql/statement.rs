//! The SQL of each table, written out once for each size of a statement, so that each is prepared once a connection.
//!
//! Only what MySQL 8 and MariaDB both know. Of `VALUES(column)` MySQL says that it is deprecated; what it has instead
//! MariaDB does not know.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Arguments as _;
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlArguments;

use crate::batch::SIZES;
use crate::row::{Cell, Instances, Kind, MARK, Table, tables};

/// How many instances a reader takes in turn; with fewer in all there is one reader.
pub(super) const TURN: usize = 4_096;
/// How many rows of a table go at once when all of them go: a statement must end in its time.
pub(super) const CLEARED: u64 = 10_000;

pub(super) const BEGIN: &str = "START TRANSACTION";
pub(super) const BEGIN_SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";
/// Says nothing but that the server is there.
pub(super) const NOTHING: &str = "DO 0";

/// Texts made of the names of tables and columns in this crate, and of nothing else.
pub(super) struct Statements {
    tables: HashMap<&'static str, Texts>,
    pub(super) mark: Marks,
    pub(super) turns: Turns,
}

struct Texts {
    upsert: [Arc<str>; SIZES.len()],
    delete: [Arc<str>; SIZES.len()],
    clear: Arc<str>,
    all: Arc<str>,
}

/// Of the one row of the mark's table.
pub(super) struct Marks {
    read: Arc<str>,
    read_shared: Arc<str>,
    read_locked: Arc<str>,
    claim: Arc<str>,
    put: Arc<str>,
}

/// Of instances by the order of their keys.
pub(super) struct Turns {
    behind: Arc<str>,
    between: Arc<str>,
    from: Arc<str>,
}

pub(super) type Sql = AssertSqlSafe<Arc<str>>;

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            tables: tables().iter().map(|table| (table.name, Texts::of(table))).collect(),
            mark: Marks::new(),
            turns: Turns::of(&Instances::TABLE),
        }
    }

    pub(super) fn upsert<K: Kind>(&self, rows: usize) -> Sql {
        sql(&self.texts(&K::TABLE).upsert[place(rows)])
    }

    pub(super) fn delete<K: Kind>(&self, rows: usize) -> Sql {
        sql(&self.texts(&K::TABLE).delete[place(rows)])
    }

    /// The first [`CLEARED`] rows that are there.
    pub(super) fn clear(&self, table: &Table) -> Sql {
        sql(&self.texts(table).clear)
    }

    pub(super) fn all<K: Kind>(&self) -> Sql {
        sql(&self.texts(&K::TABLE).all)
    }

    fn texts(&self, table: &Table) -> &Texts {
        self.tables.get(table.name).expect("every table has its texts")
    }

    /// For the tests: whatever this crate may say to a server but the migrations.
    #[cfg(test)]
    fn every_text(&self) -> Vec<String> {
        let of_tables = self.tables.values().flat_map(|texts| {
            texts.upsert.iter().chain(&texts.delete).chain([&texts.clear, &texts.all]).map(|text| text.to_string())
        });
        let Marks { read, read_shared, read_locked, claim, put } = &self.mark;
        let Turns { behind, between, from } = &self.turns;
        let single = [read, read_shared, read_locked, claim, put, behind, between, from].map(|text| text.to_string());
        let fixed = [BEGIN, BEGIN_SNAPSHOT, COMMIT, ROLLBACK, NOTHING].map(str::to_owned);
        of_tables.chain(single).chain(fixed).collect()
    }
}

impl Marks {
    fn new() -> Self {
        let (columns, name) = (columns(&MARK), MARK.name);
        let read = format!("SELECT {columns} FROM `{name}` WHERE `only_row` = 1");
        let put = format!("INSERT INTO `{name}` ({columns}) VALUES {} ON DUPLICATE KEY UPDATE", marks(MARK.width(), 1));
        let set: Vec<String> = MARK.written().map(|column| format!("`{0}` = VALUES(`{0}`)", column.name)).collect();
        Self {
            // The older of two ways to say it, which MariaDB knows too.
            read_shared: format!("{read} LOCK IN SHARE MODE").into(),
            read_locked: format!("{read} FOR UPDATE").into(),
            read: read.into(),
            claim: format!("{put} `only_row` = VALUES(`only_row`)").into(),
            put: format!("{put} {}", set.join(", ")).into(),
        }
    }

    /// In a snapshot: as of its beginning.
    pub(super) fn read(&self) -> Sql {
        sql(&self.read)
    }

    /// As it is, waiting for whoever writes; nobody writes until the transaction ends.
    pub(super) fn read_shared(&self) -> Sql {
        sql(&self.read_shared)
    }

    /// As it is, and nobody else writes or begins to load until the transaction ends.
    pub(super) fn read_locked(&self) -> Sql {
        sql(&self.read_locked)
    }

    /// Locks the row that is there, or writes this one. Two nodes that looked first, and then wrote, would both hold
    /// the gap where the row is not.
    pub(super) fn claim(&self) -> Sql {
        sql(&self.claim)
    }

    pub(super) fn put(&self) -> Sql {
        sql(&self.put)
    }
}

impl Turns {
    fn of(table: &Table) -> Self {
        let (name, columns, key) = (table.name, columns(table), key(table));
        let index = "FORCE INDEX (PRIMARY)";
        let (from, before) = (bound(table, ">", ">="), bound(table, "<", "<"));
        Self {
            behind: format!("SELECT {key} FROM `{name}` {index} WHERE {from} ORDER BY {key} LIMIT 1 OFFSET {TURN}")
                .into(),
            between: format!("SELECT {columns} FROM `{name}` {index} WHERE ({from}) AND ({before})").into(),
            from: format!("SELECT {columns} FROM `{name}` {index} WHERE {from}").into(),
        }
    }

    /// The key that is [`TURN`] rows behind the first one from this key on.
    pub(super) fn behind(&self) -> Sql {
        sql(&self.behind)
    }

    /// The rows from one key to before another.
    pub(super) fn between(&self) -> Sql {
        sql(&self.between)
    }

    pub(super) fn from(&self) -> Sql {
        sql(&self.from)
    }
}

/// How often a key of three columns stands in a bound.
pub(super) const BOUND: [usize; 5] = [0, 0, 1, 1, 2];

/// Keys beyond one key of three columns, in the order of the index. Not `(a, b, c) > (?, ?, ?)`: no server finds that
/// by the index.
fn bound(table: &Table, beyond: &str, last: &str) -> String {
    let [a, b, c] = [0, 1, 2].map(|at| table.key[at].name);
    format!("`{a}` {beyond} ? OR (`{a}` = ? AND (`{b}` {beyond} ? OR (`{b}` = ? AND `{c}` {last} ?)))")
}

fn sql(text: &Arc<str>) -> Sql {
    AssertSqlSafe(text.clone())
}

fn place(rows: usize) -> usize {
    SIZES.iter().position(|size| *size == rows).expect("pieces have these sizes")
}

impl Texts {
    fn of(table: &Table) -> Self {
        let (name, columns, key) = (table.name, columns(table), key(table));
        Self {
            upsert: SIZES.map(|rows| upsert(table, &columns, rows).into()),
            delete: SIZES.map(|rows| delete(table, rows).into()),
            clear: format!("DELETE FROM `{name}` ORDER BY {key} LIMIT {CLEARED}").into(),
            all: format!("SELECT {columns} FROM `{name}`").into(),
        }
    }
}

fn columns(table: &Table) -> String {
    table.columns().map(|column| format!("`{}`", column.name)).collect::<Vec<_>>().join(", ")
}

/// The guard is compared by every other column, so it is assigned behind them.
fn upsert(table: &Table, columns: &str, rows: usize) -> String {
    let guard = table.guard;
    let others = table.written().map(|column| column.name).filter(|name| *name != guard);
    let set = others
        .chain([guard])
        .map(|name| format!("`{name}` = IF(VALUES(`{guard}`) >= `{guard}`, VALUES(`{name}`), `{name}`)"));
    let set = set.collect::<Vec<_>>().join(", ");
    let (name, values) = (table.name, marks(table.width(), rows));
    format!("INSERT INTO `{name}` ({columns}) VALUES {values} ON DUPLICATE KEY UPDATE {set}")
}

/// A list of keys is found by the index, on both, where a thousand of them between `OR`s take several times as long. But
/// for a list of one MariaDB looks through the whole table.
fn delete(table: &Table, rows: usize) -> String {
    let (name, key, wanted) = (table.name, key(table), marks(table.key.len(), rows));
    if rows == 1 {
        let one: Vec<String> = table.key.iter().map(|column| format!("`{}` = ?", column.name)).collect();
        format!("DELETE FROM `{name}` WHERE {}", one.join(" AND "))
    } else if table.key.len() == 1 {
        format!("DELETE FROM `{name}` WHERE {key} IN ({wanted})")
    } else {
        format!("DELETE FROM `{name}` WHERE ({key}) IN ({wanted})")
    }
}

fn key(table: &Table) -> String {
    table.key.iter().map(|column| format!("`{}`", column.name)).collect::<Vec<_>>().join(", ")
}

/// `(?, ?), (?, ?)`.
fn marks(width: usize, rows: usize) -> String {
    let one = format!("({})", vec!["?"; width].join(", "));
    vec![one; rows].join(", ")
}

/// Texts go as blobs: their columns are binary, and no server is to read them as text.
pub(super) fn arguments(cells: &[Cell]) -> Result<MySqlArguments, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    arguments.reserve(cells.len(), bytes(cells));
    for cell in cells {
        let added = match cell {
            Cell::Int(value) => arguments.add(*value),
            Cell::Text(value) => arguments.add(value.as_bytes()),
            Cell::Blob(value) => arguments.add(value.as_slice()),
            Cell::Null => arguments.add(None::<i64>),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// About as many as the cells take in a statement.
pub(super) fn bytes(cells: &[Cell]) -> usize {
    let of = |cell: &Cell| match cell {
        Cell::Int(_) => 8,
        Cell::Text(value) => value.len() + 9,
        Cell::Blob(value) => value.len() + 9,
        Cell::Null => 0,
    };
    cells.iter().map(|cell| of(cell) + 2).sum()
}

#[cfg(test)]
mod tests;
