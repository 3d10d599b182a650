use std::hash::Hash;
use std::sync::Arc;

use crate::keyed::{Keyed, KeyedSet};
use crate::model::{FreezeScope, Instance, InstanceKey, Namespace, NodeIncarnation, Row, Rows, ServiceKey, SessionId};

use super::State;

/// The keys that changed since they were last landed.
#[derive(Default)]
pub(super) struct Dirty {
    pub(super) namespaces: KeyedSet<Namespace>,
    pub(super) services: KeyedSet<ServiceKey>,
    /// With what it is now, `None` when it is gone: looking a hundred thousand of them up, in no order, took a landing
    /// longer than anything else on its own side.
    pub(super) instances: Keyed<InstanceKey, Option<Arc<Instance>>>,
    pub(super) overrides: KeyedSet<InstanceKey>,
    pub(super) tombstones: KeyedSet<InstanceKey>,
    pub(super) sessions: KeyedSet<SessionId>,
    pub(super) suspicions: KeyedSet<InstanceKey>,
    pub(super) freezes: KeyedSet<FreezeScope>,
    pub(super) origins: KeyedSet<NodeIncarnation>,
    pub(super) members: KeyedSet<NodeIncarnation>,
}

impl Dirty {
    pub(super) fn len(&self) -> usize {
        self.namespaces.len()
            + self.services.len()
            + self.instances.len()
            + self.overrides.len()
            + self.tombstones.len()
            + self.sessions.len()
            + self.suspicions.len()
            + self.freezes.len()
            + self.origins.len()
            + self.members.len()
    }

    pub(super) fn everything(state: &State) -> Self {
        let instances = |(key, service): (&ServiceKey, &super::Service)| {
            let key = key.clone();
            service.instances().iter().map(|i| (key.instance(i.id.clone()), Some(i.clone()))).collect::<Vec<_>>()
        };
        Self {
            namespaces: state.namespaces.keys().cloned().collect(),
            services: state.services.keys().cloned().collect(),
            instances: state.services.iter().flat_map(instances).collect(),
            overrides: state.overrides.keys().cloned().collect(),
            tombstones: state.tombstones.keys().cloned().collect(),
            sessions: state.sessions.keys().copied().collect(),
            suspicions: state.suspicions.keys().cloned().collect(),
            freezes: state.freezes.keys().cloned().collect(),
            origins: state.origins.nodes().collect(),
            members: state.members.nodes().collect(),
        }
    }

    pub(super) fn mark_all(&mut self, rows: &Rows) {
        mark(&mut self.namespaces, &rows.namespaces);
        mark(&mut self.services, &rows.services);
        for row in &rows.instances {
            let (key, value) = row.clone().into_parts();
            self.instances.entry(key).or_insert(value);
        }
        mark(&mut self.overrides, &rows.overrides);
        mark(&mut self.tombstones, &rows.tombstones);
        mark(&mut self.sessions, &rows.sessions);
        mark(&mut self.suspicions, &rows.suspicions);
        mark(&mut self.freezes, &rows.freezes);
        mark(&mut self.origins, &rows.origins);
        mark(&mut self.members, &rows.members);
    }

    /// Keeps the room.
    pub(super) fn clear(&mut self) {
        self.namespaces.clear();
        self.services.clear();
        self.instances.clear();
        self.overrides.clear();
        self.tombstones.clear();
        self.sessions.clear();
        self.suspicions.clear();
        self.freezes.clear();
        self.origins.clear();
        self.members.clear();
    }

    /// Makes room for as many instances and services as the last time, which is what mostly comes again.
    pub(super) fn expect(&mut self, rows: &Rows) {
        self.instances.reserve(rows.instances.len());
        self.services.reserve(rows.services.len());
    }

    /// The values that these keys have in `state`, in no order.
    pub(super) fn rows(self, state: &State) -> Rows {
        Rows {
            namespaces: rows(self.namespaces, |key| state.namespaces.get(key).map(|n| n.row.clone())),
            services: rows(self.services, |key| state.services.get(key).map(|s| s.row().as_ref().clone())),
            instances: self.instances.into_iter().map(Row::from).collect(),
            overrides: rows(self.overrides, |key| state.overrides.get(key).cloned()),
            tombstones: rows(self.tombstones, |key| state.tombstones.get(key).copied()),
            sessions: rows(self.sessions, |key| state.sessions.get(key).map(|s| s.row.clone())),
            suspicions: rows(self.suspicions, |key| state.suspicions.get(key).cloned()),
            freezes: rows(self.freezes, |key| state.freezes.get(key).cloned()),
            origins: rows(self.origins, |key| state.node_of(key)),
            members: rows(self.members, |key| state.members.get(*key).cloned()),
        }
    }
}

fn mark<K: Clone + Eq + Hash, V>(dirty: &mut KeyedSet<K>, rows: &[Row<K, V>]) {
    dirty.extend(rows.iter().map(|row| row.key().clone()));
}

fn rows<K, V>(keys: KeyedSet<K>, value: impl Fn(&K) -> Option<V>) -> Vec<Row<K, V>> {
    let row = |key| {
        let value = value(&key);
        Row::from((key, value))
    };
    keys.into_iter().map(row).collect()
}
