//! The embedded log: a table in a SQLite file of its own, held by one process.
//!
//! One append is one frame, one row and one position; appends that come while a commit is under way share the next one.
//! A row's number is its offset: numbers start at 1, have no gap, and because the last row is never deleted none is used
//! twice. One task ([`writer`]) owns the only connection. Readers get recent frames from a [`tail`] in memory, as the
//! writer's own `Arc`s, and older ones from the file.
//!
//! What makes it fast: SQLite's write-ahead log is made to its full size when the log is opened and written over in
//! place ever after, because a disk's flush takes many times longer for a file that grows.
//!
//! Invariants: nothing is shown to a reader before it is flushed. An append whose commit failed is refused only when
//! nothing of it can come back; else its outcome is unknown, the file is opened anew, its end flushed again and read
//! again, and only then shown.

mod error;
mod file;
mod tail;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use compute::model::{Entry, Frame, LogGeneration, LogIdentity, Position};
use compute::port::change_log::{AppendError, Bounds, ChangeLog, LogReadError};
use compute::port::{Chance, Clock};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::codec;

pub use error::OpenError;
use file::{LogFile, Row};
use tail::Shown;
use writer::{Append, Chore, Writer};

/// Appends that wait for the writer; beyond it they wait for a place.
const APPENDS_QUEUED_MAX: usize = 1_024;
/// Reads and trims that wait for the writer.
const CHORES_QUEUED_MAX: usize = 64;

/// Where the log is, and how much of it there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub path: PathBuf,
    /// Most bytes, encoded, of recent frames that are kept in memory for readers.
    pub tail_bytes_max: usize,
    /// Largest file; beyond it appends are refused. `None`: as large as the disk lets it be.
    pub file_bytes_max: Option<u64>,
}

impl Config {
    pub const TAIL_BYTES_MAX_DEFAULT: usize = 2 * 1024 * 1024;

    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), tail_bytes_max: Self::TAIL_BYTES_MAX_DEFAULT, file_bytes_max: None }
    }
}

/// Which log is to be opened.
#[derive(Clone, Copy)]
pub enum Choice<'a> {
    /// The one that is there; when there is none, a new one of this generation under a random identity.
    OpenOrCreate { generation: LogGeneration, chance: &'a dyn Chance },
    /// This one; another, or none, is an error.
    Existing(LogIdentity),
}

/// The log in one file. Closed by [`LocalLog::close`], or, without waiting for it, when it is dropped.
pub struct LocalLog {
    identity: LogIdentity,
    generation: LogGeneration,
    appends: mpsc::Sender<Append>,
    chores: mpsc::Sender<Chore>,
    shown: Arc<Shown>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl LocalLog {
    pub async fn open(config: &Config, choice: Choice<'_>, clock: Arc<dyn Clock>) -> Result<Arc<Self>, OpenError> {
        let mut file = LogFile::open(config, choice).await?;
        let (identity, generation) = (file.identity, file.generation);
        let ends = file.ends().await.map_err(|fault| OpenError::of(&config.path, fault))?;
        let shown = Arc::new(Shown::new(identity, generation, ends, config.tail_bytes_max));
        let (appends, append_queue) = mpsc::channel(APPENDS_QUEUED_MAX);
        let (chores, chore_queue) = mpsc::channel(CHORES_QUEUED_MAX);
        let writer = Writer::new(config.clone(), Arc::clone(&shown), append_queue, chore_queue, clock);
        let writer = Mutex::new(Some(tokio::spawn(writer.run(file))));
        Ok(Arc::new(Self { identity, generation, appends, chores, shown, writer }))
    }

    /// Of which life it is.
    pub fn generation(&self) -> LogGeneration {
        self.generation
    }

    /// Writes what was handed over, and closes the file. Whoever still uses the log is told that it is closed.
    pub async fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // Both fail only when the writer has ended, which is what is wanted.
            let _ = self.chores.send(Chore::Close).await;
            let _ = writer.await;
        }
    }

    /// Frames that are no longer in memory, from the file.
    async fn read_file(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        let (reply, answer) = oneshot::channel();
        let closed = || LogReadError::Away("the log is closed".into());
        let chore = Chore::Read { after: after.offset(), max, reply };
        self.chores.send(chore).await.map_err(|_| closed())?;
        let rows = answer.await.map_err(|_| closed())??;
        rows.into_iter().map(|row| self.entry(row)).collect()
    }

    fn entry(&self, row: Row) -> Result<Entry, LogReadError> {
        row.entry(self.identity, self.generation).map_err(LogReadError::Unusable)
    }
}

#[async_trait]
impl ChangeLog for LocalLog {
    async fn bounds(&self) -> Result<Bounds, LogReadError> {
        self.shown.bounds()
    }

    async fn append(&self, frame: Arc<Frame>) -> Result<Position, AppendError> {
        let refused = |why: String| Err(AppendError::Refused(why));
        if frame.identity != self.identity {
            return refused(format!("this log is {}, the frame is of log {}", self.identity, frame.identity));
        }
        let body = match codec::encode(&frame, self.generation) {
            Ok(body) => body,
            Err(error) => return refused(error.to_string()),
        };
        let (reply, answer) = oneshot::channel();
        let checksum = codec::checksum(&body);
        if self.appends.send(Append { frame, body, checksum, reply }).await.is_err() {
            return refused("the log is closed".into());
        }
        answer.await.unwrap_or_else(|_| Err(AppendError::Unknown("the log was closed meanwhile".into())))
    }

    async fn read(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        if let Some(entries) = self.shown.read(after, max.max(1)).await? {
            return Ok(entries);
        }
        self.read_file(after, max.max(1)).await
    }

    async fn trim(&self, upto: Position) -> Result<(), AppendError> {
        if upto.offset() == 0 {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let closed = || AppendError::Refused("the log is closed".into());
        let upto = if upto.generation() > self.generation { u64::MAX } else { upto.offset() };
        self.chores.send(Chore::Trim { upto, reply }).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

#[cfg(test)]
mod tests;
