//! Presence in a MySQL or MariaDB database that many nodes share.
//!
//! Whoever writes first locks the one row of the mark and holds it to the commit: two nodes never write at once, and
//! what a lost connection leaves behind on the server is under that lock. So every reading of the mark takes the lock
//! too, shared: it waits until a landing whose outcome nobody heard has become one or the other. A load holds the lock
//! until each of its readers has begun its snapshot, and no longer.
//!
//! A landing that was begun runs to its end, also when nobody waits for it any more, and the next call waits for it.
//! Nothing waits for ever: connecting, each statement and each lock have their limits, and a session that has been
//! silent is ended by the server, with its locks.
//!
//! What it asks of the server: one that writes (not several behind one name), InnoDB, `max_allowed_packet` of 4 MiB;
//! with `innodb_flush_log_at_trx_commit` other than 1 the last second of what was landed may be lost in a power cut.

mod connections;
mod fault;
mod landing;
mod loading;
mod opening;
mod settings;
mod statement;

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use compute::model::{LogIdentity, LogState, Position, Rows};
use compute::port::PresenceStore;
use compute::port::store::{Epoch, LandError, Loaded, ReadError};
use sqlx::mysql::MySqlRow;
use sqlx::{Row as _, ValueRef as _};
use tokio::sync::{Mutex, OnceCell, OwnedMutexGuard};

use crate::batch::Batch;
use crate::row::{Cells, Wrong};

pub use opening::{OpenError, open, open_later};
pub use settings::{Limits, Settings, SettingsError, Tls, TlsMode};

/// A presence store in a MySQL or MariaDB database.
pub struct MysqlStore {
    database: Arc<Database>,
}

struct Database {
    /// As it is shown: without the password.
    place: String,
    connections: Arc<connections::Connections>,
    statements: statement::Statements,
    /// The tables have been found to be ours, or made so.
    ready: OnceCell<()>,
    /// Of this process one call at a time writes, or asks what was written.
    turn: Arc<Mutex<()>>,
    /// One load at a time: two that each had half of the connections would wait for each other.
    load: Mutex<()>,
}

impl MysqlStore {
    /// Ends what is under way and lets the connections go. Every later call is refused.
    pub async fn close(&self) {
        let _turn = self.database.turn().await;
        self.database.connections.close().await;
    }

    /// Runs `work` to its end, whether or not the caller waits for it. Whoever takes the turn next comes behind it: it
    /// has the turn before it is left to itself.
    async fn write<T, F>(&self, work: impl FnOnce(Arc<Database>) -> F + Send + 'static) -> Result<T, LandError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LandError>> + Send + 'static,
    {
        let database = self.database.clone();
        let turn = database.turn().await;
        let ended = tokio::spawn(async move {
            let _turn = turn;
            database.prepared().await.map_err(|error| LandError::Rejected(error.to_string()))?;
            work(database).await
        });
        let ended = ended.await;
        ended.unwrap_or_else(|broken| Err(LandError::Unknown(format!("{}: {broken}", self.database.place))))
    }
}

impl Database {
    async fn turn(&self) -> OwnedMutexGuard<()> {
        self.turn.clone().lock_owned().await
    }
}

#[async_trait]
impl PresenceStore for MysqlStore {
    async fn load(&self) -> Result<Loaded, ReadError> {
        self.database.prepared().await?;
        loading::load(&self.database).await
    }

    async fn lead(&self, identity: LogIdentity) -> Result<Epoch, LandError> {
        self.write(move |db| async move { landing::lead(&db, identity).await }).await
    }

    async fn land(&self, epoch: Epoch, rows: Rows, from: Position, upto: LogState) -> Result<(), LandError> {
        let batch = sorted(rows).await?;
        self.write(move |db| async move { landing::land(&db, epoch, &batch, from, upto).await }).await
    }

    async fn replace(&self, epoch: Epoch, rows: Rows, upto: LogState) -> Result<(), LandError> {
        let batch = sorted(rows).await?;
        self.write(move |db| async move { landing::replace(&db, epoch, &batch, upto).await }).await
    }

    async fn mark(&self) -> Result<Option<(Epoch, LogState)>, ReadError> {
        let _turn = self.database.turn().await;
        self.database.prepared().await?;
        loading::mark(&self.database).await
    }
}

/// Off the tasks' threads: a whole state takes a second to sort.
async fn sorted(rows: Rows) -> Result<Batch, LandError> {
    let sorted = tokio::task::spawn_blocking(move || Batch::new(rows)).await;
    sorted.unwrap_or_else(|broken| Err(broken.to_string())).map_err(LandError::Rejected)
}

impl Cells for MySqlRow {
    fn int(&self, at: usize) -> Result<i64, Wrong> {
        self.try_get(at).map_err(|e| e.to_string())
    }

    fn text(&self, at: usize) -> Result<&str, Wrong> {
        str::from_utf8(self.blob(at)?).map_err(|e| e.to_string())
    }

    fn blob(&self, at: usize) -> Result<&[u8], Wrong> {
        self.try_get(at).map_err(|e| e.to_string())
    }

    fn is_null(&self, at: usize) -> Result<bool, Wrong> {
        self.try_get_raw(at).map(|value| value.is_null()).map_err(|e| e.to_string())
    }
}
