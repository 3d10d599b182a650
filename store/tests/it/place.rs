//! Folders of their own for stores, and a store's file as SQLite shows it to others.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use compute::model::{LogState, Position, Rows};
use compute::port::PresenceStore;
use compute::port::store::Epoch;
use compute::testing::store::sample::{identity, log_state};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor};
use store::sqlite::{SqliteStore, open};
use tempfile::TempDir;

pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("presence.db")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn open(&self) -> Arc<SqliteStore> {
        open(&self.file()).await.unwrap()
    }

    /// A store that holds `rows` at [`at`] 1, led.
    pub(crate) async fn landed(&self, rows: Rows) -> (Arc<SqliteStore>, Epoch) {
        let store = self.open().await;
        let epoch = store.lead(identity(1)).await.unwrap();
        store.land(epoch, rows, Position::ZERO, at(1)).await.unwrap();
        (store, epoch)
    }

    /// Runs SQL on the file as another program would.
    pub(crate) async fn meddle(&self, sql: &'static str) {
        let mut connection = self.connect().await;
        connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        connection.close().await.unwrap();
    }

    pub(crate) async fn connect(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.file()).create_if_missing(true).connect().await.unwrap()
    }
}

pub(crate) fn at(offset: u64) -> LogState {
    log_state(identity(1), offset)
}
