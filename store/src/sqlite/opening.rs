//! From a path to a store: held by this process alone, of our making, at the schema of this build.

use std::ffi::OsString;
use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemas::migration::{Migration, sqlite::PRESENCE};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::sync::Mutex;

use super::fault::{Fault, told};
use super::statement::Statements;
use super::{File, SqliteStore, Writer, loading};
use crate::migrate::{Applied, Mismatch, outstanding};

/// How long a statement waits for another program (a backup, a shell) that holds the file.
const BUSY: Duration = Duration::from_secs(5);
/// Pages of the write-ahead log between two checkpoints: 64 MiB, as much as is kept of it. Fewer are written twice.
const CHECKPOINT_PAGES: &str = "16000";
/// What a large landing leaves of the write-ahead log after its checkpoint, in bytes.
const LOG_BYTES_KEPT: &str = "67108864";
/// The writer's page cache in KiB, negative as SQLite wants it; taken only as it is needed. What a landing of a busy
/// second changes must fit, or pages are written out and read again in its middle.
const CACHE_KIB: &str = "-32768";
const PAGE_BYTES: u64 = 4096;

/// Why a file can't be a store. None of it goes away by waiting; [`OpenError::InUse`] and [`OpenError::Io`] may when
/// somebody acts.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} has schema {found}, this program knows up to {known}: start the program that wrote it, or a later one", path.display())]
    NewerSchema { path: PathBuf, found: u32, known: u32 },
    #[error("{} is damaged or no database ({detail}): restore it from a copy, or name another file", path.display())]
    Corrupt { path: PathBuf, detail: String },
    #[error("{} belongs to another program ({detail}): name another file", path.display())]
    Foreign { path: PathBuf, detail: String },
    #[error("{} is in use by another process: end it, or name another file", path.display())]
    InUse { path: PathBuf },
    #[error("can't open {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Landings that would make the file larger are refused, as if the disk were full. Not below what is there.
    pub file_bytes_max: Option<u64>,
}

/// Opens the store in the file at `path`, or makes one; its folder must be there.
pub async fn open(path: &Path) -> Result<Arc<SqliteStore>, OpenError> {
    open_with(path, Settings::default()).await
}

pub async fn open_with(path: &Path, settings: Settings) -> Result<Arc<SqliteStore>, OpenError> {
    let path = resolved(path)?;
    let lock = hold(&path)?;
    let options = options(&path, settings);
    let wrong = |error: sqlx::Error| meaning(&path, error);
    let mut connection = options.connect().await.map_err(wrong)?;
    if let Err(error) = migrate(&path, &mut connection, PRESENCE).await {
        // Closed before the lock goes: the next who opens the file must find it quiet.
        drop(connection.close().await);
        return Err(error);
    }
    let writer = Arc::new(Mutex::new(Writer { connection: Some(connection), lock: Some(lock) }));
    let file = Arc::new(File { path: path.clone(), options, statements: Statements::new(), writer });
    let store = Arc::new(SqliteStore { file: file.clone() });
    if let Err(unread) = loading::mark(&file).await {
        store.close().await;
        return Err(OpenError::Corrupt { path, detail: unread.to_string() });
    }
    Ok(store)
}

/// The path by which every process knows the file, whatever links lead to it.
fn resolved(path: &Path) -> Result<PathBuf, OpenError> {
    let wrong = |source| OpenError::Io { path: path.to_owned(), source };
    match path.canonicalize() {
        Ok(file) if file.is_dir() => Err(wrong(io::ErrorKind::IsADirectory.into())),
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or_else(|| wrong(io::ErrorKind::InvalidFilename.into()))?;
            let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
            Ok(folder.canonicalize().map_err(wrong)?.join(name))
        }
        Err(error) => Err(wrong(error)),
    }
}

/// Beside the file, never the file itself: closing any handle of it would drop the locks that SQLite has on it.
fn hold(path: &Path) -> Result<fs::File, OpenError> {
    let mut name = OsString::from(path);
    name.push(".lock");
    let beside = PathBuf::from(name);
    let wrong = |source| OpenError::Io { path: beside.clone(), source };
    let lock = fs::File::options().create(true).truncate(false).write(true).open(&beside).map_err(wrong)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(wrong(source)),
    }
}

fn options(path: &Path, settings: Settings) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(PAGE_BYTES as u32)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .foreign_keys(false)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", LOG_BYTES_KEPT)
        .pragma("cache_size", CACHE_KIB)
        // What a statement of a thousand rows may have to take back goes to no file.
        .pragma("temp_store", "MEMORY")
        .thread_name(|n| format!("presence-sqlite-{n}"))
        .disable_statement_logging();
    match settings.file_bytes_max {
        Some(bytes) => options.pragma("max_page_count", (bytes / PAGE_BYTES).max(1).to_string()),
        None => options,
    }
}

fn meaning(path: &Path, error: sqlx::Error) -> OpenError {
    let path = path.to_owned();
    match (Fault::of(&error), error) {
        (Fault::Corrupt | Fault::Altered, error) => OpenError::Corrupt { path, detail: error.to_string() },
        (Fault::Busy, _) => OpenError::InUse { path },
        (_, sqlx::Error::Io(source)) => OpenError::Io { path, source },
        (_, error) => OpenError::Io { source: io::Error::other(told(&path, &error)), path },
    }
}

/// Each migration is a transaction of its own, with the row that says so.
async fn migrate(path: &Path, connection: &mut SqliteConnection, known: &[Migration]) -> Result<(), OpenError> {
    let wrong = |error: sqlx::Error| meaning(path, error);
    let applied = applied(path, connection).await?;
    let lacking = outstanding(&applied, known).map_err(|mismatch| match mismatch {
        Mismatch::Newer { found, known } => OpenError::NewerSchema { path: path.to_owned(), found, known },
        Mismatch::Foreign(detail) => OpenError::Foreign { path: path.to_owned(), detail },
    })?;
    for migration in lacking {
        let mut step = connection.begin_with("BEGIN IMMEDIATE").await.map_err(wrong)?;
        step.execute(sqlx::raw_sql(migration.sql)).await.map_err(wrong)?;
        let had = sqlx::query("INSERT INTO presence_schema (number, name) VALUES (?, ?)");
        had.bind(migration.number).bind(migration.name).execute(&mut *step).await.map_err(wrong)?;
        step.commit().await.map_err(wrong)?;
        tracing::info!(path = %path.display(), number = migration.number, name = migration.name, "schema migrated");
    }
    Ok(())
}

async fn applied(path: &Path, connection: &mut SqliteConnection) -> Result<Vec<Applied>, OpenError> {
    let wrong = |error: sqlx::Error| meaning(path, error);
    let tables = sqlx::query("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
    let tables = tables.fetch_all(&mut *connection).await.map_err(wrong)?;
    let names: Vec<String> = tables.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(wrong)?;
    if !names.iter().any(|name| name == "presence_schema") {
        if let Some(other) = names.first() {
            let detail = format!("it has a table {other}, and no presence_schema");
            return Err(OpenError::Foreign { path: path.to_owned(), detail });
        }
        let schema = "CREATE TABLE presence_schema (number INTEGER PRIMARY KEY, name TEXT NOT NULL)";
        connection.execute(schema).await.map_err(wrong)?;
    }
    let rows = sqlx::query("SELECT number, name FROM presence_schema ORDER BY number").fetch_all(connection).await;
    let read = |row: sqlx::sqlite::SqliteRow| Ok(Applied { number: row.try_get(0)?, name: row.try_get(1)? });
    rows.map_err(wrong)?.into_iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(wrong)
}
