//! Suspects whose time is over and whose suspicion not every member has shown.

use std::collections::BTreeSet;

use crate::model::{Position, Revision};
use crate::port::clock::MonoMs;
use crate::state::freeze::LeaseId;
use crate::state::planted::{Rule, holds};

/// How often the barrier is looked at while it holds something back: it moves without anybody telling the table.
const LOOK_MS: MonoMs = 100;

#[derive(Default)]
pub(super) struct Barred {
    /// By their suspicions. Some are cleared since.
    waiting: BTreeSet<(Revision, LeaseId)>,
    look_at: MonoMs,
}

/// Whether a barrier lets a suspicion pass.
pub(super) fn is_past(barrier: Option<Position>, suspicion: Revision) -> bool {
    barrier.is_none_or(|shown| shown >= suspicion.position()) || !holds(Rule::Barrier)
}

impl Barred {
    pub(super) fn wait(&mut self, suspicion: Revision, lease: LeaseId, now: MonoMs) {
        if self.waiting.is_empty() {
            self.look_at = now + LOOK_MS;
        }
        self.waiting.insert((suspicion, lease));
    }

    /// Takes one out that waits no longer.
    pub(super) fn pop(&mut self, barrier: Option<Position>, now: MonoMs) -> Option<(Revision, LeaseId)> {
        let (suspicion, _) = self.waiting.first()?;
        if is_past(barrier, *suspicion) {
            return self.waiting.pop_first();
        }
        if self.look_at <= now {
            self.look_at = now + LOOK_MS;
        }
        None
    }

    pub(super) fn next_deadline(&self) -> Option<MonoMs> {
        (!self.waiting.is_empty()).then_some(self.look_at)
    }
}
