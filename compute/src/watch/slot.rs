//! Where a watcher is told that there is something to read: which of the topics it follows, and no more.
//!
//! A mark says "changed since"; what changed is read from the newest state when the watcher comes. So what is kept for
//! a watcher is bounded by its topics, however long it stays away.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A topic of a slot, by its place, that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) line: u32,
    /// No later in the order than the first change since the last mark was taken; `None`: nothing that has a place.
    pub(super) first: Option<u64>,
}

/// What marking did.
pub(super) enum Marked {
    /// It had not read the last one: both are now one.
    Merged,
    /// The slot was marked already, for another line.
    Added,
    /// It had nothing to read before.
    First,
}

pub(super) struct Slot {
    is_rung_late: bool,
    inbox: Mutex<Inbox>,
}

struct Inbox {
    marks: Vec<Mark>,
    /// By line: the place of its mark, from 1; 0 when it has none.
    places: Box<[u32]>,
    /// The round that the first mark is of.
    round: u64,
    is_rung: bool,
    waker: Option<Waker>,
}

impl Slot {
    /// `is_rung_late`: only at the end of a round, when all its marks are there. Else whoever reads several things in
    /// one order might read a later change of one before an earlier one of another.
    pub(super) fn new(lines: usize, is_rung_late: bool) -> Self {
        let inbox = Inbox {
            marks: Vec::new(),
            places: vec![0; lines].into_boxed_slice(),
            round: 0,
            is_rung: false,
            waker: None,
        };
        Self { is_rung_late, inbox: Mutex::new(inbox) }
    }

    pub(super) fn is_rung_late(&self) -> bool {
        self.is_rung_late
    }

    /// Marks a line; rings unless the slot is to be rung later.
    pub(super) fn mark(&self, line: u32, first: Option<u64>, round: u64) -> Marked {
        let mut locked = self.lock();
        let inbox = &mut *locked;
        let Some(place) = inbox.places.get_mut(line as usize) else { return Marked::Merged };
        if let Some(older) = inbox.marks.get_mut((*place as usize).wrapping_sub(1)) {
            older.first = older.first.or(first);
            return Marked::Merged;
        }
        inbox.marks.push(Mark { line, first });
        *place = inbox.marks.len() as u32;
        if inbox.marks.len() > 1 {
            return Marked::Added;
        }
        inbox.round = round;
        let waker = if self.is_rung_late { None } else { inbox.ring() };
        drop(locked);
        if let Some(waker) = waker {
            waker.wake();
        }
        Marked::First
    }

    pub(super) fn ring(&self) {
        let waker = self.lock().ring();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Moves the marks to `into`; the round of the first one when there were any.
    pub(super) fn take(&self, into: &mut Vec<Mark>) -> Option<u64> {
        let mut inbox = self.lock();
        inbox.is_rung = false;
        let round = (!inbox.marks.is_empty()).then_some(inbox.round);
        let Inbox { marks, places, .. } = &mut *inbox;
        for mark in marks.drain(..) {
            places[mark.line as usize] = 0;
            into.push(mark);
        }
        round
    }

    /// Ready when it was rung since the marks were last taken.
    pub(super) fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inbox = self.lock();
        if inbox.is_rung {
            return Poll::Ready(());
        }
        if !inbox.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            inbox.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn ring(&mut self) -> Option<Waker> {
        self.is_rung = true;
        self.waker.take()
    }
}
