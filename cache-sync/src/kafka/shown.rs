//! What readers are shown: where the log begins and ends, its most recent frames, and what is wrong with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compute::model::{Entry, LogGeneration, LogIdentity, Position};
use compute::port::change_log::{Bounds, LogReadError};
use tokio::sync::watch;

use crate::tail::Tail;

/// Own appends whose record the follower has not come to yet, that are remembered.
const ACKNOWLEDGED_MAX: usize = 4_096;

pub(super) struct Shown {
    pub(super) identity: LogIdentity,
    pub(super) generation: LogGeneration,
    tail_bytes_max: usize,
    state: watch::Sender<State>,
    recent: Mutex<Recent>,
}

/// Offsets are the log's, which count from 1.
#[derive(Clone, Debug)]
struct State {
    /// Last one that was forgotten.
    trimmed: u64,
    /// Last one that the follower has come to.
    seen: u64,
    /// Last one that is known to be there.
    known: u64,
    is_caught_up: bool,
    trouble: Option<Trouble>,
}

/// Why nothing more is to be had from this log.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    Unusable(String),
    Closed,
}

#[derive(Default)]
struct Recent {
    tail: Tail,
    /// Offset and checksum of the first frame that was shown.
    first: Option<(u64, u64)>,
    /// Offset and checksum of own appends.
    acknowledged: BTreeMap<u64, u64>,
}

/// What there is for a reader.
pub(super) enum Look {
    Entries(Vec<Entry>),
    /// Before what is in memory.
    Older,
    /// Behind all that is known.
    Beyond,
    /// There is nothing yet, or it is on its way.
    Nothing,
}

impl Trouble {
    fn why(&self) -> &str {
        match self {
            Self::Unusable(why) => why,
            Self::Closed => "the log is closed",
        }
    }

    pub(super) fn error(&self) -> LogReadError {
        match self {
            Self::Unusable(why) => LogReadError::Unusable(why.clone()),
            Self::Closed => LogReadError::Away(self.why().into()),
        }
    }
}

impl Shown {
    /// Of a topic whose first record is at `low` and whose next one will be at `high`.
    pub(super) fn new(
        identity: LogIdentity,
        generation: LogGeneration,
        (low, high): (u64, u64),
        tail_bytes_max: usize,
    ) -> Self {
        let seen = follow_from((low, high));
        let state = State { trimmed: low, seen, known: high, is_caught_up: false, trouble: None };
        Self { identity, generation, tail_bytes_max, state: watch::Sender::new(state), recent: Mutex::default() }
    }

    pub(super) fn position(&self, offset: u64) -> Option<Position> {
        Position::new(self.generation, offset)
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.state.borrow().trouble.clone()
    }

    /// What keeps the log from taking more.
    pub(super) fn refusal(&self) -> Option<String> {
        self.state.borrow().trouble.as_ref().map(|trouble| trouble.why().to_owned())
    }

    /// The first word stands: what was found wrong is not explained away by what follows from it.
    pub(super) fn set_unusable(&self, why: String) {
        let is_news = self.state.send_if_modified(|state| {
            let is_news = state.trouble.is_none();
            if is_news {
                state.trouble = Some(Trouble::Unusable(why.clone()));
            }
            is_news
        });
        if is_news {
            tracing::error!(log = %self.identity, generation = self.generation, why, "the change log is unusable");
        }
    }

    pub(super) fn set_closed(&self) {
        self.state.send_modify(|state| state.trouble = Some(Trouble::Closed));
    }

    /// Last offset that is known to be there.
    pub(super) fn known(&self) -> u64 {
        self.state.borrow().known
    }

    pub(super) fn trimmed(&self) -> u64 {
        self.state.borrow().trimmed
    }

    /// What a broker says the topic holds, asked when `known_before` was known. An end before that, or a start before
    /// what was forgotten, is another topic's; it is said, not noted.
    pub(super) fn observe(&self, (low, high): (u64, u64), known_before: u64) -> Result<Bounds, String> {
        if high < known_before {
            return Err(format!("it ended at {known_before} and now ends at {high}: it lost its end or was made anew"));
        }
        let trimmed = self.trimmed();
        if low < trimmed {
            return Err(format!("it was trimmed up to {trimmed} and now begins behind {low}: it was made anew"));
        }
        self.state.send_if_modified(|state| {
            let is_news = low > state.trimmed;
            state.trimmed = low.max(state.trimmed);
            state.known = high.max(state.known);
            is_news
        });
        Ok(self.bounds_of(low, high))
    }

    pub(super) fn bounds_of(&self, trimmed: u64, last: u64) -> Bounds {
        let at = |offset| match offset {
            0 => Position::ZERO,
            offset => self.position(offset).unwrap_or(Position::ZERO),
        };
        Bounds { identity: self.identity, trimmed: at(trimmed), last: at(last) }
    }

    /// An append of ours is at `offset`, asked for when `known_before` was the end.
    pub(super) fn acknowledge(&self, offset: u64, checksum: u64, known_before: u64) -> Result<Position, String> {
        let position = self.position(offset).ok_or("the log has had as many frames as it can number")?;
        if offset <= known_before {
            let why =
                format!("a frame was appended at {offset}, and the log ended at {known_before}: it was made anew");
            return Err(why);
        }
        let mut recent = self.recent();
        if let Some(entry) = recent.tail.at(offset) {
            same(offset, entry.checksum, checksum)?;
        } else if offset > self.state.borrow().seen {
            recent.acknowledged.insert(offset, checksum);
            if recent.acknowledged.len() > ACKNOWLEDGED_MAX {
                recent.acknowledged.pop_first();
            }
        }
        drop(recent);
        self.state.send_if_modified(|state| {
            state.known = state.known.max(offset);
            false
        });
        Ok(position)
    }

    /// The last frame that was shown.
    pub(super) fn last(&self) -> Option<(u64, u64)> {
        let seen = self.state.borrow().seen;
        self.recent().tail.at(seen).map(|entry| (seen, entry.checksum))
    }

    /// The first frame that was shown: whoever looks seldom still knows from it what this log was when it was opened.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        self.recent().first
    }

    /// Shows frames that follow the last one.
    pub(super) fn push(&self, entries: Vec<(Entry, usize)>) -> Result<(), String> {
        let Some((last, _)) = entries.last() else { return Ok(()) };
        let last = last.position.offset();
        {
            let mut recent = self.recent();
            for (entry, bytes) in entries {
                let offset = entry.position.offset();
                if let Some(acknowledged) = recent.acknowledged.remove(&offset) {
                    same(offset, entry.checksum, acknowledged)?;
                }
                recent.first.get_or_insert((offset, entry.checksum));
                recent.tail.push(entry, bytes, self.tail_bytes_max);
            }
        }
        self.state.send_modify(|state| {
            state.seen = last;
            state.known = state.known.max(last);
        });
        Ok(())
    }

    /// The follower goes on behind `seen`, where it has not been.
    pub(super) fn restart_behind(&self, seen: u64) {
        self.recent().tail.clear();
        self.state.send_modify(|state| state.seen = seen);
    }

    pub(super) fn set_caught_up(&self) {
        self.state.send_if_modified(|state| !std::mem::replace(&mut state.is_caught_up, true));
    }

    /// Until the follower has once come to the end, or never will.
    pub(super) async fn caught_up(&self) {
        let is_so = |state: &State| state.is_caught_up || state.trouble.is_some();
        // Fails only when the sender is gone, and it is here.
        let _ = self.state.subscribe().wait_for(is_so).await;
    }

    pub(super) fn subscribe(&self) -> Changes {
        Changes(self.state.subscribe())
    }

    fn look(&self, state: &State, after: Position, max: usize) -> Result<Look, LogReadError> {
        if let Some(trouble) = &state.trouble {
            return Err(trouble.error());
        }
        if after.offset() > state.known {
            return Ok(Look::Beyond);
        }
        if !self.bounds_of(state.trimmed, state.known).has_behind(after)? || after.offset() >= state.seen {
            return Ok(Look::Nothing);
        }
        Ok(self.recent().tail.behind(after, max).map_or(Look::Older, Look::Entries))
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reader's view.
pub(super) struct Changes(watch::Receiver<State>);

impl Changes {
    pub(super) fn look(&mut self, shown: &Shown, after: Position, max: usize) -> Result<Look, LogReadError> {
        let state = self.0.borrow_and_update().clone();
        shown.look(&state, after, max)
    }

    pub(super) async fn changed(&mut self) -> Result<(), LogReadError> {
        self.0.changed().await.map_err(|_| Trouble::Closed.error())
    }
}

/// The follower begins with the last record that there is: what it is made of is then known.
pub(super) fn follow_from((low, high): (u64, u64)) -> u64 {
    high.saturating_sub(1).max(low)
}

fn same(offset: u64, found: u64, written: u64) -> Result<(), String> {
    if found == written {
        return Ok(());
    }
    Err(format!("the frame at {offset} has checksum {found:016x}, appended was {written:016x}: it was made anew"))
}

#[cfg(test)]
mod tests;
