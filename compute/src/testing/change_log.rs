//! The `ChangeLog` port for tests: [`MemoryLog`], [`FaultyLog`] over any log, and the [`suite`](suite::suite) that
//! every log passes.

mod faulty;
pub mod suite;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::limits::{FRAME_BYTES_MAX, FRAME_CHANGES_MAX};
use crate::model::{Entry, Frame, LogGeneration, LogIdentity, Position};
use crate::port::change_log::{AppendError, Bounds, ChangeLog, LogReadError};

pub use faulty::{AppendFault, FaultyLog, Rates, Stall};

/// A log in memory. Shared by its `Arc` it is one topic for many nodes; [`MemoryLog::reopen`] is a restart.
pub struct MemoryLog(watch::Sender<Kept>);

struct Kept {
    identity: LogIdentity,
    generation: LogGeneration,
    /// Offset of the last frame that was forgotten; 0: none.
    trimmed: u64,
    entries: VecDeque<Entry>,
}

impl MemoryLog {
    pub fn new(identity: LogIdentity) -> Arc<Self> {
        Self::of_generation(identity, 1)
    }

    pub fn of_generation(identity: LogIdentity, generation: LogGeneration) -> Arc<Self> {
        let kept = Kept { identity, generation, trimmed: 0, entries: VecDeque::new() };
        Arc::new(Self(watch::Sender::new(kept)))
    }

    /// The same log as a restarted process finds it. Whoever holds the old handle no longer reaches it.
    pub fn reopen(&self) -> Arc<Self> {
        let kept = self.0.borrow();
        Arc::new(Self(watch::Sender::new(Kept { entries: kept.entries.clone(), ..*kept })))
    }

    /// Loses the frames behind `upto`, as a log restored from an old copy has.
    pub fn lose_behind(&self, upto: Position) {
        self.0.send_modify(|kept| kept.entries.retain(|entry| entry.position <= upto));
    }
}

impl Kept {
    fn at(&self, offset: u64) -> Position {
        Position::new(self.generation, offset).expect("a test does not append 2^40 frames")
    }

    fn bounds(&self) -> Bounds {
        let trimmed = if self.trimmed == 0 { Position::ZERO } else { self.at(self.trimmed) };
        let last = self.entries.back().map_or(trimmed, |entry| entry.position);
        Bounds { identity: self.identity, trimmed, last }
    }

    fn push(&mut self, frame: Arc<Frame>) -> Position {
        let position = self.at(self.trimmed + self.entries.len() as u64 + 1);
        let mut hash = DefaultHasher::new();
        frame.hash(&mut hash);
        self.entries.push_back(Entry { position, frame, checksum: hash.finish() });
        position
    }

    /// `None`: there is nothing yet.
    fn answer(&self, after: Position, max: usize) -> Option<Result<Vec<Entry>, LogReadError>> {
        match self.bounds().has_behind(after) {
            Ok(false) => None,
            Ok(true) => {
                let skip = after.offset().saturating_sub(self.trimmed) as usize;
                Some(Ok(self.entries.range(skip..).take(max.max(1)).cloned().collect()))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

#[async_trait]
impl ChangeLog for MemoryLog {
    async fn bounds(&self) -> Result<Bounds, LogReadError> {
        Ok(self.0.borrow().bounds())
    }

    async fn append(&self, frame: Arc<Frame>) -> Result<Position, AppendError> {
        let identity = self.0.borrow().identity;
        if frame.identity != identity {
            return Err(AppendError::Refused(format!(
                "this log is {identity}, the frame is of log {}",
                frame.identity
            )));
        }
        let (changes, weight) = (frame.changes.len(), frame.weight());
        if changes > FRAME_CHANGES_MAX {
            return Err(AppendError::Refused(format!("a frame of {changes} changes; allowed: {FRAME_CHANGES_MAX}")));
        }
        if weight > FRAME_BYTES_MAX {
            return Err(AppendError::Refused(format!("a frame of {weight} bytes; allowed: {FRAME_BYTES_MAX}")));
        }
        let mut position = Position::ZERO;
        self.0.send_modify(|kept| position = kept.push(frame));
        Ok(position)
    }

    async fn read(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        let mut kept = self.0.subscribe();
        loop {
            if let Some(answer) = kept.borrow_and_update().answer(after, max) {
                return answer;
            }
            if kept.changed().await.is_err() {
                return Err(LogReadError::Away("the log was dropped".into()));
            }
        }
    }

    async fn trim(&self, upto: Position) -> Result<(), AppendError> {
        self.0.send_modify(|kept| {
            while kept.entries.len() > 1 && kept.entries[0].position <= upto {
                kept.entries.pop_front();
                kept.trimmed += 1;
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
