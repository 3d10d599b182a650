//! Presence in one SQLite file that one process holds: WAL, every commit synced.
//!
//! One connection writes and is asked for the mark; loads open connections of their own, so that a landing never waits
//! for a load. A landing that was begun runs to its end, also when nobody waits for it any more, and the next call
//! waits for it: after a dropped or unknown landing the mark is final.

mod fault;
mod landing;
mod loading;
mod opening;
mod record;
mod statement;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use compute::model::{LogIdentity, LogState, Position, Rows};
use compute::port::PresenceStore;
use compute::port::store::{Epoch, LandError, Loaded, ReadError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, ValueRef as _};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::batch::Batch;
use crate::row::{Cells, Wrong};

pub use opening::{OpenError, Settings, open, open_with};

/// A presence store in a SQLite file. The file is released when the last clone of its `Arc` is gone and what it began
/// has ended, or by [`SqliteStore::close`].
pub struct SqliteStore {
    file: Arc<File>,
}

/// The file, held.
struct File {
    path: PathBuf,
    options: SqliteConnectOptions,
    statements: statement::Statements,
    writer: Arc<Mutex<Writer>>,
}

struct Writer {
    /// `None`: it broke in a transaction, the next call opens another.
    connection: Option<SqliteConnection>,
    /// `None`: closed.
    lock: Option<std::fs::File>,
}

impl SqliteStore {
    /// Ends what is under way, closes the file and releases it. Every later call is refused.
    pub async fn close(&self) {
        let mut writer = self.file.writer().await;
        if let Some(connection) = writer.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(path = %self.file.path.display(), %error, "the store's file was not closed cleanly");
        }
        writer.lock = None;
    }

    /// Runs `work` on the file to its end, whether or not the caller waits for it. Whoever takes the writer next comes
    /// behind it: it has the writer before it is left to itself.
    async fn write<T, F>(&self, work: impl FnOnce(Arc<File>, Held) -> F) -> Result<T, LandError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LandError>> + Send + 'static,
    {
        let held = self.file.writer.clone().lock_owned().await;
        let ended = tokio::spawn(work(self.file.clone(), held)).await;
        ended.unwrap_or_else(|broken| Err(LandError::Unknown(format!("{}: {broken}", self.file.path.display()))))
    }
}

type Held = OwnedMutexGuard<Writer>;

impl File {
    async fn writer(&self) -> Held {
        self.writer.clone().lock_owned().await
    }

    /// The writer's connection, opened again if it broke.
    async fn connected<'a>(&self, writer: &'a mut Writer) -> Result<&'a mut SqliteConnection, sqlx::Error> {
        if writer.lock.is_none() {
            return Err(sqlx::Error::PoolClosed);
        }
        match &mut writer.connection {
            Some(connection) => Ok(connection),
            broken => Ok(broken.insert(self.options.connect().await?)),
        }
    }
}

#[async_trait]
impl PresenceStore for SqliteStore {
    async fn load(&self) -> Result<Loaded, ReadError> {
        loading::load(&self.file).await
    }

    async fn lead(&self, identity: LogIdentity) -> Result<Epoch, LandError> {
        self.write(move |file, held| async move { landing::lead(&file, held, identity).await }).await
    }

    async fn land(&self, epoch: Epoch, rows: Rows, from: Position, upto: LogState) -> Result<(), LandError> {
        let batch = sorted(rows).await?;
        self.write(move |file, held| async move { landing::land(&file, held, epoch, &batch, from, upto).await }).await
    }

    async fn replace(&self, epoch: Epoch, rows: Rows, upto: LogState) -> Result<(), LandError> {
        let batch = sorted(rows).await?;
        self.write(move |file, held| async move { landing::replace(&file, held, epoch, &batch, upto).await }).await
    }

    async fn mark(&self) -> Result<Option<(Epoch, LogState)>, ReadError> {
        loading::mark(&self.file).await
    }
}

/// Off the tasks' threads: a whole state takes a second to sort.
async fn sorted(rows: Rows) -> Result<Batch, LandError> {
    let sorted = tokio::task::spawn_blocking(move || Batch::new(rows)).await;
    sorted.unwrap_or_else(|broken| Err(broken.to_string())).map_err(LandError::Rejected)
}

impl Cells for SqliteRow {
    fn int(&self, at: usize) -> Result<i64, Wrong> {
        self.try_get(at).map_err(|e| e.to_string())
    }

    fn text(&self, at: usize) -> Result<&str, Wrong> {
        self.try_get(at).map_err(|e| e.to_string())
    }

    fn blob(&self, at: usize) -> Result<&[u8], Wrong> {
        self.try_get(at).map_err(|e| e.to_string())
    }

    fn is_null(&self, at: usize) -> Result<bool, Wrong> {
        self.try_get_raw(at).map(|value| value.is_null()).map_err(|e| e.to_string())
    }
}
