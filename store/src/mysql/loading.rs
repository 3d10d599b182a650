//! What reads: the mark, and everything as of one mark.

use std::sync::Arc;

use compute::model::{LogState, Row, Rows};
use compute::port::store::{Epoch, Loaded, ReadError};
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use sqlx::mysql::MySqlRow;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::Database;
use super::connections::{Lent, within};
use super::fault::{self, Trouble};
use super::statement::{BEGIN, BEGIN_SNAPSHOT, BOUND, ROLLBACK, Sql, arguments};
use crate::gathering::gathered;
use crate::row::{Cell, Cells as _, Instances, Kind, Names, decode, every_kind, mark as decode_mark};

/// More readers than this keep no server busier.
const READERS_MAX: usize = 6;

/// The mark as it is when nobody writes: a landing that was given up, here or on another node, has ended then.
pub(super) async fn mark(db: &Database) -> Result<Option<(Epoch, LogState)>, ReadError> {
    let mut lent = db.connections.lend(BEGIN).await.map_err(|trouble| fault::read(&db.place, &trouble))?;
    let mark = locked_mark(db, &mut lent, db.statements.mark.read_shared()).await?;
    undo(lent).await;
    Ok(mark)
}

async fn undo(mut lent: Lent) {
    if lent.run(ROLLBACK).await.is_ok() {
        lent.give_back();
    }
}

pub(super) async fn locked_mark(
    db: &Database,
    lent: &mut Lent,
    sql: Sql,
) -> Result<Option<(Epoch, LogState)>, ReadError> {
    let row = within(lent.limit(), sqlx::query(sql).fetch_optional(lent.sql())).await;
    let row = row.map_err(|trouble| fault::read(&db.place, &trouble))?;
    row.map(|row| decode_mark(&row)).transpose().map_err(|wrong| unusable(db, &wrong))
}

fn unusable(db: &Database, wrong: &str) -> ReadError {
    ReadError::Unusable(format!("{}: {wrong}", db.place))
}

pub(super) async fn load(db: &Arc<Database>) -> Result<Loaded, ReadError> {
    let _one = db.load.lock().await;
    // What was begun here before comes before.
    let turn = db.turn().await;
    let snapshot = Snapshot::take(db).await?;
    drop(turn);
    let log = snapshot.log;
    let turns = Arc::new(Turns { next: Mutex::new(Some(vec![Cell::Blob(vec![]); Instances::TABLE.key.len()])) });
    let mut loading = JoinSet::new();
    for (place, lent) in snapshot.readers.into_iter().enumerate() {
        let reading = Reading { db: db.clone(), lent, names: Names::default() };
        let turns = turns.clone();
        // The first reads everything else too; the others begin with the instances.
        loading.spawn(async move { reading.run(place == 0, &turns).await });
    }
    Ok(Loaded { log, rows: gathered(loading, &db.place).await? })
}

/// Connections that all see the database as of one mark.
struct Snapshot {
    log: Option<LogState>,
    readers: Vec<Lent>,
}

impl Snapshot {
    async fn take(db: &Arc<Database>) -> Result<Self, ReadError> {
        let unread = |trouble: Trouble| fault::read(&db.place, &trouble);
        let mut holder = db.connections.lend(BEGIN).await.map_err(unread)?;
        // Nobody writes without this lock: while it is held here, every snapshot is taken at the same mark.
        let held = locked_mark(db, &mut holder, db.statements.mark.read_shared()).await?.map(|(_, log)| log);
        let first_key = vec![Cell::Blob(vec![]); Instances::TABLE.key.len()];
        let many = behind_a_turn(db, &mut holder, &first_key).await.map_err(unread)?.is_some();

        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Beside the one that holds the mark, and one for whoever writes.
        let most = READERS_MAX.min(db.connections.limits.connections - 2);
        let count = if many { cores.clamp(1, most) } else { 1 };
        let readers = try_join_all((0..count).map(|_| db.connections.lend(BEGIN_SNAPSHOT))).await.map_err(unread)?;
        let mut snapshot = Self { log: held, readers };
        for reader in &mut snapshot.readers {
            let seen = locked_mark(db, reader, db.statements.mark.read()).await?.map(|(_, log)| log);
            if seen != held {
                return Err(ReadError::Away(format!("{} moved while a load began", db.place)));
            }
        }
        undo(holder).await;
        Ok(snapshot)
    }
}

/// The key of the instance that is a turn behind the first one from `first` on.
async fn behind_a_turn(db: &Database, lent: &mut Lent, first: &[Cell]) -> Result<Option<Vec<Cell>>, Trouble> {
    let arguments = arguments(&bound(first))?;
    let query = sqlx::query_with(db.statements.turns.behind(), arguments);
    let found = within(lent.limit(), query.fetch_optional(lent.sql())).await?;
    let key = |row: MySqlRow| {
        let columns = 0..Instances::TABLE.key.len();
        columns.map(|at| row.blob(at).map(|name| Cell::Blob(name.to_vec()))).collect::<Result<_, _>>()
    };
    found.map(key).transpose().map_err(|wrong: String| Trouble::Sql(sqlx::Error::Protocol(wrong)))
}

/// The arguments of a bound.
fn bound(key: &[Cell]) -> Vec<Cell> {
    BOUND.iter().map(|at| key[*at].clone()).collect()
}

/// Hands the instances out, so many at a time.
struct Turns {
    /// The first key that nobody has taken.
    next: Mutex<Option<Vec<Cell>>>,
}

/// From a key to before another; `None`: to the end.
type Turn = (Vec<Cell>, Option<Vec<Cell>>);

impl Turns {
    async fn take(&self, db: &Database, lent: &mut Lent) -> Result<Option<Turn>, Trouble> {
        let mut next = self.next.lock().await;
        let Some(first) = next.take() else { return Ok(None) };
        let behind = behind_a_turn(db, lent, &first).await?;
        next.clone_from(&behind);
        Ok(Some((first, behind)))
    }
}

struct Reading {
    db: Arc<Database>,
    lent: Lent,
    names: Names,
}

impl Reading {
    async fn run(mut self, everything: bool, turns: &Turns) -> Result<Rows, ReadError> {
        let mut rows = Rows::default();
        if everything {
            macro_rules! each {
                ($($field:ident: $kind:ident),+) => { $(self.all::<crate::row::$kind>(&mut rows.$field).await?;)+ };
            }
            every_kind!(each);
        }
        loop {
            let turn = turns.take(&self.db, &mut self.lent).await;
            let Some((first, behind)) = turn.map_err(|trouble| fault::read(&self.db.place, &trouble))? else { break };
            let mut cells = bound(&first);
            let sql = match &behind {
                Some(behind) => {
                    cells.extend(bound(behind));
                    self.db.statements.turns.between()
                }
                None => self.db.statements.turns.from(),
            };
            self.read::<Instances>(sql, &cells, &mut rows.instances).await?;
        }
        // One connection is enough between loads.
        self.lent.end().await;
        Ok(rows)
    }

    async fn all<K: Kind>(&mut self, rows: &mut Vec<Row<K::Key, K::Value>>) -> Result<(), ReadError> {
        // By turns, by all readers.
        if K::TABLE.name == Instances::TABLE.name {
            return Ok(());
        }
        self.read::<K>(self.db.statements.all::<K>(), &[], rows).await
    }

    async fn read<K: Kind>(
        &mut self,
        sql: Sql,
        cells: &[Cell],
        rows: &mut Vec<Row<K::Key, K::Value>>,
    ) -> Result<(), ReadError> {
        let Self { db, lent, names } = self;
        let unread = |trouble: Trouble| fault::read(&db.place, &trouble);
        let arguments = arguments(cells).map_err(|error| unread(error.into()))?;
        let limit = lent.limit();
        let mut found = sqlx::query_with(sql, arguments).fetch(lent.sql());
        while let Some(row) = within(limit, found.try_next()).await.map_err(unread)? {
            rows.push(decode::<K>(&row, names).map_err(|wrong| unusable(db, &wrong))?);
        }
        Ok(())
    }
}
