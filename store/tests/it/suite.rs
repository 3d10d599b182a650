use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use compute::testing::store::{Stores, pass};
use store::sqlite::{SqliteStore, open};

use crate::place::Place;

/// Stores in files, each in a folder that lasts as long as this.
#[derive(Default)]
struct Files(Mutex<Vec<(Place, Arc<SqliteStore>)>>);

#[async_trait]
impl Stores for Files {
    type Store = SqliteStore;

    async fn fresh(&self) -> Arc<SqliteStore> {
        let place = Place::new();
        let store = place.open().await;
        self.0.lock().unwrap().push((place, store.clone()));
        store
    }

    async fn reopened(&self, store: Arc<SqliteStore>) -> Option<Arc<SqliteStore>> {
        let (place, held) = {
            let mut all = self.0.lock().unwrap();
            let found = all.iter().position(|(_, held)| Arc::ptr_eq(held, &store)).unwrap();
            all.swap_remove(found)
        };
        // Not closed: a process that is killed does not close either.
        drop((held, store));
        let store = open(&place.file()).await.unwrap();
        self.0.lock().unwrap().push((place, store.clone()));
        Some(store)
    }
}

#[tokio::test]
async fn sqlite_passes_the_suite_on_one_thread() {
    pass(&Files::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_passes_the_suite_on_many_threads() {
    pass(&Files::default()).await;
}
