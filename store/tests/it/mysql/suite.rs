use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use compute::testing::store::{Stores, pass};
use store::mysql::MysqlStore;

use super::base::Base;
use super::server::{named, shared, skipped};

/// Stores in databases of one server, each of which lasts as long as this.
struct Bases {
    server: String,
    all: Mutex<Vec<(Base, Arc<MysqlStore>)>>,
}

#[async_trait]
impl Stores for Bases {
    type Store = MysqlStore;

    async fn fresh(&self) -> Arc<MysqlStore> {
        let base = Base::on(&self.server).await;
        let store = base.open().await;
        self.all.lock().unwrap().push((base, store.clone()));
        store
    }

    async fn reopened(&self, store: Arc<MysqlStore>) -> Option<Arc<MysqlStore>> {
        let (base, held) = {
            let mut all = self.all.lock().unwrap();
            let found = all.iter().position(|(_, held)| Arc::ptr_eq(held, &store)).unwrap();
            all.swap_remove(found)
        };
        // Not closed: a process that is killed does not close either.
        drop((held, store));
        let store = base.open().await;
        self.all.lock().unwrap().push((base, store.clone()));
        Some(store)
    }
}

async fn passes(server: &str) {
    pass(&Bases { server: server.to_owned(), all: Mutex::default() }).await;
}

#[tokio::test]
async fn mariadb_passes_the_suite_on_one_thread() {
    if let Some(server) = shared() {
        passes(server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mariadb_passes_the_suite_on_many_threads() {
    if let Some(server) = shared() {
        passes(server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mysql_passes_the_suite() {
    match named("THUBAN_TEST_MYSQL") {
        Some(server) => passes(&server).await,
        // Also in CI: no package of it is to be had everywhere.
        None if std::env::var_os("CI").is_some() => (),
        None => skipped("THUBAN_TEST_MYSQL names no MySQL 8 server: MariaDB alone was tested"),
    }
}
