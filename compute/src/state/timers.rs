use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::model::limits::FRAME_CHANGES_MAX;
use crate::model::{InstanceKey, Op, ServiceKey};

use super::{Service, State};

/// What ends at a time of the log, each once: so there are never more than there are subjects.
#[derive(Default)]
pub(super) struct Timers {
    /// Operators' words, on live instances or kept.
    overrides: Ends<InstanceKey>,
    /// Services that a register made and that have been empty since.
    services: Ends<ServiceKey>,
}

impl Timers {
    pub(super) fn set_override(&mut self, key: &InstanceKey, at_ms: Option<u64>) {
        self.overrides.set(key, at_ms);
    }

    pub(super) fn set_service(&mut self, key: &ServiceKey, at_ms: Option<u64>) {
        self.services.set(key, at_ms);
    }

    pub(super) fn len(&self) -> usize {
        self.overrides.by_time.len() + self.services.by_time.len()
    }
}

/// When each subject's end is, and which come first.
struct Ends<K> {
    by_time: BTreeSet<(u64, K)>,
    at: HashMap<K, u64>,
}

impl<K> Default for Ends<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), at: HashMap::new() }
    }
}

impl<K: Ord + Hash + Clone> Ends<K> {
    /// The end of `key` is then, and no longer when it was before; `None`: it has none.
    fn set(&mut self, key: &K, at_ms: Option<u64>) {
        if self.at.is_empty() && at_ms.is_none() {
            return;
        }
        let old = match at_ms {
            Some(at) => self.at.insert(key.clone(), at),
            None => self.at.remove(key),
        };
        if old == at_ms {
            return;
        }
        if let Some(old) = old {
            self.by_time.remove(&(old, key.clone()));
        }
        if let Some(at) = at_ms {
            self.by_time.insert((at, key.clone()));
        }
    }

    fn come(&self, now_ms: u64) -> impl Iterator<Item = &K> {
        self.by_time.iter().take_while(move |(at, _)| *at <= now_ms).map(|(_, key)| key)
    }
}

impl State {
    /// The ends that have come by `now_ms` of log time, as changes to log: words of operators, services long empty.
    /// They come up again until they are applied; no more at once than fit into a frame.
    pub fn due(&self, now_ms: u64) -> Vec<Op> {
        let overrides = self.timers.overrides.come(now_ms).filter_map(|key| self.end_of_override(key, now_ms));
        let services = self.timers.services.come(now_ms).filter_map(|key| self.end_of_service(key));
        overrides.chain(services).take(FRAME_CHANGES_MAX).collect()
    }

    /// The log time of the next such end.
    pub fn next_due_ms(&self) -> Option<u64> {
        let overrides = self.timers.overrides.by_time.first().map(|(at, _)| *at);
        let services = self.timers.services.by_time.first().map(|(at, _)| *at);
        overrides.into_iter().chain(services).min()
    }

    fn end_of_override(&self, key: &InstanceKey, now_ms: u64) -> Option<Op> {
        let live = self.instance(key).and_then(|i| i.operator.as_deref());
        let live = live.filter(|o| o.expires_at_ms.is_some_and(|at| at <= now_ms));
        let kept = self.overrides.get(key).filter(|kept| kept.until_ms <= now_ms).map(|kept| &kept.operator);
        let operator = live.or(kept)?.revision;
        Some(Op::EndOverride { instance: key.clone(), operator })
    }

    fn end_of_service(&self, key: &ServiceKey) -> Option<Op> {
        let base = self.services.get(key)?.row().revision;
        Some(Op::CollectService { service: key.clone(), base })
    }

    /// Something of an operator's word has changed: it ends when its rows say.
    pub(super) fn time_override(&mut self, key: &InstanceKey) {
        let live = self.instance(key).and_then(|i| i.operator.as_ref()).and_then(|o| o.expires_at_ms);
        let kept = self.overrides.get(key).map(|kept| kept.until_ms);
        self.timers.set_override(key, live.into_iter().chain(kept).min());
    }

    /// A service has become empty, or is no longer: the end of its time is when its row says.
    pub(super) fn time_service(&mut self, key: &ServiceKey) {
        let at = self.services.get(key).and_then(Service::collectable_at_ms);
        self.timers.set_service(key, at);
    }

    /// Ends that are waited for.
    pub fn timer_count(&self) -> usize {
        self.timers.len()
    }
}
