//! Opening: pragmas, schema, and a write-ahead log that is as long as it will ever be.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use compute::model::{LogGeneration, LogIdentity};
use schemas::migration::sqlite::LOG as MIGRATIONS;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteLockingMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};

use super::ahead::{AHEAD_BYTES, Ahead};
use super::{Fault, GROUP_FRAMES_MAX, LogFile};
use crate::local::{Choice, Config, OpenError};

/// A commit writes a whole page at least, and a large frame the fewer pages the larger they are.
const PAGE_BYTES: u32 = 8_192;
/// SQLite's cache: rows are written once and hardly ever read.
const CACHE_KIB: u32 = 1_024;

/// "Thul": what tells this file from any other of SQLite.
const APPLICATION_ID: i64 = 0x5468_756c;

pub(super) async fn open(config: &Config, choice: Choice<'_>) -> Result<LogFile, OpenError> {
    let path = &config.path;
    let exists = path.exists();
    if let (false, Choice::Existing(wanted)) = (exists, choice) {
        return Err(OpenError::Missing { path: path.clone(), wanted });
    }
    let of = |error: sqlx::Error| OpenError::of(path, error.into());
    let mut conn = options(path).create_if_missing(!exists).connect().await.map_err(of)?;
    match prepare(&mut conn, config, choice).await {
        Ok(Prepared { identity, generation, page_bytes, ahead }) => {
            let inserts = (1..=GROUP_FRAMES_MAX).map(insert).collect();
            Ok(LogFile { identity, generation, conn, inserts, page_bytes, ahead, has_shrunk: false })
        }
        Err(error) => {
            // Closed, and not just dropped, so that the file is free when the caller hears of it.
            let _ = conn.close().await;
            Err(error)
        }
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .page_size(PAGE_BYTES)
        .locking_mode(SqliteLockingMode::Exclusive)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", format!("-{CACHE_KIB}"))
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", AHEAD_BYTES.to_string())
        .busy_timeout(Duration::ZERO)
        .thread_name(|_| "change-log".into())
        .disable_statement_logging()
}

struct Prepared {
    identity: LogIdentity,
    generation: LogGeneration,
    page_bytes: u64,
    ahead: Ahead,
}

async fn prepare(conn: &mut SqliteConnection, config: &Config, choice: Choice<'_>) -> Result<Prepared, OpenError> {
    let path = &config.path;
    let of = |fault| OpenError::of(path, fault);
    // Nothing is written before it is clear whose file it is.
    let schema = schema(conn, path).await?;
    pragma(conn, "journal_mode = WAL").await.map_err(of)?;
    migrate(conn, path, schema, choice).await?;
    let (identity, generation) = name(conn).await.map_err(of)?;
    if let Choice::Existing(wanted) = choice
        && wanted != identity
    {
        return Err(OpenError::OtherLog { path: path.clone(), found: identity, wanted });
    }
    let page_bytes = number(conn, "PRAGMA page_size").await.map_err(of)?.unsigned_abs().max(512);
    if let Some(bytes) = config.file_bytes_max {
        pragma(conn, &format!("max_page_count = {}", (bytes / page_bytes).max(1))).await.map_err(of)?;
    }
    let ahead = flush_again(conn, path).await.map_err(of)?;
    let wal = wal_path(path);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || fill(&wal)).await {
        tracing::warn!(%error, path = %path.display(), "no room for the whole write-ahead log; appends will be slower");
    }
    Ok(Prepared { identity, generation, page_bytes, ahead })
}

/// Flushes once more what an earlier life left in the write-ahead log: its last flush may have failed, and what is read
/// from here on must not be lost any more.
async fn flush_again(conn: &mut SqliteConnection, path: &Path) -> Result<Ahead, Fault> {
    match pragma(conn, "wal_checkpoint(TRUNCATE)").await {
        Ok(()) => Ok(Ahead::empty()),
        Err(Fault::Full(why)) => {
            // The file can't grow, and the log can be read all the same. Its bytes are written where they are, because
            // a flush that failed leaves them in memory as if they were on the disk.
            tracing::error!(path = %path.display(), why, "no space to tidy the change log");
            let wal = wal_path(path);
            let rewritten = tokio::task::spawn_blocking(move || rewrite(&wal)).await;
            let used = rewritten.map_err(io::Error::other).flatten().map_err(|error| Fault::Io(error.to_string()))?;
            Ok(Ahead::stuck(used))
        }
        Err(fault) => Err(fault),
    }
}

/// Number of the last migration that the file has had; 0: an empty file.
async fn schema(conn: &mut SqliteConnection, path: &Path) -> Result<u32, OpenError> {
    let of = |fault| OpenError::of(path, fault);
    let not_a_log = |why: String| Err(OpenError::NotALog { path: path.to_owned(), why });
    let application = number(conn, "PRAGMA application_id").await.map_err(of)?;
    let tables = number(conn, "SELECT count(*) FROM sqlite_schema").await.map_err(of)?;
    match (application, tables) {
        (0, 0) => return Ok(0),
        (APPLICATION_ID, _) => {}
        (0, tables) => {
            return not_a_log(format!("it is a database with {tables} tables and indexes of something else"));
        }
        (other, _) => return not_a_log(format!("it is a database of application {other:#x}")),
    }
    let found = number(conn, "PRAGMA user_version").await.map_err(of)?;
    let known = MIGRATIONS.len() as u32;
    match u32::try_from(found) {
        Ok(found) if found > known => Err(OpenError::NewerSchema { path: path.to_owned(), found, known }),
        Ok(0) | Err(_) => Err(OpenError::Corrupt { path: path.to_owned(), why: format!("its schema is {found}") }),
        Ok(found) => Ok(found),
    }
}

/// Applies what the file lacks, and names a new log, in one transaction.
async fn migrate(conn: &mut SqliteConnection, path: &Path, schema: u32, choice: Choice<'_>) -> Result<(), OpenError> {
    let missing = MIGRATIONS.get(schema as usize..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let mut sql = String::from("BEGIN IMMEDIATE;\n");
    missing.iter().for_each(|migration| sql += migration.sql);
    sql += &format!("\nPRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {};\n", MIGRATIONS.len());
    if schema == 0 {
        match choice {
            Choice::OpenOrCreate { generation, chance } => {
                let identity = LogIdentity(chance.bytes());
                sql += &format!("INSERT INTO log VALUES (1, x'{identity}', {generation});\n");
            }
            Choice::Existing(wanted) => return Err(OpenError::Missing { path: path.to_owned(), wanted }),
        }
    }
    sql += "COMMIT;";
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.map_err(|error| OpenError::of(path, error.into()))?;
    Ok(())
}

async fn name(conn: &mut SqliteConnection) -> Result<(LogIdentity, LogGeneration), Fault> {
    let row: Option<(Vec<u8>, i64)> =
        sqlx::query_as("SELECT identity, generation FROM log").fetch_optional(conn).await?;
    let wrong = || Fault::Corrupt("it does not say which log it is".into());
    let (identity, generation) = row.ok_or_else(wrong)?;
    let identity = <[u8; 16]>::try_from(identity).map_err(|_| wrong())?;
    let generation = LogGeneration::try_from(generation).ok().filter(|g| (1..=127).contains(g)).ok_or_else(wrong)?;
    Ok((LogIdentity(identity), generation))
}

pub(super) async fn number(conn: &mut SqliteConnection, sql: &'static str) -> Result<i64, Fault> {
    Ok(sqlx::query_scalar(sql).fetch_one(conn).await?)
}

async fn pragma(conn: &mut SqliteConnection, pragma: &str) -> Result<(), Fault> {
    sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA {pragma}"))).execute(conn).await?;
    Ok(())
}

fn insert(rows: usize) -> Arc<str> {
    let values = vec!["(?, ?, ?)"; rows].join(", ");
    format!("INSERT INTO frame (number, checksum, body) VALUES {values}").into()
}

fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Makes the write-ahead log as long as it will be, in blocks that are written: reserving them is not enough, for the
/// first write to a reserved block changes the file's metadata, which a flush then waits for. SQLite takes zeros for the
/// end of the log, and does not look behind it.
fn fill(wal: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(wal)?;
    let before = file.seek(SeekFrom::End(0))?;
    let missing = AHEAD_BYTES.saturating_sub(before);
    let written = write_zeros(&mut file, missing);
    if written.is_err() {
        // A disk that is full must not stay so for this.
        file.set_len(before)?;
    }
    written
}

/// Writes a file's bytes over themselves, and flushes them; how many there are.
fn rewrite(path: &Path) -> io::Result<u64> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut some = vec![0; 64 * 1024];
    let mut place = 0;
    loop {
        let read = file.read_at(&mut some, place)?;
        if read == 0 {
            file.sync_all()?;
            return Ok(place);
        }
        file.write_all_at(&some[..read], place)?;
        place += read as u64;
    }
}

fn write_zeros(file: &mut File, bytes: u64) -> io::Result<()> {
    let zeros = [0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let some = left.min(zeros.len() as u64);
        file.write_all(&zeros[..some as usize])?;
        left -= some;
    }
    file.sync_all()
}
