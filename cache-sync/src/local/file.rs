//! The file: its schema, its rows, and how SQLite is told to treat it.

mod ahead;
mod setup;

use std::sync::Arc;

use compute::model::{Entry, LogGeneration, LogIdentity, Position};
use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use self::ahead::Ahead;
use super::error::{Fault, OpenError};
use super::{Choice, Config};
use crate::codec;

/// Appends that share one commit; each number is a statement of its own.
pub(super) const GROUP_FRAMES_MAX: usize = 16;
/// Bytes that a group may have when another frame joins it.
pub(super) const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Rows and bytes of one read from the file: a few milliseconds, for appends wait meanwhile.
const READ_ROWS_MAX: usize = 256;
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Rows and bytes that one step of a trim deletes.
const TRIM_ROWS_MAX: i64 = 256;
const TRIM_BYTES_MAX: i64 = 2 * 1024 * 1024;
/// Pages that one step of a trim changes, roughly.
const TRIM_PAGES: u64 = 8;

/// Space in the file that is kept for frames to come; what is free beyond it goes back to the disk.
const FREE_BYTES_KEPT: u64 = 32 * 1024 * 1024;
const SHRINK: &str = "PRAGMA incremental_vacuum(256)";
/// Pages that it changes, if few of those that it frees have to be moved.
const SHRINK_PAGES: u64 = 32;

/// Where the rows begin and end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Ends {
    /// Number of the last row that was deleted; 0: none.
    pub(super) trimmed: u64,
    /// Number of the last row; 0: there never was one.
    pub(super) last: u64,
}

/// A row as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) checksum: u64,
    pub(super) body: Vec<u8>,
}

impl Row {
    /// The entry that this row is, if it is what was written.
    pub(super) fn entry(&self, identity: LogIdentity, generation: LogGeneration) -> Result<Entry, String> {
        let wrong = |why: String| format!("frame {} is damaged: {why}", self.number);
        let found = codec::checksum(&self.body);
        if found != self.checksum {
            return Err(wrong(format!("its checksum is {found:016x}, written was {:016x}", self.checksum)));
        }
        let decoded = codec::decode(&self.body).map_err(|error| wrong(error.to_string()))?;
        if decoded.frame.identity != identity || decoded.generation != generation {
            let (log, life) = (decoded.frame.identity, decoded.generation);
            return Err(wrong(format!("it is of log {log}, generation {life}, not {identity}, {generation}")));
        }
        let position = Position::new(generation, self.number).ok_or_else(|| wrong("there are too many".into()))?;
        Ok(Entry { position, frame: Arc::new(decoded.frame), checksum: self.checksum })
    }
}

pub(super) struct LogFile {
    pub(super) identity: LogIdentity,
    pub(super) generation: LogGeneration,
    conn: SqliteConnection,
    /// The insert of one row, of two, ...
    inserts: Vec<Arc<str>>,
    page_bytes: u64,
    ahead: Ahead,
    /// Since [`LogFile::shrink_some`] last had nothing to do.
    has_shrunk: bool,
}

impl LogFile {
    /// Opens it, brings it to this program's schema and makes its write-ahead log ready.
    pub(super) async fn open(config: &Config, choice: Choice<'_>) -> Result<Self, OpenError> {
        setup::open(config, choice).await
    }

    /// Writes rows and flushes them: all or, on an error, none or all, see [`Fault`].
    pub(super) async fn append(&mut self, rows: Vec<Row>) -> Result<(), Fault> {
        let Some(insert) = rows.len().checked_sub(1).and_then(|place| self.inserts.get(place)) else {
            return Ok(());
        };
        let insert = Arc::clone(insert);
        // The pages of a row's bytes, and those that lead to it.
        let pages = rows.iter().map(|row| row.body.len() as u64 / self.page_bytes + 2);
        let bytes = pages.sum::<u64>() * self.page_bytes;
        if self.ahead.has_no_room(bytes) {
            self.checkpoint().await?;
        }
        let mut query = sqlx::query(AssertSqlSafe(insert));
        for row in rows {
            query = query.bind(row.number as i64).bind(row.checksum as i64).bind(row.body);
        }
        query.execute(&mut self.conn).await?;
        self.ahead.add(bytes);
        Ok(())
    }

    pub(super) async fn ends(&mut self) -> Result<Ends, Fault> {
        // Two queries in one would read the whole table: SQLite takes the shortcut for a lone min or max only.
        const FIRST: &str = "SELECT min(number) FROM frame";
        const LAST: &str = "SELECT max(number) FROM frame";
        let first: Option<i64> = sqlx::query_scalar(FIRST).fetch_one(&mut self.conn).await?;
        let last: Option<i64> = sqlx::query_scalar(LAST).fetch_one(&mut self.conn).await?;
        match (first, last) {
            (Some(first), Some(last)) if 0 < first && first <= last && Position::new(1, last as u64).is_some() => {
                Ok(Ends { trimmed: first as u64 - 1, last: last as u64 })
            }
            (None, None) => Ok(Ends::default()),
            (first, last) => Err(Fault::Corrupt(format!("its frames go from {first:?} to {last:?}"))),
        }
    }

    /// Rows behind `after`, at least one if there is one, without a gap.
    pub(super) async fn read(&mut self, after: u64, max: usize) -> Result<Vec<Row>, Fault> {
        const SQL: &str = "SELECT number, checksum, body FROM frame WHERE number > ? ORDER BY number LIMIT ?";
        let limit = max.min(READ_ROWS_MAX) as i64;
        let mut stream = sqlx::query(SQL).bind(after as i64).bind(limit).fetch(&mut self.conn);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(found) = stream.try_next().await? {
            let row = Row {
                number: found.try_get::<i64, _>(0)? as u64,
                checksum: found.try_get::<i64, _>(1)? as u64,
                body: found.try_get(2)?,
            };
            let due = after + rows.len() as u64 + 1;
            if row.number != due {
                return Err(Fault::Corrupt(format!("frame {due} is missing, the next one is {}", row.number)));
            }
            bytes += row.body.len();
            rows.push(row);
            if bytes >= READ_BYTES_MAX {
                break;
            }
        }
        Ok(rows)
    }

    /// Deletes some rows, from the first one on, up to `upto`; how far it came.
    pub(super) async fn trim_some(&mut self, upto: u64) -> Result<u64, Fault> {
        const SIZES: &str = "SELECT number, length(body) FROM frame WHERE number <= ? ORDER BY number LIMIT ?";
        const DELETE: &str = "DELETE FROM frame WHERE number <= ?";
        let query = sqlx::query_as(SIZES).bind(upto as i64).bind(TRIM_ROWS_MAX);
        let sizes: Vec<(i64, i64)> = query.fetch_all(&mut self.conn).await?;
        let mut bytes = 0;
        let within = sizes.iter().take_while(|(_, size)| {
            let fits = bytes < TRIM_BYTES_MAX;
            bytes += size;
            fits
        });
        let Some((number, _)) = within.last() else { return Ok(upto) };
        sqlx::query(DELETE).bind(number).execute(&mut self.conn).await?;
        self.ahead.add(TRIM_PAGES * self.page_bytes);
        Ok(*number as u64)
    }

    /// Gives some space back to the disk, if more is free than frames to come are likely to need; whether it did.
    pub(super) async fn shrink_some(&mut self) -> Result<bool, Fault> {
        let free = setup::number(&mut self.conn, "PRAGMA freelist_count").await?.unsigned_abs();
        let kept = if self.ahead.is_stuck() { 0 } else { FREE_BYTES_KEPT };
        if free * self.page_bytes > kept {
            sqlx::raw_sql(SHRINK).execute(&mut self.conn).await?;
            self.ahead.add(SHRINK_PAGES * self.page_bytes);
            self.has_shrunk = true;
            if self.ahead.is_stuck() {
                self.ahead.make_due();
            }
            return Ok(true);
        }
        // The file gets shorter only when the write-ahead log is emptied into it.
        if std::mem::take(&mut self.has_shrunk) {
            self.ahead.make_due();
        }
        Ok(false)
    }

    /// Whether so much of the write-ahead log is used that it should be emptied into the file.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        self.ahead.is_due()
    }

    /// Empties the write-ahead log into the file and flushes that; the log is then written from its start.
    pub(super) async fn checkpoint(&mut self) -> Result<(), Fault> {
        const SQL: &str = "PRAGMA wal_checkpoint(PASSIVE)";
        let done: Result<(i64, i64, i64), sqlx::Error> = sqlx::query_as(SQL).fetch_one(&mut self.conn).await;
        match done.map_err(Fault::from) {
            Ok((0, _, _)) => {
                self.ahead = Ahead::empty();
                Ok(())
            }
            Ok(_) => {
                self.ahead.failed(false);
                Err(Fault::InUse("the write-ahead log is held by another reader".into()))
            }
            Err(fault) => {
                self.ahead.failed(matches!(fault, Fault::Full(_)));
                Err(fault)
            }
        }
    }

    pub(super) async fn close(self) -> Result<(), Fault> {
        self.conn.close().await.map_err(Fault::from)
    }

    /// The pragmas that durability rests on, as they are in force.
    #[cfg(test)]
    pub(super) async fn modes(&mut self) -> Result<[String; 4], Fault> {
        const SQL: [&str; 4] =
            ["PRAGMA journal_mode", "PRAGMA synchronous", "PRAGMA locking_mode", "PRAGMA wal_autocheckpoint"];
        let mut modes = [const { String::new() }; 4];
        for (mode, sql) in modes.iter_mut().zip(SQL) {
            let row = sqlx::query(sql).fetch_one(&mut self.conn).await?;
            *mode = row.try_get_unchecked::<String, _>(0)?;
        }
        Ok(modes)
    }
}
