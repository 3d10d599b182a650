//! The embedded store and log, and the node that stands on them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cache_sync::local::{self, Choice, LocalLog};
use compute::node::{self, Node, Parts, StartError};
use compute::port::change_log::LogReadError;
use compute::port::store::{LandError, ReadError};
use compute::port::{Chance, Clock, PresenceStore};
use gateway::probe::NetProber;
use store::sqlite::SqliteStore;

use crate::config::Config;
use crate::doors::Stage;
use crate::ending::Ending;

/// Between two tries to boot, while store or log are away.
const RETRY: Duration = Duration::from_secs(1);
/// The generation of a log that begins now.
const GENERATION_FIRST: u8 = 1;

pub(crate) struct Durable {
    store: Arc<SqliteStore>,
    log: Arc<LocalLog>,
}

impl Durable {
    /// Opens both files, or makes them. A store that knows a log opens only that one.
    pub(crate) async fn open(
        config: &Config,
        clock: &Arc<dyn Clock>,
        chance: &dyn Chance,
        stage: &Stage,
    ) -> Result<Self, Ending> {
        stage.enter("opening the store");
        let store = store::sqlite::open(&config.store).await.map_err(refused)?;
        let bound = store.mark().await.map_err(|error| Ending::Durable(in_file(&config.store, error)))?;
        stage.enter("opening the log");
        let choice = match bound {
            Some((_, log)) => Choice::Existing(log.identity),
            None => Choice::OpenOrCreate { generation: GENERATION_FIRST, chance },
        };
        let log = LocalLog::open(&local::Config::at(&config.log), choice, Arc::clone(clock)).await.map_err(refused)?;
        Ok(Self { store, log })
    }

    /// Boots the node; tries again for as long as what it stands on is only away.
    pub(crate) async fn start(
        &self,
        config: &Config,
        clock: &Arc<dyn Clock>,
        chance: &Arc<dyn Chance>,
        stage: &Stage,
    ) -> Result<Node, Ending> {
        let parts = Parts {
            store: self.store.clone(),
            log: self.log.clone(),
            clock: Arc::clone(clock),
            chance: Arc::clone(chance),
            prober: Arc::new(NetProber::new(config.check_allow.clone())),
            journal: None,
        };
        loop {
            stage.enter("loading the store and replaying the log");
            match node::start(parts.clone(), config.node.clone()).await {
                Ok(node) => return Ok(node),
                Err(error) if is_away(&error) => {
                    tracing::warn!(%error, "not started, trying again");
                    stage.enter("waiting for the store or the log to answer");
                    clock.sleep(RETRY).await;
                }
                Err(error) => return Err(Ending::Durable(error.to_string())),
            }
        }
    }

    /// Writes what was handed over, and lets go of the files.
    pub(crate) async fn close(&self) {
        self.log.close().await;
        self.store.close().await;
    }
}

fn is_away(error: &StartError) -> bool {
    matches!(
        error,
        StartError::Store(ReadError::Away(_))
            | StartError::Log(LogReadError::Away(_))
            | StartError::Land(LandError::Unknown(_))
    )
}

fn refused(error: impl std::fmt::Display) -> Ending {
    Ending::Durable(error.to_string())
}

fn in_file(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
