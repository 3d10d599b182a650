//! Store and log, embedded or shared, and the node that stands on them.

mod copy;
mod shared;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cache_sync::journal::FileJournal;
use cache_sync::kafka::KafkaTopic;
use cache_sync::local::{self, Choice, LocalLog, OpenError};
use compute::model::{LogGeneration, LogState};
use compute::node::{self, Node, Parts, StartError};
use compute::port::change_log::LogReadError;
use compute::port::store::{LandError, ReadError};
use compute::port::{Chance, ChangeLog, Clock, Journal, Peers, PresenceStore};
use gateway::probe::NetProber;
use store::mysql::MysqlStore;
use store::sqlite::SqliteStore;

use crate::config::{self, Config};
use crate::doors::Stage;
use crate::ending::Ending;
use crate::meanwhile::Meanwhile;

/// Between two tries to boot, while store or log are away.
const RETRY: Duration = Duration::from_secs(1);
/// What to do about a log that can't be had any more. Only somebody who knows that can say so: what was acknowledged
/// and had not landed goes with it.
const LOST: &str = "put the node's log back from where it is; if it is lost for good, move what is left of it (with its \
                    -wal file) away and start once with --adopt-store: the node goes on from what has landed in the \
                    store, with a new log, and what had not landed is lost";

const NOT_LOST: &str = "the change log is not lost: --adopt-store does nothing, and is best left out";

/// Where presence lands.
enum Store {
    Sqlite(Arc<SqliteStore>),
    Mysql(Arc<MysqlStore>),
}

/// The change log.
enum Log {
    Local(Arc<LocalLog>),
    Kafka(Arc<KafkaTopic>),
}

pub(crate) struct Durable {
    store: Store,
    log: Log,
    /// This node's own copy of a store that it shares.
    copy: Option<Arc<SqliteStore>>,
    /// Where decisions are written down.
    journal: Option<Arc<FileJournal>>,
}

impl Store {
    fn port(&self) -> Arc<dyn PresenceStore> {
        match self {
            Self::Sqlite(store) => store.clone(),
            Self::Mysql(store) => store.clone(),
        }
    }

    /// A server that is away is waited for by whoever asks something of it.
    async fn open(config: &Config) -> Result<Self, Ending> {
        match &config.store {
            config::Store::Sqlite(path) => Ok(Self::Sqlite(store::sqlite::open(path).await.map_err(refused)?)),
            config::Store::Mysql(settings) => Ok(Self::Mysql(store::mysql::open_later(settings))),
        }
    }

    async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Mysql(store) => store.close().await,
        }
    }
}

impl Log {
    fn port(&self) -> Arc<dyn ChangeLog> {
        match self {
            Self::Local(log) => log.clone(),
            Self::Kafka(log) => log.clone(),
        }
    }

    async fn close(&self) {
        match self {
            Self::Local(log) => log.close().await,
            Self::Kafka(log) => log.close().await,
        }
    }
}

/// What a node needs beside its store and its log.
pub(crate) struct Surroundings<'a> {
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) chance: &'a Arc<dyn Chance>,
    pub(crate) stage: &'a Stage,
    /// The way to the other nodes, where there are any.
    pub(crate) peers: Option<Arc<dyn Peers>>,
    /// What is answered while the log is away; `None`: nothing.
    pub(crate) meanwhile: Option<Meanwhile<'a>>,
}

impl Surroundings<'_> {
    /// The node can't start. Those who read may be answered nevertheless.
    async fn log_is_away(&self, store: &Store, copy: &Option<Arc<SqliteStore>>) {
        if let Some(meanwhile) = &self.meanwhile {
            let copy = copy.clone().map(|copy| copy as Arc<dyn PresenceStore>);
            meanwhile.log_is_away(store.port(), copy).await;
        }
    }
}

impl Durable {
    /// Opens both, or makes them. A store that knows a log opens only that one, unless it was said to be lost.
    pub(crate) async fn open(config: &Config, around: &Surroundings<'_>) -> Result<Self, Ending> {
        let journal = config.decision_journal.as_ref().map(FileJournal::open).transpose()?;
        around.stage.enter("opening the store");
        let store = Store::open(config).await?;
        let copy = match &config.log {
            config::Log::Kafka(_) => copy::open(&config.data_dir).await,
            config::Log::Local(_) => None,
        };
        let log = match &config.log {
            config::Log::Local(path) => {
                let bound = mark(&*store.port(), config, around).await?;
                around.stage.enter("opening the log");
                Log::Local(open_local(path, bound, config, around).await?)
            }
            config::Log::Kafka(topic) => {
                // A node that has a copy of its own does not wait for the store; somebody's word is about the store.
                if config.adopt_store {
                    mark(&*store.port(), config, around).await?;
                }
                around.stage.enter("opening the log");
                Log::Kafka(shared::open(topic, config.adopt_store, (&store, &copy), around).await?)
            }
        };
        let durable = Self { store, log, copy, journal };
        if config.adopt_store
            && let Err(ending) = durable.adopt().await
        {
            durable.close().await;
            return Err(ending);
        }
        Ok(durable)
    }

    /// Binds the store to a log that took the place of a lost one, where a process has that to itself. Where several
    /// share it, the node sees to it when it boots.
    async fn adopt(&self) -> Result<(), Ending> {
        let Log::Local(log) = &self.log else { return Ok(()) };
        let adopted = node::adopt(&*self.store.port(), &**log, log.generation()).await;
        if !adopted.map_err(|error| self.unstarted(&error))? {
            tracing::warn!(NOT_LOST);
        }
        Ok(())
    }

    /// Boots the node; tries again for as long as what it stands on is only away.
    pub(crate) async fn start(&self, config: &Config, around: &Surroundings<'_>) -> Result<Node, Ending> {
        let parts = Parts {
            store: self.store.port(),
            snapshot: self.copy.clone().map(|copy| copy as Arc<dyn PresenceStore>),
            log: self.log.port(),
            clock: Arc::clone(around.clock),
            chance: Arc::clone(around.chance),
            prober: Arc::new(NetProber::new(config.check_allow.clone())),
            peers: around.peers.clone(),
            journal: self.journal.clone().map(|journal| journal as Arc<dyn Journal>),
        };
        // The topic that somebody has said to be lost, until it is known whether it is.
        let mut adopted = match &self.log {
            Log::Kafka(topic) if config.adopt_store => Some(topic),
            _ => None,
        };
        let mut is_topic_lost = false;
        loop {
            if is_topic_lost {
                match node::begin_next_life(&parts).await {
                    Ok(()) => is_topic_lost = false,
                    Err(error) if is_away(&error) => {
                        tracing::warn!(%error, "the next life of the log could not be begun, trying again");
                        around.clock.sleep(RETRY).await;
                        continue;
                    }
                    Err(error) => return Err(self.unstarted(&error)),
                }
            }
            around.stage.enter("loading the store and replaying the log");
            match node::start(parts.clone(), config.node.clone()).await {
                Ok(node) => {
                    if adopted.is_some() {
                        tracing::warn!(NOT_LOST);
                    }
                    return Ok(node);
                }
                Err(error)
                    if is_log_lost(&error)
                        && let Some(topic) = adopted.take() =>
                {
                    tracing::warn!(%error, "the topic is emptied, for --adopt-store says that its log is lost");
                    shared::empty(topic, around).await?;
                    is_topic_lost = true;
                }
                Err(error) if is_away(&error) => {
                    tracing::warn!(%error, "not started, trying again");
                    if matches!(error, StartError::Log(_)) {
                        around.log_is_away(&self.store, &self.copy).await;
                    }
                    around.stage.enter("waiting for the store or the log to answer");
                    around.clock.sleep(RETRY).await;
                }
                Err(error) => return Err(self.unstarted(&error)),
            }
        }
    }

    /// With what to do, where the log is at fault.
    fn unstarted(&self, error: &StartError) -> Ending {
        let lost = match &self.log {
            Log::Local(_) => LOST,
            Log::Kafka(_) => shared::LOST,
        };
        Ending::Durable(if is_log_lost(error) { format!("{error}; {lost}") } else { error.to_string() })
    }

    /// Writes what was handed over, and lets go of store and log.
    pub(crate) async fn close(&self) {
        self.log.close().await;
        self.store.close().await;
        if let Some(copy) = &self.copy {
            copy.close().await;
        }
        if let Some(journal) = &self.journal {
            journal.close().await;
        }
    }
}

/// Which log the store knows, once it answers.
async fn mark(
    store: &dyn PresenceStore,
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<Option<LogState>, Ending> {
    loop {
        match store.mark().await {
            Ok(mark) => return Ok(mark.map(|(_, log)| log)),
            Err(ReadError::Away(why)) => {
                tracing::warn!(why, "the store does not answer, trying again");
                around.stage.enter("waiting for the store to answer");
                around.clock.sleep(RETRY).await;
            }
            Err(error) => return Err(Ending::Durable(format!("{}: {error}", config.store))),
        }
    }
}

async fn open_local(
    path: &Path,
    bound: Option<LogState>,
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<Arc<LocalLog>, Ending> {
    let chance = around.chance.as_ref();
    let choice = match bound {
        Some(log) if config.adopt_store => Choice::OpenOrCreate { generation: raised(log)?, chance },
        Some(log) => Choice::Existing(log.identity),
        None => Choice::OpenOrCreate { generation: node::first_generation(chance.number()), chance },
    };
    let log = LocalLog::open(&local::Config::at(path), choice, Arc::clone(around.clock)).await;
    log.map_err(|error| unopened(&error))
}

/// Of a log in place of one that is lost.
fn raised(lost: LogState) -> Result<LogGeneration, Ending> {
    node::raised(lost.watermark).ok_or_else(|| refused("too many logs were lost: no generation is left"))
}

/// Whether nothing can be done with the log any more.
fn is_log_lost(error: &StartError) -> bool {
    matches!(
        error,
        StartError::LogLost { .. }
            | StartError::Broken(_)
            | StartError::Unpaired { .. }
            | StartError::Log(LogReadError::Unusable(_) | LogReadError::Trimmed { .. })
    )
}

fn is_away(error: &StartError) -> bool {
    matches!(
        error,
        StartError::Store(ReadError::Away(_))
            | StartError::Log(LogReadError::Away(_))
            | StartError::Land(LandError::Unknown(_))
    )
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
