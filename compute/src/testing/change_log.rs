//! The `ChangeLog` port for tests: [`MemoryLog`], [`FaultyLog`] over any log, and the [`suite`](suite::suite) that
//! every log passes.

mod faulty;
pub mod suite;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::limits::{FRAME_BYTES_MAX, FRAME_CHANGES_MAX};
use crate::model::{Entry, Frame, LogGeneration, LogIdentity, Position};
use crate::port::change_log::{AppendError, Bounds, ChangeLog, Found, Life, LogReadError, outlived};

pub use faulty::{AppendFault, FaultyLog, Rates, Stall};

/// A log in memory. Shared by its `Arc` it is one topic for many nodes that never lose it; [`MemoryLog::handle`] gives
/// each its own, as nodes have that may; [`MemoryLog::reopen`] is a restart.
pub struct MemoryLog {
    topic: Arc<watch::Sender<Kept>>,
    followed: Mutex<Followed>,
}

/// Which log a handle is of.
#[derive(Clone, Copy)]
struct Followed {
    life: Life,
    /// Of [`Kept::made`], when it began to.
    made: u64,
}

#[derive(Clone)]
struct Kept {
    /// How often it was made anew.
    made: u64,
    /// Offset of the last frame that was forgotten; 0: none.
    trimmed: u64,
    records: VecDeque<Record>,
}

#[derive(Clone)]
struct Record {
    generation: LogGeneration,
    frame: Arc<Frame>,
    checksum: u64,
}

impl MemoryLog {
    pub fn new(identity: LogIdentity) -> Arc<Self> {
        Self::of_generation(identity, 1)
    }

    pub fn of_generation(identity: LogIdentity, generation: LogGeneration) -> Arc<Self> {
        Self::over(Kept { made: 0, trimmed: 0, records: VecDeque::new() }, (identity, generation))
    }

    fn over(kept: Kept, life: Life) -> Arc<Self> {
        let followed = Mutex::new(Followed { life, made: kept.made });
        Arc::new(Self { topic: Arc::new(watch::Sender::new(kept)), followed })
    }

    /// The same log as a restarted process finds it. Whoever holds the old handle no longer reaches it.
    pub fn reopen(&self) -> Arc<Self> {
        Self::over(self.topic.borrow().clone(), self.followed().life)
    }

    /// Another handle of the same topic, which follows what this one does until it is told otherwise.
    pub fn handle(&self) -> Arc<Self> {
        Arc::new(Self { topic: Arc::clone(&self.topic), followed: Mutex::new(self.followed()) })
    }

    /// Loses the frames behind `upto`, as a log restored from an old copy has.
    pub fn lose_behind(&self, upto: Position) {
        self.topic.send_modify(|kept| {
            let left = upto.offset().saturating_sub(kept.trimmed) as usize;
            kept.records.truncate(left);
        });
    }

    /// The topic is deleted and made anew: whoever follows what was there can't any more.
    pub fn make_anew(&self) {
        self.topic.send_modify(|kept| *kept = Kept { made: kept.made + 1, trimmed: 0, records: VecDeque::new() });
    }

    fn followed(&self) -> Followed {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn followed_mut(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    fn at(&self, offset: u64) -> Position {
        Position::new(self.life.1, offset).expect("a test does not append 2^40 frames")
    }

    fn bounds(&self, kept: &Kept) -> Result<Bounds, LogReadError> {
        if kept.made != self.made {
            return Err(LogReadError::Unusable("it was made anew".into()));
        }
        let at = |offset| if offset == 0 { Position::ZERO } else { self.at(offset) };
        Ok(Bounds { identity: self.life.0, trimmed: at(kept.trimmed), last: at(kept.last()) })
    }

    fn entry(&self, offset: u64, record: &Record) -> Result<Entry, LogReadError> {
        let there = (record.frame.identity, record.generation);
        let frame = match there.1.cmp(&self.life.1) {
            _ if there.0 != self.life.0 => return Err(foreign(offset, there)),
            std::cmp::Ordering::Greater => return Err(foreign(offset, there)),
            std::cmp::Ordering::Equal => Arc::clone(&record.frame),
            std::cmp::Ordering::Less => Arc::new(outlived(&record.frame)),
        };
        Ok(Entry { position: self.at(offset), frame, checksum: record.checksum })
    }

    /// `None`: there is nothing yet.
    fn answer(&self, kept: &Kept, after: Position, max: usize) -> Option<Result<Vec<Entry>, LogReadError>> {
        match self.bounds(kept).and_then(|bounds| bounds.has_behind(after)) {
            Ok(false) => None,
            Ok(true) => {
                let skip = after.offset().saturating_sub(kept.trimmed);
                let records = kept.records.range(skip as usize..).take(max.max(1));
                let offsets = kept.trimmed + skip + 1..;
                Some(offsets.zip(records).map(|(offset, record)| self.entry(offset, record)).collect())
            }
            Err(error) => Some(Err(error)),
        }
    }
}

fn foreign(offset: u64, (log, generation): Life) -> LogReadError {
    LogReadError::Unusable(format!("frame {offset} is of log {log}, generation {generation}"))
}

impl Kept {
    fn last(&self) -> u64 {
        self.trimmed + self.records.len() as u64
    }

    fn push(&mut self, frame: Arc<Frame>, generation: LogGeneration) -> u64 {
        let mut hash = DefaultHasher::new();
        frame.hash(&mut hash);
        self.records.push_back(Record { generation, frame, checksum: hash.finish() });
        self.last()
    }
}

#[async_trait]
impl ChangeLog for MemoryLog {
    async fn bounds(&self) -> Result<Bounds, LogReadError> {
        self.followed().bounds(&self.topic.borrow())
    }

    async fn append(&self, frame: Arc<Frame>) -> Result<Position, AppendError> {
        let followed = self.followed();
        let identity = followed.life.0;
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
        let (mut offset, mut made) = (0, 0);
        self.topic.send_modify(|kept| {
            made = kept.made;
            offset = kept.push(frame, followed.life.1);
        });
        if made != followed.made {
            // A broker takes what is sent to a topic of this name, whatever its sender believes.
            return Err(AppendError::Unknown("it was made anew".into()));
        }
        Ok(followed.at(offset))
    }

    async fn read(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        let mut kept = self.topic.subscribe();
        loop {
            if let Some(answer) = self.followed().answer(&kept.borrow_and_update(), after, max) {
                return answer;
            }
            if kept.changed().await.is_err() {
                return Err(LogReadError::Away("the log was dropped".into()));
            }
        }
    }

    async fn trim(&self, upto: Position) -> Result<(), AppendError> {
        self.topic.send_modify(|kept| {
            while kept.records.len() > 1 && kept.trimmed < upto.offset() {
                kept.records.pop_front();
                kept.trimmed += 1;
            }
        });
        Ok(())
    }

    async fn look(&self) -> Result<Found, LogReadError> {
        let kept = self.topic.borrow();
        let life = |record: &Record| (record.frame.identity, record.generation);
        let lives = kept.records.front().map(life).zip(kept.records.back().map(life));
        Ok(Found { trimmed: kept.trimmed, last: kept.last(), lives })
    }

    async fn follow(&self, life: Life) -> Result<(), LogReadError> {
        let made = self.topic.borrow().made;
        *self.followed_mut() = Followed { life, made };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
