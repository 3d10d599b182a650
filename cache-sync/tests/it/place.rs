//! A directory with logs in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_sync::local::{Choice, Config, LocalLog, OpenError};
use compute::model::{Entry, LogIdentity, Position};
use compute::port::ChangeLog;
use compute::port::change_log::{AppendError, LogReadError};
use compute::port::clock::SystemClock;
use compute::testing::SeededChance;
use compute::testing::change_log::suite::{Site, frame};
use tempfile::TempDir;

/// Logs in a directory of their own, opened with one configuration.
pub(crate) struct Place {
    directory: PathBuf,
    /// Removed with this, if it was made for it.
    _made: Option<TempDir>,
    chance: Arc<SeededChance>,
    edit: fn(&mut Config),
    open: Mutex<HashMap<String, Arc<LocalLog>>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(edit: fn(&mut Config)) -> Self {
        let made = tempfile::tempdir().unwrap();
        let place = Self::in_directory(made.path());
        Self { _made: Some(made), edit, ..place }
    }

    pub(crate) fn in_directory(directory: &Path) -> Self {
        let (chance, open) = (SeededChance::new(1), Mutex::default());
        Self { directory: directory.to_owned(), _made: None, chance, edit: |_| {}, open }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.db"))
    }

    pub(crate) fn config(&self, name: &str) -> Config {
        let mut config = Config::at(self.path(name));
        (self.edit)(&mut config);
        config
    }

    pub(crate) async fn log(&self, name: &str) -> Result<Arc<LocalLog>, OpenError> {
        let choice = Choice::OpenOrCreate { generation: 1, chance: &*self.chance };
        LocalLog::open(&self.config(name), choice, SystemClock::new()).await
    }

    pub(crate) async fn existing(&self, name: &str, identity: LogIdentity) -> Result<Arc<LocalLog>, OpenError> {
        LocalLog::open(&self.config(name), Choice::Existing(identity), SystemClock::new()).await
    }
}

#[async_trait]
impl Site for Place {
    async fn open(&self, name: &str) -> Arc<dyn ChangeLog> {
        let log = self.log(name).await.unwrap();
        self.open.lock().unwrap().insert(name.to_owned(), Arc::clone(&log));
        log
    }

    async fn close(&self, name: &str) {
        let log = self.open.lock().unwrap().remove(name).unwrap();
        log.close().await;
    }
}

/// Appends frames of these seeds, one after the other.
pub(crate) async fn append(log: &Arc<impl ChangeLog>, seeds: impl IntoIterator<Item = u64>) -> Vec<Position> {
    let identity = log.bounds().await.unwrap().identity;
    let mut positions = Vec::new();
    for seed in seeds {
        positions.push(log.append(frame(identity, seed)).await.unwrap());
    }
    positions
}

/// Everything that is kept behind `after`.
pub(crate) async fn read_all(log: &Arc<impl ChangeLog>, mut after: Position) -> Vec<Entry> {
    let last = log.bounds().await.unwrap().last;
    let mut entries = Vec::new();
    while after < last {
        entries.extend(log.read(after, 1_000).await.unwrap());
        after = entries.last().unwrap().position;
    }
    entries
}

/// What a closed log says: to who waited behind its `end` when it was closed, and to who comes later.
pub(crate) async fn says_that_it_is_closed(
    log: &Arc<impl ChangeLog>,
    waited: impl Future<Output = Result<Vec<Entry>, LogReadError>>,
    identity: LogIdentity,
    end: Position,
) {
    for error in [waited.await.unwrap_err(), log.bounds().await.unwrap_err()] {
        assert!(matches!(&error, LogReadError::Away(why) if why.contains("closed")), "{error}");
    }
    let error = log.append(frame(identity, 3)).await.unwrap_err();
    assert!(matches!(&error, AppendError::Refused(why) if why.contains("closed")), "{error}");
    let error = log.trim(end).await.unwrap_err();
    assert!(matches!(&error, AppendError::Refused(_)), "{error}");
}

/// Asks until it is so, a minute at most.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked)
        .await
        .unwrap_or_else(|_| panic!("not within a minute: {what}"));
}

pub(crate) fn wal(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}
