//! What readers are shown: where the log begins and ends, and its most recent frames.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use compute::model::{Entry, LogGeneration, LogIdentity, Position};
use compute::port::change_log::{Bounds, LogReadError};
use tokio::sync::watch;

use super::file::Ends;
use crate::tail::Tail;

pub(super) struct Shown {
    identity: LogIdentity,
    generation: LogGeneration,
    tail_bytes_max: usize,
    state: watch::Sender<State>,
    tail: Mutex<Tail>,
}

#[derive(Clone)]
struct State {
    ends: Ends,
    trouble: Option<Trouble>,
}

/// Why the file does not answer now.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    Away(Arc<str>),
    Unusable(Arc<str>),
    Closed,
}

impl Trouble {
    pub(super) fn error(&self) -> LogReadError {
        match self {
            Self::Away(why) => LogReadError::Away(why.to_string()),
            Self::Unusable(why) => LogReadError::Unusable(why.to_string()),
            Self::Closed => LogReadError::Away("the log is closed".into()),
        }
    }
}

impl Shown {
    pub(super) fn new(identity: LogIdentity, generation: LogGeneration, ends: Ends, tail_bytes_max: usize) -> Self {
        let state = watch::Sender::new(State { ends, trouble: None });
        Self { identity, generation, tail_bytes_max, state, tail: Mutex::default() }
    }

    pub(super) fn bounds(&self) -> Result<Bounds, LogReadError> {
        let state = self.state.borrow();
        match &state.trouble {
            Some(trouble) => Err(trouble.error()),
            None => Ok(self.bounds_of(state.ends)),
        }
    }

    /// Entries of the tail behind `after`, as soon as there are any; `None`: they are in the file alone.
    pub(super) async fn read(&self, after: Position, max: usize) -> Result<Option<Vec<Entry>>, LogReadError> {
        let mut state = self.state.subscribe();
        loop {
            let (ends, trouble) = {
                let now = state.borrow_and_update();
                (now.ends, now.trouble.clone())
            };
            if self.bounds_of(ends).has_behind(after)? {
                return Ok(self.tail().behind(after, max));
            }
            match trouble {
                Some(trouble @ (Trouble::Closed | Trouble::Unusable(_))) => return Err(trouble.error()),
                // It may come back, and then there is more: the reader keeps waiting.
                Some(Trouble::Away(_)) | None => {}
            }
            if state.changed().await.is_err() {
                return Err(Trouble::Closed.error());
            }
        }
    }

    /// Shows frames that are flushed; they follow the last one.
    pub(super) fn push(&self, entries: impl IntoIterator<Item = (Entry, usize)>) {
        let mut last = 0;
        {
            let mut tail = self.tail();
            for (entry, bytes) in entries {
                last = entry.position.offset();
                tail.push(entry, bytes, self.tail_bytes_max);
            }
        }
        self.state.send_if_modified(|state| {
            let grew = last > state.ends.last;
            state.ends.last = state.ends.last.max(last);
            grew
        });
    }

    pub(super) fn set_trimmed(&self, trimmed: u64) {
        self.state.send_modify(|state| state.ends.trimmed = trimmed);
    }

    pub(super) fn set_trouble(&self, trouble: Trouble) {
        self.state.send_modify(|state| state.trouble = Some(trouble));
    }

    pub(super) fn clear_trouble(&self) {
        self.state.send_modify(|state| state.trouble = None);
    }

    pub(super) fn ends(&self) -> Ends {
        self.state.borrow().ends
    }

    pub(super) fn position(&self, offset: u64) -> Option<Position> {
        Position::new(self.generation, offset)
    }

    #[cfg(test)]
    pub(super) fn tail_size(&self) -> (usize, usize) {
        self.tail().size()
    }

    fn bounds_of(&self, ends: Ends) -> Bounds {
        let at = |offset| match offset {
            0 => Position::ZERO,
            offset => self.position(offset).unwrap_or(Position::ZERO),
        };
        Bounds { identity: self.identity, trimmed: at(ends.trimmed), last: at(ends.last) }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
