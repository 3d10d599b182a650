use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use compute::model::LogIdentity;
use compute::port::ChangeLog;
use compute::testing::change_log::MemoryLog;
use compute::testing::change_log::suite::{Site, suite};

use crate::place::Place;

#[derive(Default)]
struct Memory(Mutex<HashMap<String, Arc<MemoryLog>>>);

#[async_trait]
impl Site for Memory {
    async fn open(&self, name: &str) -> Arc<dyn ChangeLog> {
        let mut logs = self.0.lock().unwrap();
        let made = LogIdentity([logs.len() as u8 + 1; 16]);
        Arc::clone(logs.entry(name.to_owned()).or_insert_with(|| MemoryLog::new(made))) as Arc<dyn ChangeLog>
    }

    async fn close(&self, name: &str) {
        let mut logs = self.0.lock().unwrap();
        let reopened = logs[name].reopen();
        logs.insert(name.to_owned(), reopened);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_passes() {
    suite(&Memory::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_passes() {
    suite(&Place::new()).await.unwrap();
}

/// Nearly every read comes from the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_passes_without_a_tail() {
    suite(&Place::with(|config| config.tail_bytes_max = 0)).await.unwrap();
}

#[tokio::test]
async fn local_passes_on_one_thread() {
    suite(&Place::new()).await.unwrap();
}
