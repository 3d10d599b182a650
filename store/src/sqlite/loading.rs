//! What reads: the mark, and everything as of one mark.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use compute::model::{LogState, Row, Rows};
use compute::port::store::{Epoch, Loaded, ReadError};
use futures::TryStreamExt as _;
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::task::JoinSet;

use super::statement::arguments;
use super::{File, fault};
use crate::row::{
    Cell, Freezes, Instances, Kind, Names, Namespaces, Origins, Overrides, Services, Sessions, Suspicions, Tombstones,
    decode, mark as decode_mark,
};

/// More readers than this do not make one disk faster.
const READERS_MAX: usize = 4;
/// A load of fewer instances is not worth a second reader.
const INSTANCES_PER_READER: i64 = 20_000;
/// Readers take ranges of this many rowids in turn, so that gaps between rows do not leave one with all the work.
const RANGE: i64 = 16_384;
/// How many rows are decoded before other tasks of the thread get their turn.
const ROWS_PER_TURN: usize = 256;

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
    let ranges = Arc::new(Ranges::of(snapshot.instances));
    let mut loading = JoinSet::new();
    for (place, connection) in snapshot.readers.into_iter().enumerate() {
        let reading = Reading { file: file.clone(), connection, names: Names::default() };
        let ranges = ranges.clone();
        // The first reads everything else too; the others begin with the instances.
        loading.spawn(async move { reading.run(place == 0, &ranges).await });
    }
    let mut rows = Rows::default();
    while let Some(ended) = loading.join_next().await {
        let part = ended.map_err(|broken| ReadError::Away(format!("{}: {broken}", file.path.display())))??;
        merge(&mut rows, part);
    }
    Ok(Loaded { log, rows })
}

/// The first reader has all rows that are no instances.
fn merge(rows: &mut Rows, part: Rows) {
    let instances = std::mem::take(&mut rows.instances);
    let (mut more, less) =
        if instances.len() > part.instances.len() { (instances, part.instances) } else { (part.instances, instances) };
    more.extend(less);
    if rows.is_empty() {
        *rows = Rows { instances: more, ..part };
    } else {
        rows.instances = more;
    }
}

/// Connections that all see the file as of one mark.
struct Snapshot {
    log: Option<LogState>,
    /// The first and the last rowid.
    instances: Option<RangeInclusive<i64>>,
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
        let instances = rowids(&mut first).await.map_err(unread)?;

        let count = instances.as_ref().map_or(0, |rowids| rowids.end() - rowids.start() + 1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = (count / INSTANCES_PER_READER).clamp(1, cores.min(READERS_MAX) as i64);
        let mut snapshot = Self { log, instances, readers: vec![first] };
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
    let mut connection = file.options.clone().pragma("query_only", "ON").row_buffer_size(1_024).connect().await?;
    connection.execute("BEGIN").await?;
    Ok(connection)
}

async fn rowids(connection: &mut SqliteConnection) -> Result<Option<RangeInclusive<i64>>, sqlx::Error> {
    // Two lookups; min and max in one query would scan.
    const SQL: &str = "SELECT (SELECT min(rowid) FROM presence_instance), (SELECT max(rowid) FROM presence_instance)";
    let row = sqlx::query(SQL).fetch_one(connection).await?;
    let ends: (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(match ends {
        (Some(first), Some(last)) => Some(first..=last),
        _ => None,
    })
}

/// The rowids of all instances, to be taken piece by piece.
struct Ranges {
    all: Option<RangeInclusive<i64>>,
    taken: AtomicUsize,
}

impl Ranges {
    fn of(all: Option<RangeInclusive<i64>>) -> Self {
        Self { all, taken: AtomicUsize::new(0) }
    }

    fn take(&self) -> Option<(i64, i64)> {
        let all = self.all.as_ref()?;
        let place = self.taken.fetch_add(1, Ordering::Relaxed) as i64;
        let first = all.start().checked_add(place.checked_mul(RANGE)?)?;
        (first <= *all.end()).then(|| (first, first.saturating_add(RANGE - 1)))
    }
}

struct Reading {
    file: Arc<File>,
    connection: SqliteConnection,
    names: Names,
}

impl Reading {
    async fn run(mut self, everything: bool, ranges: &Ranges) -> Result<Rows, ReadError> {
        let mut rows = Rows::default();
        if everything {
            rows.namespaces = self.all::<Namespaces>().await?;
            rows.services = self.all::<Services>().await?;
            rows.overrides = self.all::<Overrides>().await?;
            rows.tombstones = self.all::<Tombstones>().await?;
            rows.sessions = self.all::<Sessions>().await?;
            rows.suspicions = self.all::<Suspicions>().await?;
            rows.freezes = self.all::<Freezes>().await?;
            rows.origins = self.all::<Origins>().await?;
        }
        while let Some((first, last)) = ranges.take() {
            let sql = self.file.statements.select_range::<Instances>();
            let cells = vec![Cell::Int(first), Cell::Int(last)];
            self.read::<Instances>(sql, cells, &mut rows.instances).await?;
        }
        if let Err(error) = self.connection.close().await {
            tracing::debug!(path = %self.file.path.display(), %error, "a reader of the store did not close cleanly");
        }
        Ok(rows)
    }

    async fn all<K: Kind>(&mut self) -> Result<Vec<Row<K::Key, K::Value>>, ReadError> {
        let mut rows = vec![];
        self.read::<K>(self.file.statements.select::<K>(), vec![], &mut rows).await?;
        Ok(rows)
    }

    async fn read<K: Kind>(
        &mut self,
        sql: super::statement::Sql,
        cells: Vec<Cell>,
        rows: &mut Vec<Row<K::Key, K::Value>>,
    ) -> Result<(), ReadError> {
        let unread = |error| fault::read(&self.file.path, &error);
        let arguments = arguments(cells).map_err(unread)?;
        let mut found = sqlx::query_with(sql, arguments).fetch(&mut self.connection);
        while let Some(row) = found.try_next().await.map_err(unread)? {
            rows.push(decode::<K>(&row, &mut self.names).map_err(|wrong| unusable(&self.file, &wrong))?);
            if rows.len().is_multiple_of(ROWS_PER_TURN) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}
