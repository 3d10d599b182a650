//! What this node has accepted and the log does not have yet: `ack=memory` writes, and all writes while the log is away.
//!
//! Laid over the log's state for readers of this node, never for watchers, and never part of a revision or a digest.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Author, Base, Instance, InstanceId, InstanceKey, Op, Position, Revision, ServiceKey};
use crate::state::State;
use crate::view::{Encoded, View};

/// Most changes kept; beyond it writes are shed.
pub(super) const OVERLAY_MAX: usize = 100_000;

/// A change that waits to be appended.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) author: Author,
    pub(super) op: Op,
}

#[derive(Default)]
pub(super) struct Overlay {
    shown: BTreeMap<ServiceKey, BTreeMap<InstanceId, Shown>>,
    shown_count: usize,
    /// By rank and arrival: refutes go first, the rest in the order they came.
    unsent: BTreeMap<(Rank, u64), Unsent>,
    /// Where the unsent change of an instance is, so that a newer one can take its place.
    latest: BTreeMap<InstanceKey, (Rank, u64)>,
    arrivals: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rank {
    Refute,
    Rest,
}

struct Shown {
    /// `None`: removed.
    value: Option<Arc<Instance>>,
    /// Changes of it that are not applied yet.
    open: u32,
}

impl Overlay {
    pub(super) fn len(&self) -> usize {
        self.shown_count.max(self.unsent.len())
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= OVERLAY_MAX
    }

    pub(super) fn has_any_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn has_unsent(&self, key: &InstanceKey) -> bool {
        self.latest.contains_key(key)
    }

    /// The provisional value of an instance: `Some(None)` when it is provisionally removed.
    pub(super) fn get(&self, key: &InstanceKey) -> Option<Option<&Arc<Instance>>> {
        self.shown.get(&key.service)?.get(&key.id).map(|shown| shown.value.as_ref())
    }

    /// Shows `value` for an instance until [`Overlay::settle`].
    pub(super) fn show(&mut self, key: &InstanceKey, value: Option<Arc<Instance>>) {
        let ids = self.shown.entry(key.service.clone()).or_default();
        match ids.get_mut(&key.id) {
            Some(shown) => {
                shown.value = value;
                shown.open += 1;
            }
            None => {
                ids.insert(key.id.clone(), Shown { value, open: 1 });
                self.shown_count += 1;
            }
        }
    }

    /// A change of the instance was applied, refused, or replaced by a newer one.
    pub(super) fn settle(&mut self, key: &InstanceKey) {
        let Some(ids) = self.shown.get_mut(&key.service) else { return };
        let Some(shown) = ids.get_mut(&key.id) else { return };
        shown.open -= 1;
        if shown.open == 0 {
            ids.remove(&key.id);
            self.shown_count -= 1;
            if ids.is_empty() {
                self.shown.remove(&key.service);
            }
        }
    }

    /// Keeps a change for later. A newer register takes the place of an older one that waits, and keeps its base: what
    /// it rests on is what the first caller saw.
    pub(super) fn keep(&mut self, key: &InstanceKey, author: Author, op: Op) {
        let rank = if matches!(op, Op::Refute { .. }) { Rank::Refute } else { Rank::Rest };
        if let Some(at) = self.latest.get(key).copied()
            && let Some(older) = self.unsent.get_mut(&at)
        {
            let was_shown = shows(&older.op);
            older.author = author;
            older.op = rebased(&older.op, op);
            if was_shown {
                self.settle(key);
            }
            return;
        }
        self.arrivals += 1;
        let at = (rank, self.arrivals);
        self.latest.insert(key.clone(), at);
        self.unsent.insert(at, Unsent { author, op });
    }

    /// Takes the next change to append.
    pub(super) fn take(&mut self) -> Option<Unsent> {
        let (_, unsent) = self.unsent.pop_first()?;
        if let Some(key) = subject(&unsent.op) {
            self.latest.remove(key);
        }
        Some(unsent)
    }

    /// Puts changes back that were taken and turned out not to be appended.
    pub(super) fn put_back(&mut self, author: Author, op: Op) {
        let Some(key) = subject(&op).cloned() else { return };
        if self.has_unsent(&key) {
            if shows(&op) {
                self.settle(&key);
            }
        } else {
            self.keep(&key, author, op);
        }
    }

    /// In another life of the log, what a register rests on that found nobody is told by that life's positions. Where
    /// somebody is, or was since, it rests on what is no longer so, and will be refused. `end`: what had been applied of
    /// the life before.
    pub(super) fn rebase(&mut self, state: &State, end: Position) {
        for unsent in self.unsent.values_mut() {
            if let Op::Register { instance, base: Base::Absent(at), .. } = &mut unsent.op
                && state.is_absent_since(instance, *at, end)
            {
                *at = state.position();
            }
        }
    }

    pub(super) fn has_shown(&self, service: &ServiceKey) -> bool {
        self.shown.contains_key(service)
    }

    /// `view` with what is provisional laid over it.
    pub(super) fn over(&self, view: &Arc<View>) -> View {
        let none = BTreeMap::new();
        let ids = self.shown.get(&view.service).unwrap_or(&none);
        let mut merged: BTreeMap<&InstanceId, &Arc<Instance>> = view.instances.iter().map(|i| (&i.id, i)).collect();
        for (id, shown) in ids {
            match &shown.value {
                Some(value) => drop(merged.insert(id, value)),
                None => drop(merged.remove(id)),
            }
        }
        let instances = merged.into_values().cloned().collect();
        View {
            service: view.service.clone(),
            row: view.row.clone(),
            revision: view.revision,
            digest: view.digest,
            instances: Arc::new(instances),
            counts: view.counts,
            protected: view.protected,
            overlay: ids.len() as u32,
            log: Some(view.clone()),
            encoded: Encoded::default(),
        }
    }
}

/// Whether readers see something of the change before the log has it.
pub(super) fn shows(op: &Op) -> bool {
    matches!(op, Op::Register { .. } | Op::Operate { .. } | Op::Deregister { .. })
}

/// A newer change of the same instance, resting on what the older one rested on.
fn rebased(older: &Op, newer: Op) -> Op {
    match (older, newer) {
        (Op::Register { base, .. }, Op::Register { instance, provider, epoch, .. }) => {
            Op::Register { instance, provider, base: *base, epoch }
        }
        (_, newer) => newer,
    }
}

/// The instance that a change is about.
pub(super) fn subject(op: &Op) -> Option<&InstanceKey> {
    match op {
        Op::Register { instance, .. }
        | Op::Deregister { instance, .. }
        | Op::Operate { instance, .. }
        | Op::KeepOverride { instance, .. }
        | Op::EndOverride { instance, .. }
        | Op::Suspect { instance, .. }
        | Op::Refute { instance, .. }
        | Op::Confirm { instance, .. }
        | Op::Unhealthy { instance, .. }
        | Op::Expire { instance, .. } => Some(instance),
        _ => None,
    }
}

/// The value that readers see of an instance before the log has it: no revision of its own.
pub(super) fn provisional(op: &Op, there: Option<&Arc<Instance>>, now_ms: u64) -> Option<Option<Arc<Instance>>> {
    match op {
        Op::Register { instance: key, provider, base: Base::At(_) | Base::Absent(_), .. } => {
            let provider = provider.as_ref().clone();
            let value = match there {
                Some(there) => Instance { provider, revision: Revision::ZERO, ..there.as_ref().clone() },
                None => Instance {
                    id: key.id.clone(),
                    provider,
                    health: crate::model::Health::good(now_ms),
                    operator: None,
                    registered_at_ms: now_ms,
                    generation: Revision::ZERO,
                    revision: Revision::ZERO,
                    cell: Arc::default(),
                },
            };
            Some(Some(Arc::new(value)))
        }
        Op::Operate { operator, .. } => {
            let there = there?.as_ref().clone();
            Some(Some(Arc::new(Instance { operator: operator.clone(), revision: Revision::ZERO, ..there })))
        }
        Op::Deregister { .. } => Some(None),
        _ => None,
    }
}
