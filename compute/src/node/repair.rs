//! Two nodes have made different things of one log, or the rows are not what a node has: each node makes its state anew
//! aside, from store and log, lets it follow the log beside the state that it has, and shows both in its beacons. What is
//! done then is [`decide`]'s to say; the applier does it ([`applier::repair`](super::applier)).

mod decide;

use std::time::Duration;

use crate::model::{LogState, Position};
use crate::port::change_log::LogReadError;
use crate::port::store::ReadError;
use crate::state::{LoadError, LogBroken, State};

use super::Parts;
pub(super) use decide::{Rebuilt, Seen, Verdict, decide};

/// Frames read at once.
const FRAMES: usize = 1_024;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Store(#[from] ReadError),
    #[error("the rows contradict each other: {0}")]
    Rows(#[from] LoadError),
    #[error("the rows are of another life of the log")]
    Life,
    #[error("the log can't be read: {0}")]
    Log(#[from] LogReadError),
    #[error("the log is broken: {0}")]
    Broken(#[from] LogBroken),
}

/// Makes a state of rows and log, at least as of `target`; tries until it is aborted.
pub(super) async fn rebuild(parts: Parts, life: LogState, target: Position) -> Box<State> {
    loop {
        let rebuilt = match load(&parts, life).await {
            Ok(state) => follow(&parts, state, target).await,
            Err(error) => Err(error),
        };
        match rebuilt {
            Ok(state) => return state,
            Err(error) => tracing::warn!(%error, "the state could not be made anew aside; it is tried again"),
        }
        parts.clock.sleep(PAUSE).await;
    }
}

/// The same, of one that was made and is not so far.
pub(super) async fn go_on(parts: Parts, state: Box<State>, life: LogState, target: Position) -> Box<State> {
    match follow(&parts, state, target).await {
        Ok(state) => state,
        Err(error) => {
            tracing::warn!(%error, "the state that was made anew aside could not follow the log; it is made again");
            rebuild(parts, life, target).await
        }
    }
}

async fn load(parts: &Parts, life: LogState) -> Result<Box<State>, Failed> {
    let loaded = parts.store.load().await?;
    let is_of = |log: LogState| {
        let (landed, there) = (log.watermark.generation(), life.watermark.generation());
        log.identity == life.identity && (landed == there || log.watermark.offset() == 0)
    };
    if !loaded.log.is_some_and(is_of) {
        return Err(Failed::Life);
    }
    Ok(Box::new(State::load(loaded, life.identity)?))
}

async fn follow(parts: &Parts, mut state: Box<State>, target: Position) -> Result<Box<State>, Failed> {
    while state.position() < target {
        for entry in parts.log.read(state.position(), FRAMES).await? {
            state.apply(&entry)?;
        }
    }
    Ok(state)
}
