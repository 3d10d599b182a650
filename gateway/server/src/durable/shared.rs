//! A log that several nodes share: which one it is, and whose.
//!
//! The store says which log is its own. Where it does not know one yet, the first node that asks gives it a name, and
//! the others wait for that; what is in the topic must be of that name.

use std::sync::Arc;

use cache_sync::kafka::{Config as Topic, Connected, KafkaLog, OpenError};
use compute::model::{LogGeneration, LogIdentity, LogState};
use compute::port::PresenceStore;
use compute::port::store::LandError;

use super::{RETRY, Surroundings, first_generation, mark, raised, refused};
use crate::config::Config;
use crate::ending::Ending;

const LOST: &str = "put the log back from where it is; if it is lost for good, stop all nodes, and start one of them \
                    once with --adopt-store: it goes on from what has landed in the store, and what had not landed is \
                    lost";

pub(super) async fn open(
    topic: &Topic,
    store: &dyn PresenceStore,
    bound: Option<LogState>,
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<Arc<KafkaLog>, Ending> {
    loop {
        let connected = connect(topic, around).await?;
        let opened = match bound.filter(|_| config.adopt_store) {
            Some(lost) => take_place(connected, lost, around).await?,
            None => bind(connected, store, bound, config, around).await?,
        };
        match opened {
            Ok(log) => return Ok(log),
            Err(error) => wait_or_end(error, around).await?,
        }
    }
}

async fn connect(topic: &Topic, around: &Surroundings<'_>) -> Result<Connected, Ending> {
    loop {
        match KafkaLog::connect(topic, Arc::clone(around.clock)).await {
            Ok(connected) => return Ok(connected),
            Err(error) => wait_or_end(error, around).await?,
        }
    }
}

async fn wait_or_end(error: OpenError, around: &Surroundings<'_>) -> Result<(), Ending> {
    match error {
        OpenError::Away { .. } => {
            tracing::warn!(%error, "the log does not answer, trying again");
            around.stage.enter("waiting for the log to answer");
            around.clock.sleep(RETRY).await;
            Ok(())
        }
        OpenError::OtherLog { .. } | OpenError::TwoLogs { .. } | OpenError::NotALog { .. } => {
            Err(refused(format!("{error}; {LOST}")))
        }
        other => Err(refused(other)),
    }
}

/// The log that the store knows, or that it is told of now.
async fn bind(
    connected: Connected,
    store: &dyn PresenceStore,
    bound: Option<LogState>,
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<Result<Arc<KafkaLog>, OpenError>, Ending> {
    let found = connected.found();
    let (identity, generation) = match (bound, found) {
        (Some(log), Some((identity, generation))) if identity == log.identity => (identity, generation),
        (Some(log), None) if log.watermark.offset() == 0 => (log.identity, generation_of(log)),
        (Some(log), None) => {
            let landed = log.watermark;
            return Err(refused(format!(
                "the store has landed {landed} of log {}, and the topic is empty; {LOST}",
                log.identity
            )));
        }
        (Some(log), Some((there, _))) => {
            return Err(refused(format!(
                "the store belongs to log {}, and the topic is log {there}; {LOST}",
                log.identity
            )));
        }
        (None, Some((there, _))) if !connected.starts_at_zero() => {
            return Err(refused(format!(
                "the store is empty, and log {there} in the topic no longer has its beginning: what was landed is \
                 missing; restore the store, or name an empty topic"
            )));
        }
        (None, Some(found)) => found,
        (None, None) => {
            let identity = name(store, config, around).await?;
            (identity, generation_from(identity))
        }
    };
    Ok(connected.bind(identity, generation).await)
}

/// Gives the log of an empty store its name, or finds the one that another node has given it a moment ago.
async fn name(store: &dyn PresenceStore, config: &Config, around: &Surroundings<'_>) -> Result<LogIdentity, Ending> {
    let identity = LogIdentity(around.chance.bytes());
    loop {
        match store.lead(identity).await {
            Ok(_) => return Ok(identity),
            Err(LandError::Unknown(why)) => {
                tracing::warn!(why, "it is not known whether the store took the log's name, trying again");
                around.clock.sleep(RETRY).await;
            }
            Err(error) => {
                let Some(log) = mark(store, config, around).await? else { return Err(refused(error)) };
                return Ok(log.identity);
            }
        }
    }
}

/// A log that takes the place of a lost one: what is left of that in the topic goes, unless it is not lost.
async fn take_place(
    mut connected: Connected,
    lost: LogState,
    around: &Surroundings<'_>,
) -> Result<Result<Arc<KafkaLog>, OpenError>, Ending> {
    if let Some((found, generation)) = connected.found().filter(|(found, _)| *found == lost.identity) {
        return Ok(connected.bind(found, generation).await);
    }
    let generation = raised(lost)?;
    if let Err(error) = connected.empty().await {
        return Ok(Err(error));
    }
    Ok(connected.bind(LogIdentity(around.chance.bytes()), generation).await)
}

/// Of a log that has no frame yet.
fn generation_of(log: LogState) -> LogGeneration {
    match log.watermark.generation() {
        0 => generation_from(log.identity),
        raised => raised,
    }
}

/// All nodes that know a log's name know its first generation.
fn generation_from(identity: LogIdentity) -> LogGeneration {
    let mut half = [0; 8];
    half.copy_from_slice(&identity.0[..8]);
    first_generation(u64::from_le_bytes(half))
}
