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
    pub(super) instances: Keyed<InstanceKey, Latest>,
    pub(super) overrides: KeyedSet<InstanceKey>,
    pub(super) tombstones: KeyedSet<InstanceKey>,
    pub(super) sessions: KeyedSet<SessionId>,
    pub(super) suspicions: KeyedSet<InstanceKey>,
    pub(super) freezes: KeyedSet<FreezeScope>,
    pub(super) origins: KeyedSet<NodeIncarnation>,
    pub(super) members: KeyedSet<NodeIncarnation>,
}

/// What an instance is now. It is kept with its key until the next landing: looking a hundred thousand of them up, in no
/// order, took a landing longer than anything else on its own side.
#[derive(Clone)]
pub(super) enum Latest {
    Is(Arc<Instance>),
    Gone,
    /// To be looked up.
    Unknown,
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
            service.instances().iter().map(|i| (key.instance(i.id.clone()), Latest::Is(i.clone()))).collect::<Vec<_>>()
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
            self.instances.entry(row.key().clone()).or_insert(Latest::Unknown);
        }
        mark(&mut self.overrides, &rows.overrides);
        mark(&mut self.tombstones, &rows.tombstones);
        mark(&mut self.sessions, &rows.sessions);
        mark(&mut self.suspicions, &rows.suspicions);
        mark(&mut self.freezes, &rows.freezes);
        mark(&mut self.origins, &rows.origins);
        mark(&mut self.members, &rows.members);
    }

    /// What is in `other` too was marked there before.
    pub(super) fn absorb(&mut self, other: Self) {
        self.namespaces.extend(other.namespaces);
        self.services.extend(other.services);
        for (key, latest) in other.instances {
            self.instances.entry(key).or_insert(latest);
        }
        self.overrides.extend(other.overrides);
        self.tombstones.extend(other.tombstones);
        self.sessions.extend(other.sessions);
        self.suspicions.extend(other.suspicions);
        self.freezes.extend(other.freezes);
        self.origins.extend(other.origins);
        self.members.extend(other.members);
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.namespaces.extend(other.namespaces.iter().cloned());
        self.services.extend(other.services.iter().cloned());
        self.instances.extend(other.instances.iter().map(|(key, latest)| (key.clone(), latest.clone())));
        self.overrides.extend(other.overrides.iter().cloned());
        self.tombstones.extend(other.tombstones.iter().cloned());
        self.sessions.extend(other.sessions.iter().copied());
        self.suspicions.extend(other.suspicions.iter().cloned());
        self.freezes.extend(other.freezes.iter().cloned());
        self.origins.extend(other.origins.iter().copied());
        self.members.extend(other.members.iter().copied());
    }

    /// Keeps the keys: old values that wait for a store to come back would take the room of many registries.
    pub(super) fn forget_values(&mut self) {
        self.instances.values_mut().for_each(|latest| *latest = Latest::Unknown);
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
            instances: self.instances.into_iter().map(|(key, latest)| latest.row(key, state)).collect(),
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

impl Latest {
    fn row(self, key: InstanceKey, state: &State) -> Row<InstanceKey, Arc<Instance>> {
        let value = match self {
            Self::Is(instance) => Some(instance),
            Self::Gone => None,
            Self::Unknown => state.instance(&key).cloned(),
        };
        row(key, value)
    }
}

fn mark<K: Clone + Eq + Hash, V>(dirty: &mut KeyedSet<K>, rows: &[Row<K, V>]) {
    dirty.extend(rows.iter().map(|row| row.key().clone()));
}

fn rows<K, V>(keys: KeyedSet<K>, value: impl Fn(&K) -> Option<V>) -> Vec<Row<K, V>> {
    let row = |key| {
        let value = value(&key);
        row(key, value)
    };
    keys.into_iter().map(row).collect()
}

fn row<K, V>(key: K, value: Option<V>) -> Row<K, V> {
    match value {
        Some(value) => Row::Put(key, value),
        None => Row::Delete(key),
    }
}
