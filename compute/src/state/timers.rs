use std::collections::BTreeSet;

use crate::model::{InstanceKey, Op, ServiceKey};

use super::State;

/// What ends at a time of the log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// An operator's word, on a live instance or kept.
    Override(InstanceKey),
    /// A service that a register made and that has been empty since.
    Service(ServiceKey),
}

/// Ends by their time. Entries are hints: what has changed since is found void when it comes due.
#[derive(Default)]
pub(super) struct Timers(BTreeSet<(u64, Timer)>);

impl Timers {
    pub(super) fn insert(&mut self, at_ms: u64, timer: Timer) {
        self.0.insert((at_ms, timer));
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.0.first().map(|(at, _)| *at)
    }
}

impl State {
    /// The ends that have come by `now_ms` of log time, as changes to log: words of operators, services long empty.
    /// They come up again until they are applied.
    pub fn due(&mut self, now_ms: u64) -> Vec<Op> {
        let come: Vec<_> = self.timers.0.iter().take_while(|(at, _)| *at <= now_ms).cloned().collect();
        let mut ops = Vec::new();
        let mut decided = BTreeSet::new();
        for entry in come {
            match self.end_of(&entry.1, now_ms) {
                Some(op) if decided.insert(entry.1.clone()) => ops.push(op),
                Some(_) => {}
                None => drop(self.timers.0.remove(&entry)),
            }
        }
        ops
    }

    /// The log time of the next such end, or of one that proves void.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// The change that says that `timer` has come; `None` when it is void.
    fn end_of(&self, timer: &Timer, now_ms: u64) -> Option<Op> {
        match timer {
            Timer::Override(key) => {
                let live = self.instance(key).and_then(|i| i.operator.as_deref());
                let live = live.filter(|o| o.expires_at_ms.is_some_and(|at| at <= now_ms));
                let kept = self.overrides.get(key).filter(|kept| kept.until_ms <= now_ms).map(|kept| &kept.operator);
                let operator = live.or(kept)?.revision;
                Some(Op::EndOverride { instance: key.clone(), operator })
            }
            Timer::Service(key) => {
                let service = self.services.get(key)?;
                let due = service.collectable_at_ms().is_some_and(|at| at <= now_ms);
                due.then(|| Op::CollectService { service: key.clone(), base: service.row().revision })
            }
        }
    }
}
