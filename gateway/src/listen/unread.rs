//! Answers that their reader does not take: which of a connection's stand still.
//!
//! An answer is counted where its last progress was: in one of a few turns of the sweeper's clock. So it costs an answer
//! two additions, and the sweeper a look at a few numbers for each connection, however many answers there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::activity::Activity;

/// Turns that are told apart.
const TURNS: u8 = 8;
/// So many make up the time that an answer may stand still.
const PATIENCE: u8 = 4;

/// The turn that it is, for all connections of a listener.
pub(super) struct Turns {
    now: AtomicU8,
    ends_ms: AtomicU64,
    length_ms: u64,
}

impl Turns {
    pub(super) fn new(timeout_ms: u64) -> Self {
        let length_ms = (timeout_ms / u64::from(PATIENCE)).max(1);
        Self { now: AtomicU8::new(0), ends_ms: AtomicU64::new(length_ms), length_ms }
    }

    pub(super) fn length_ms(&self) -> u64 {
        self.length_ms
    }

    /// One further at most, however late the sweeper comes: readers had no time either.
    pub(super) fn advance(&self, now_ms: u64) {
        if now_ms >= self.ends_ms.load(Relaxed) {
            self.now.store((self.now() + 1) % TURNS, Relaxed);
            self.ends_ms.store(now_ms + self.length_ms, Relaxed);
        }
    }

    fn now(&self) -> u8 {
        self.now.load(Relaxed)
    }
}

/// A connection's answers, by the turn of their last progress.
#[derive(Default)]
pub(super) struct Standing([AtomicU32; TURNS as usize]);

impl Standing {
    fn at(&self, turn: u8) -> &AtomicU32 {
        &self.0[usize::from(turn % TURNS)]
    }

    /// Whether one of them has stood still for longer than it may.
    pub(super) fn has_stuck(&self, turns: &Turns) -> bool {
        let now = turns.now();
        (PATIENCE + 1..TURNS).any(|ago| self.at(now + TURNS - ago).load(Relaxed) > 0)
    }
}

/// An answer that has not been taken.
pub(super) struct Unread {
    activity: Arc<Activity>,
    turn: u8,
}

impl Unread {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        let turn = activity.turns().now();
        activity.standing.at(turn).fetch_add(1, Relaxed);
        Self { activity, turn }
    }

    /// Some of it was taken.
    pub(super) fn moved(&mut self) {
        let now = self.activity.turns().now();
        if now != self.turn {
            self.activity.standing.at(now).fetch_add(1, Relaxed);
            self.activity.standing.at(self.turn).fetch_sub(1, Relaxed);
            self.turn = now;
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.activity.standing.at(self.turn).fetch_sub(1, Relaxed);
    }
}
