//! Leases, as far as they are this node's: what it hears of them, and what it says to the log about them.

use crate::model::{Author, NodeIncarnation, Op, SessionId};
use crate::node::checks::Feed;
use crate::node::link::CheckWord;
use crate::port::clock::MonoMs;
use crate::state::{Applied, State};

use super::Applier;

/// Why this node holds expiry back by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Hold {
    LogAway,
    LoopLate,
}

#[derive(Clone, Copy, Default)]
pub(super) struct LeaseCounts {
    pub(super) ttl: usize,
    pub(super) stream: usize,
    pub(super) checked: usize,
    pub(super) permanent: usize,
}

pub(super) struct Expiry {
    checks: Feed,
}

impl Expiry {
    pub(super) fn ready(_me: NodeIncarnation, _state: &State, checks: &Feed, _now: MonoMs) -> Self {
        Self { checks: checks.clone() }
    }
    pub(super) fn session_held(&mut self, _s: SessionId, _e: u32, _now: MonoMs) {}
    pub(super) fn session_lost(&mut self, _s: SessionId, _e: u32, _now: MonoMs) {}
    pub(super) fn check(&mut self, _word: CheckWord) {}
    pub(super) fn next_deadline(&self) -> Option<MonoMs> {
        let _ = &self.checks;
        None
    }
    pub(super) fn hold(&mut self, _hold: Hold, _now: MonoMs) {}
    pub(super) fn release(&mut self, _hold: Hold, _now: MonoMs) {}
    pub(super) fn refused(&mut self, _op: &Op) {}
    pub(super) fn holding(&self) -> Option<String> {
        None
    }
    pub(super) fn counts(&self) -> LeaseCounts {
        LeaseCounts::default()
    }
}

impl Applier {
    pub(super) fn hear(&mut self, _applied: &Applied) {}
    pub(super) fn expire(&mut self, _now: MonoMs) {}
    pub(super) fn end_what_is_due(&mut self) {}
    pub(super) fn release_freezes(&mut self, _author: &Author) -> usize {
        0
    }
    pub(super) fn release_orphaned_freezes(&mut self) {}
}
