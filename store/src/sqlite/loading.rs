//! What reads: the mark, and everything as of one mark.

use std::ops::RangeInclusive;
use std::sync::Arc;

use compute::model::{LogState, Row, Rows};
use compute::port::store::{Epoch, Loaded, ReadError};
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::record::take;
use super::{File, fault};
use crate::gathering::gathered;
use crate::row::{Instances, Kind, Names, decode, every_kind, mark as decode_mark};

/// More readers than this do not make one disk faster.
const READERS_MAX: usize = 4;
/// Readers take this many instances in turn; with fewer in all there is one reader.
const TURN: i64 = 4_096;

pub(super) async fn mark(file: &File) -> Result<Option<(Epoch, LogState)>, ReadError> {
    let unread = |error| fault::read(&file.path, &error);
    let mut writer = file.writer().await;
    read_mark(file, file.connected(&mut writer).await.map_err(unread)?).await
}

pub(super) async fn read_mark(
    file: &File,
    connection: &mut SqliteConnection,
) -> Result<Option<(Epoch, LogState)>, ReadError> {
    let row = sqlx::query(file.statements.select_mark()).fetch_optional(connection).await;
    let row = row.map_err(|error| fault::read(&file.path, &error))?;
    row.map(|row| decode_mark(&row)).transpose().map_err(|wrong| unusable(file, &wrong))
}

fn unusable(file: &File, wrong: &str) -> ReadError {
    ReadError::Unusable(format!("{}: {wrong}", file.path.display()))
}

pub(super) async fn load(file: &Arc<File>) -> Result<Loaded, ReadError> {
    let snapshot = Snapshot::take(file).await?;
    let log = snapshot.log;
    let turns = Arc::new(Turns { next: Mutex::new(Some(i64::MIN)) });
    let mut loading = JoinSet::new();
    for (place, connection) in snapshot.readers.into_iter().enumerate() {
        let reading = Reading { file: file.clone(), connection, names: Names::default() };
        let turns = turns.clone();
        // The first reads everything else too; the others begin with the instances.
        loading.spawn(async move { reading.run(place == 0, &turns).await });
    }
    Ok(Loaded { log, rows: gathered(loading, &file.path.display().to_string()).await? })
}

/// Connections that all see the file as of one mark.
struct Snapshot {
    log: Option<LogState>,
    readers: Vec<SqliteConnection>,
}

impl Snapshot {
    async fn take(file: &File) -> Result<Self, ReadError> {
        let unread = |error| fault::read(&file.path, &error);
        // Nobody else writes to this file: while this holds the writer, every transaction begins at the same mark.
        let mut writer = file.writer().await;
        file.connected(&mut writer).await.map_err(unread)?;
        let mut first = begin(file).await.map_err(unread)?;
        let log = read_mark(file, &mut first).await?.map(|(_, log)| log);
        let many = behind_a_turn(&mut first, i64::MIN).await.map_err(unread)?.is_some();

        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = if many { cores.min(READERS_MAX) } else { 1 };
        let mut snapshot = Self { log, readers: vec![first] };
        for _ in 1..readers {
            let mut reader = begin(file).await.map_err(unread)?;
            // A transaction begins with what it reads first.
            let seen = read_mark(file, &mut reader).await?.map(|(_, log)| log);
            if seen != log {
                return Err(ReadError::Away(format!("{} moved while a load began", file.path.display())));
            }
            snapshot.readers.push(reader);
        }
        Ok(snapshot)
    }
}

async fn begin(file: &File) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = file.options.clone().pragma("query_only", "ON").connect().await?;
    connection.execute("BEGIN").await?;
    Ok(connection)
}

/// The rowid of the instance that is [`TURN`] instances behind the first one from `first` on.
async fn behind_a_turn(connection: &mut SqliteConnection, first: i64) -> Result<Option<i64>, sqlx::Error> {
    const SQL: &str = "SELECT rowid FROM presence_instance WHERE rowid >= ? ORDER BY rowid LIMIT 1 OFFSET ?";
    let found = sqlx::query(SQL).bind(first).bind(TURN).fetch_optional(connection).await?;
    found.map(|row| row.try_get(0)).transpose()
}

/// Hands the instances out by rowid. By count, not by number: in a file that has lived long the rowids are mostly gaps.
struct Turns {
    /// The first rowid that nobody has taken.
    next: Mutex<Option<i64>>,
}

impl Turns {
    async fn take(&self, connection: &mut SqliteConnection) -> Result<Option<RangeInclusive<i64>>, sqlx::Error> {
        let mut next = self.next.lock().await;
        let Some(first) = *next else { return Ok(None) };
        *next = behind_a_turn(connection, first).await?;
        Ok(Some(first..=next.map_or(i64::MAX, |behind| behind - 1)))
    }
}

struct Reading {
    file: Arc<File>,
    connection: SqliteConnection,
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
            let turn = turns.take(&mut self.connection).await;
            let Some(turn) = turn.map_err(|error| fault::read(&self.file.path, &error))? else { break };
            self.range::<Instances>(turn, &mut rows.instances).await?;
        }
        if let Err(error) = self.connection.close().await {
            tracing::debug!(path = %self.file.path.display(), %error, "a reader of the store did not close cleanly");
        }
        Ok(rows)
    }

    async fn all<K: Kind>(&mut self, rows: &mut Vec<Row<K::Key, K::Value>>) -> Result<(), ReadError> {
        // By turns, by all readers.
        if K::TABLE.name == Instances::TABLE.name {
            return Ok(());
        }
        self.range::<K>(i64::MIN..=i64::MAX, rows).await
    }

    /// The rows with these rowids, a page at a time.
    async fn range<K: Kind>(
        &mut self,
        rowids: RangeInclusive<i64>,
        rows: &mut Vec<Row<K::Key, K::Value>>,
    ) -> Result<(), ReadError> {
        let unread = |error| fault::read(&self.file.path, &error);
        let (mut next, last) = (Some(*rowids.start()), rowids.end());
        while let Some(first) = next.filter(|first| first <= last) {
            let page = sqlx::query(self.file.statements.page::<K>()).bind(first).bind(last);
            let page = page.fetch_one(&mut self.connection).await.map_err(unread)?;
            let Some(end) = page.try_get::<Option<i64>, _>(0).map_err(unread)? else { break };
            let mut records: &[u8] = page.try_get(1).map_err(unread)?;
            while !records.is_empty() {
                let row = take(&K::TABLE, &mut records);
                let row = row.and_then(|record| decode::<K>(&record, &mut self.names));
                rows.push(row.map_err(|wrong| unusable(&self.file, &wrong))?);
            }
            next = end.checked_add(1);
        }
        Ok(())
    }
}
