//! From rows and log to a state: load one consistent snapshot, replay the log to its end, and only then be ready.

use crate::model::{LogGeneration, LogIdentity, Position};
use crate::port::change_log::{Bounds, LogReadError};
use crate::port::store::{Epoch, LandError, Loaded, ReadError};
use crate::state::{LoadError, LogBroken, State};

use super::{Parts, recovery};

/// Frames read at once while replaying.
const REPLAY_FRAMES: usize = 1_024;

/// Why a node can't start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the store can't be loaded: {0}")]
    Store(#[from] ReadError),
    #[error("the store does not let this node land: {0}")]
    Land(#[from] LandError),
    #[error("the change log can't be read: {0}")]
    Log(#[from] LogReadError),
    #[error("the rows in the store contradict each other: {0}; restore the store from a backup")]
    Rows(#[from] LoadError),
    #[error("the change log is broken: {0}")]
    Broken(#[from] LogBroken),
    #[error(
        "the store belongs to log {store} and the log is {log}: they are not a pair; point --store and --log at files of one node"
    )]
    Unpaired { store: crate::model::LogIdentity, log: crate::model::LogIdentity },
    #[error("the store has landed {landed} and the log ends at {last}: the log has lost its end")]
    LogLost { landed: Position, last: Position },
    #[error(
        "the store is empty, and log {log} in the topic no longer has its beginning: what had landed is missing; restore \
         the store from a backup, or name an empty topic"
    )]
    Headless { log: crate::model::LogIdentity },
    #[error(
        "the log is of generation {log} and the store only of generation {store}: the store is an old copy; restore it \
         from a newer one"
    )]
    Later { log: LogGeneration, store: LogGeneration },
    #[error("too many logs were lost: no generation is left")]
    Generations,
    #[error("the store was emptied while the node started")]
    Wiped,
    #[error("the node stops")]
    Stopped,
    #[error(
        "the log starts behind {trimmed} and the store has landed only {landed}: what is between is lost; restore the store from a backup"
    )]
    StoreLost { landed: Position, trimmed: Position },
}

pub(super) struct Booted {
    pub(super) state: State,
    /// `None`: another node may be landing; the one whose turn it is takes the role once it runs.
    pub(super) epoch: Option<Epoch>,
    /// What the store has; the rest of the state waits to be landed.
    pub(super) landed: Position,
    pub(super) trimmed: Position,
}

pub(super) async fn boot(parts: &Parts) -> Result<Booted, StartError> {
    if parts.peers.is_some() {
        return recovery::boot(parts).await;
    }
    let Parts { store, log, .. } = parts;
    let identity = log.bounds().await?.identity;
    let loaded = store.load().await?;
    if let Some(bound) = loaded.log
        && bound.identity != identity
    {
        return Err(StartError::Unpaired { store: bound.identity, log: identity });
    }
    let epoch = store.lead(identity).await?;
    replay(parts, loaded, identity, Some(epoch)).await
}

/// What was loaded, and what the log has behind it.
pub(super) async fn replay(
    parts: &Parts,
    loaded: Loaded,
    identity: LogIdentity,
    epoch: Option<Epoch>,
) -> Result<Booted, StartError> {
    let Parts { log, clock, .. } = parts;
    let started = clock.mono_ms();
    let landed = loaded.log.map_or(Position::ZERO, |log| log.watermark);
    tracing::info!(rows = loaded.rows.len(), watermark = %landed, "loaded the store");
    let mut state = State::load(loaded, identity)?;
    if let Some(journal) = &parts.journal {
        journal.begun(identity, state.position());
    }
    // The end as it is after the load: whatever was acknowledged before this node answers is in it.
    let bounds = log.bounds().await?;
    let bounds = Bounds { trimmed: counted(bounds.trimmed), last: counted(bounds.last), ..bounds };
    // A log that took a lost one's place may have no frame yet: the watermark is where it begins.
    if bounds.last < landed && landed.offset() > 0 {
        return Err(StartError::LogLost { landed, last: bounds.last });
    }
    if bounds.trimmed > landed {
        return Err(StartError::StoreLost { landed, trimmed: bounds.trimmed });
    }
    let mut frames = 0;
    while state.position() < bounds.last {
        for entry in log.read(state.position(), REPLAY_FRAMES).await? {
            let applied = state.apply(&entry)?;
            if let Some(journal) = &parts.journal {
                journal.record(&entry, &applied.verdicts);
            }
            frames += 1;
        }
    }
    let (instances, ms) = (state.instance_count(), clock.mono_ms() - started);
    metrics::gauge!("thuban_boot_seconds").set(ms as f64 / 1000.0);
    tracing::info!(frames, instances, position = %state.position(), ms, "replayed the log");
    Ok(Booted { state, epoch, landed, trimmed: bounds.trimmed })
}

/// Before its first frame a log may name its generation already; for the state that is nothing yet.
fn counted(position: Position) -> Position {
    if position.offset() == 0 { Position::ZERO } else { position }
}
