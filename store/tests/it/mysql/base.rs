//! Databases of their own for stores, and a store's database as others see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use compute::model::{Position, Rows};
use compute::port::PresenceStore;
use compute::port::store::Epoch;
use compute::testing::store::sample::identity;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use store::mysql::{Limits, MysqlStore, Settings, open};

use super::server::shared;
use crate::place::at;

/// A database, gone with this.
pub(crate) struct Base {
    server: String,
    name: String,
}

impl Base {
    /// On the server that all share; `None`: there is none, and that was said.
    pub(crate) async fn shared() -> Option<Self> {
        Some(Self::on(shared()?).await)
    }

    /// On the server with this address.
    pub(crate) async fn on(server: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("thuban_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let base = Self { server: server.to_owned(), name };
        let mut connection = connect(&base.server, "").await;
        base.run_on(&mut connection, &format!("CREATE DATABASE `{}`", base.name)).await;
        base
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn settings(&self) -> Settings {
        self.at(&self.server)
    }

    /// The same by another way, which leads to the same server.
    pub(crate) fn at(&self, server: &str) -> Settings {
        format!("{server}{}", self.name).parse().unwrap()
    }

    /// With limits that a test can wait for.
    pub(crate) fn impatient(&self, server: &str) -> Settings {
        let second = Duration::from_secs(1);
        let limits = Limits { connect: second, statement: second, idle: 5 * second, ..Limits::default() };
        Settings { limits, ..self.at(server) }
    }

    pub(crate) async fn open(&self) -> Arc<MysqlStore> {
        open(&self.settings()).await.unwrap()
    }

    /// A store that holds `rows` at [`at`] 1, led.
    pub(crate) async fn landed(&self, rows: Rows) -> (Arc<MysqlStore>, Epoch) {
        let store = self.open().await;
        let epoch = store.lead(identity(1)).await.unwrap();
        store.land(epoch, rows, Position::ZERO, at(1)).await.unwrap();
        (store, epoch)
    }

    /// Runs SQL as another program would.
    pub(crate) async fn meddle(&self, sql: &str) {
        let mut connection = self.connect().await;
        self.run_on(&mut connection, sql).await;
        connection.close().await.unwrap();
    }

    async fn run_on(&self, connection: &mut MySqlConnection, sql: &str) {
        connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
    }

    pub(crate) async fn rows(&self, sql: &'static str) -> Vec<MySqlRow> {
        sqlx::query(sql).fetch_all(&mut self.connect().await).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> MySqlConnection {
        connect(&self.server, &self.name).await
    }
}

async fn connect(server: &str, name: &str) -> MySqlConnection {
    let options: MySqlConnectOptions = format!("{server}{name}").parse().unwrap();
    options.connect().await.unwrap()
}

impl Drop for Base {
    fn drop(&mut self) {
        // A private server goes with its databases.
        if std::env::var_os("THUBAN_TEST_MARIADB").is_none() && std::env::var_os("THUBAN_TEST_MYSQL").is_none() {
            return;
        }
        let (server, drop) = (self.server.clone(), format!("DROP DATABASE `{}`", self.name));
        let dropped = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let options: MySqlConnectOptions = server.parse().unwrap();
                if let Ok(mut connection) = options.connect().await {
                    let _ = connection.execute(sqlx::raw_sql(AssertSqlSafe(drop))).await;
                }
            });
        });
        let _ = dropped.join();
    }
}
