//! The embedded store and log, and the node that stands on them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cache_sync::local::{self, Choice, LocalLog, OpenError};
use compute::model::{GENERATIONS_FIRST, LogGeneration};
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
/// What to do about a log that can't be had any more. Only somebody who knows that can say so: what was acknowledged
/// and had not landed goes with it.
const LOST: &str = "put the node's log back from where it is; if it is lost for good, move what is left of it (with its \
                    -wal file) away and start once with --adopt-store: the node goes on from what has landed in the \
                    store, with a new log, and what had not landed is lost";

pub(crate) struct Durable {
    store: Arc<SqliteStore>,
    log: Arc<LocalLog>,
}

impl Durable {
    /// Opens both files, or makes them. A store that knows a log opens only that one, unless it was said to be lost.
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
            Some((_, log)) if config.adopt_store => {
                let generation = node::raised(log.watermark);
                let generation = generation.ok_or_else(|| refused("too many logs were lost: no generation is left"))?;
                Choice::OpenOrCreate { generation, chance }
            }
            Some((_, log)) => Choice::Existing(log.identity),
            None => Choice::OpenOrCreate { generation: first_generation(chance), chance },
        };
        let log = LocalLog::open(&local::Config::at(&config.log), choice, Arc::clone(clock)).await;
        let log = log.map_err(|error| unopened(&error))?;
        let durable = Self { store, log };
        if config.adopt_store
            && let Err(ending) = durable.adopt().await
        {
            durable.close().await;
            return Err(ending);
        }
        Ok(durable)
    }

    /// Binds the store to a log that took the place of a lost one.
    async fn adopt(&self) -> Result<(), Ending> {
        let generation = self.log.generation();
        if !node::adopt(&*self.store, &*self.log, generation).await.map_err(|error| unstarted(&error))? {
            tracing::warn!("the change log is not lost: --adopt-store does nothing, and is best left out");
        }
        Ok(())
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
            peers: None,
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
                Err(error) => return Err(unstarted(&error)),
            }
        }
    }

    /// Writes what was handed over, and lets go of the files.
    pub(crate) async fn close(&self) {
        self.log.close().await;
        self.store.close().await;
    }
}

/// The generation of a log that begins now: another one, as a rule, than that of a log which was here before.
fn first_generation(chance: &dyn Chance) -> LogGeneration {
    let (first, last) = GENERATIONS_FIRST.into_inner();
    let above = chance.below(u64::from(last - first) + 1);
    LogGeneration::try_from(above).map_or(first, |above| first + above)
}

fn is_away(error: &StartError) -> bool {
    matches!(
        error,
        StartError::Store(ReadError::Away(_))
            | StartError::Log(LogReadError::Away(_))
            | StartError::Land(LandError::Unknown(_))
    )
}

/// With what to do, where the log is at fault.
fn unstarted(error: &StartError) -> Ending {
    let is_lost = matches!(
        error,
        StartError::LogLost { .. }
            | StartError::Broken(_)
            | StartError::Unpaired { .. }
            | StartError::Log(LogReadError::Unusable(_) | LogReadError::Trimmed { .. })
    );
    Ending::Durable(if is_lost { format!("{error}; {LOST}") } else { error.to_string() })
}

fn unopened(error: &OpenError) -> Ending {
    let is_lost = match error {
        OpenError::NotALog { .. }
        | OpenError::Corrupt { .. }
        | OpenError::Missing { .. }
        | OpenError::OtherLog { .. } => true,
        OpenError::InUse { .. } | OpenError::NewerSchema { .. } | OpenError::Full { .. } | OpenError::Io { .. } => {
            false
        }
    };
    Ending::Durable(if is_lost { format!("{error}; {LOST}") } else { error.to_string() })
}

fn refused(error: impl std::fmt::Display) -> Ending {
    Ending::Durable(error.to_string())
}

fn in_file(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests;
