//! Pure and synchronous: command + now -> changes, and changes -> state. The only place that decides.
//!
//! - [`State::decide`] turns a command into a change, an answer, or a refusal. It reads; it changes nothing.
//! - [`State::apply`] takes a frame of the log. The same log gives the same state on every node: it reads nothing but
//!   the frame and the state, no clock and no chance. Every change names what it rests on, and is ignored when that no
//!   longer stands.
//! - [`ownership`] says whose lease is whose, the same on every node.
//! - [`lease_table`], [`witness`] and [`freeze`] are this node's own: how old the leases are that it owns, what it heard
//!   of those of others, and what is to be said to the log about them.

mod apply;
mod decide;
mod dirty;
pub mod freeze;
pub mod lease_table;
mod members;
mod origins;
pub mod ownership;
pub mod planted;
mod ranges;
mod sealed;
mod service;
mod timers;
mod tombstones;
mod verdict;
pub mod witness;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::command::KeptOverride;
use crate::keyed::{Keyed, KeyedSet};
use crate::model::{
    Digest, Freeze, FreezeScope, Instance, InstanceKey, LogIdentity, LogState, Namespace, NamespaceRow,
    NamespaceSettings, NodeIncarnation, OverrideRow, Position, RemovalReason, Revision, Row, Rows, ServiceKey, Session,
    SessionId, Suspicion,
};
use crate::port::store::Loaded;
use crate::view::View;

pub use apply::{Applied, LeaseEvent};
pub use decide::{Deciding, Decision};
pub(crate) use sealed::Unlanded;
pub use service::Service;
pub use verdict::{LogBroken, Refusal, Verdict};

use dirty::Dirty;
use members::Members;
use origins::Origins;
use ranges::Ranges;
use timers::Timers;
use tombstones::Tombstones;

/// Everything that the log says, and nothing else.
pub struct State {
    namespaces: BTreeMap<Namespace, NamespaceState>,
    services: Keyed<ServiceKey, Service>,
    overrides: BTreeMap<InstanceKey, OverrideRow>,
    tombstones: Tombstones,
    sessions: BTreeMap<SessionId, SessionState>,
    /// How many of them each node answers for.
    sessions_of: HashMap<NodeIncarnation, usize>,
    suspicions: BTreeMap<InstanceKey, Suspicion>,
    freezes: BTreeMap<FreezeScope, Freeze>,
    origins: Origins,
    members: Members,
    log: LogState,
    instances: usize,
    digest: Digest,
    timers: Timers,
    /// What changed in the open range of the log.
    dirty: Dirty,
    ranges: Ranges,
}

struct NamespaceState {
    row: NamespaceRow,
    services: usize,
}

struct SessionState {
    row: Session,
    leases: KeyedSet<InstanceKey>,
}

impl SessionState {
    /// In the order of their keys: every node does the same with them in the same order.
    fn leases_in_order(&self) -> Vec<InstanceKey> {
        let mut leases: Vec<_> = self.leases.iter().cloned().collect();
        leases.sort_unstable();
        leases
    }
}

/// The rows of a store contradict each other: what was read can't be the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("the instances of {service} have digest {found}, its row says {expected}")]
    Digest { service: ServiceKey, expected: crate::model::Digest, found: crate::model::Digest },
    #[error("{0} has no service row")]
    Orphan(InstanceKey),
    #[error("{0} has no namespace row")]
    Homeless(ServiceKey),
}

impl State {
    /// The state before the first frame of a log.
    pub fn new(identity: LogIdentity) -> Self {
        let row = NamespaceRow { settings: NamespaceSettings::default(), created_at_ms: 0, revision: Revision::ZERO };
        let default = NamespaceState { row, services: 0 };
        Self {
            namespaces: BTreeMap::from([(Namespace::default_namespace(), default)]),
            services: Keyed::default(),
            overrides: BTreeMap::new(),
            tombstones: Tombstones::default(),
            sessions: BTreeMap::new(),
            sessions_of: HashMap::new(),
            suspicions: BTreeMap::new(),
            freezes: BTreeMap::new(),
            origins: Origins::default(),
            members: Members::default(),
            log: LogState { identity, watermark: Position::ZERO, time_ms: 0, rolling_hash: 0 },
            instances: 0,
            digest: Digest::default(),
            timers: Timers::default(),
            dirty: Dirty::default(),
            ranges: Ranges::default(),
        }
    }

    /// The state that a store holds. `identity` is that of the log, for a store that is bound to none yet.
    pub fn load(loaded: Loaded, identity: LogIdentity) -> Result<Self, LoadError> {
        let mut state = Self::new(loaded.log.map_or(identity, |log| log.identity));
        if let Some(log) = loaded.log {
            state.log = log;
            state.ranges = Ranges::behind(log.watermark);
        }
        let rows = loaded.rows;
        for (namespace, row) in puts(rows.namespaces) {
            state.namespaces.insert(namespace, NamespaceState { row, services: 0 });
        }
        let mut digests = Vec::with_capacity(rows.services.len());
        for (key, row) in puts(rows.services) {
            let Some(namespace) = state.namespaces.get_mut(&key.namespace) else {
                return Err(LoadError::Homeless(key));
            };
            namespace.services += 1;
            digests.push((key.clone(), row.digest));
            state.services.insert(key, Service::loaded(row));
        }
        for (key, instance) in puts(rows.instances) {
            let Some(service) = state.services.get_mut(&key.service) else { return Err(LoadError::Orphan(key)) };
            service.load(instance);
            state.instances += 1;
        }
        for (service, expected) in digests {
            let found = state.services.get_mut(&service).map(Service::seal).unwrap_or_default();
            state.digest = state.digest.plus(found);
            if found != expected {
                return Err(LoadError::Digest { service, expected, found });
            }
        }
        state.overrides = puts(rows.overrides).collect();
        puts(rows.tombstones).for_each(|(key, tombstone)| state.tombstones.insert(key, tombstone));
        for (id, row) in puts(rows.sessions) {
            *state.sessions_of.entry(row.node).or_default() += 1;
            state.sessions.insert(id, SessionState { row, leases: KeyedSet::default() });
        }
        state.suspicions = puts(rows.suspicions).collect();
        state.freezes = puts(rows.freezes).collect();
        puts(rows.origins).for_each(|(node, row)| state.origins.insert(node, row));
        puts(rows.members).for_each(|(node, row)| state.members.insert(node, row));
        state.index();
        Ok(state)
    }

    /// Derives what the rows only imply: leases of sessions, marks of suspects, timers.
    fn index(&mut self) {
        for (key, service) in &self.services {
            for instance in service.instances() {
                let owner = instance.lease().session().and_then(|id| self.sessions.get_mut(&id));
                if let Some(session) = owner {
                    session.leases.insert(key.instance(instance.id.clone()));
                }
                if let Some(at) = instance.operator.as_ref().and_then(|o| o.expires_at_ms) {
                    self.timers.set_override(&key.instance(instance.id.clone()), Some(at));
                }
            }
            self.timers.set_service(key, service.collectable_at_ms());
        }
        for (key, kept) in &self.overrides {
            self.timers.set_override(key, Some(kept.until_ms));
        }
        for (key, suspicion) in &self.suspicions {
            if let Some(instance) = self.services.get(&key.service).and_then(|s| s.get(&key.id)) {
                instance.cell.suspect(suspicion.revision);
            }
        }
    }

    pub fn log(&self) -> LogState {
        self.log
    }

    /// Of all instances: the sum of all services' digests.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Everything up to here is applied.
    pub fn position(&self) -> Position {
        self.log.watermark
    }

    pub fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.services.get(key)
    }

    pub fn services(&self) -> impl Iterator<Item = (&ServiceKey, &Service)> {
        self.services.iter()
    }

    pub fn instance(&self, key: &InstanceKey) -> Option<&Arc<Instance>> {
        self.services.get(&key.service)?.get(&key.id)
    }

    /// In another life of the log: whether an instance was not there at `at`, of an earlier one in which `end` had been
    /// applied, and for all that is remembered never since.
    pub(crate) fn is_absent_since(&self, key: &InstanceKey, at: Position, end: Position) -> bool {
        self.instance(key).is_none() && self.tombstones.get(key).is_none() && at >= Tombstones::floor(end)
    }

    /// Who of a service expired last, and when in log time; nobody, if the last to go went otherwise or if another
    /// instance has come since.
    pub fn last_expired(&self, service: &ServiceKey) -> Option<(&InstanceKey, u64)> {
        let there = self.service(service)?;
        let removal = there.row().last_removal.as_ref().filter(|removal| removal.reason == RemovalReason::Expired)?;
        let is_replaced = there.instances().iter().any(|instance| instance.generation > removal.revision);
        let gone = self.tombstones.removed_by(removal.revision).filter(|_| !is_replaced)?;
        Some((gone, removal.at_ms))
    }

    pub fn namespaces(&self) -> impl Iterator<Item = (&Namespace, &NamespaceRow)> {
        self.namespaces.iter().map(|(name, namespace)| (name, &namespace.row))
    }

    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (id, &session.row))
    }

    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id).map(|session| &session.row)
    }

    pub fn suspicion(&self, key: &InstanceKey) -> Option<&Suspicion> {
        self.suspicions.get(key)
    }

    pub fn suspicions(&self) -> impl Iterator<Item = (&InstanceKey, &Suspicion)> {
        self.suspicions.iter()
    }

    pub fn freezes(&self) -> impl Iterator<Item = (&FreezeScope, &Freeze)> {
        self.freezes.iter()
    }

    pub fn freeze(&self, scope: &FreezeScope) -> Option<&Freeze> {
        self.freezes.get(scope)
    }

    pub fn instance_count(&self) -> usize {
        self.instances
    }

    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Sessions that `node` answers for.
    pub fn sessions_of(&self, node: NodeIncarnation) -> usize {
        self.sessions_of.get(&node).copied().unwrap_or_default()
    }

    fn leave_node(&mut self, node: NodeIncarnation) {
        if let Some(sessions) = self.sessions_of.get_mut(&node) {
            *sessions -= 1;
            if *sessions == 0 {
                self.sessions_of.remove(&node);
            }
        }
    }

    /// Operators' words that outlived their instances, by id.
    pub fn kept_overrides(&self, service: &ServiceKey) -> Vec<KeptOverride> {
        let kept = self.kept_of(service);
        kept.map(|(key, row)| KeptOverride { instance: key.clone(), row: row.clone() }).collect()
    }

    fn kept_of(&self, service: &ServiceKey) -> impl Iterator<Item = (&InstanceKey, &OverrideRow)> {
        let behind = self.overrides.range(service.first_instance()..);
        behind.take_while(move |(key, _)| key.service == *service)
    }

    /// The services of which something is kept.
    pub fn services_with_kept(&self) -> BTreeSet<ServiceKey> {
        self.overrides.keys().map(|key| key.service.clone()).collect()
    }

    pub fn kept_count(&self) -> usize {
        self.overrides.len()
    }

    pub fn tombstone_count(&self) -> usize {
        self.tombstones.len()
    }

    /// What readers get of a service.
    pub fn view(&self, key: &ServiceKey) -> View {
        self.services.get(key).map_or_else(|| View::unknown(key.clone()), |service| service.view(key.clone()))
    }

    /// The whole state as rows.
    pub fn all_rows(&self) -> Rows {
        Dirty::everything(self).rows(self)
    }

    /// Takes the place of `old`, another state at the same position of the same log: heartbeats that this node has heard
    /// are heard here, too.
    pub(crate) fn share_cells(&mut self, old: &Self) {
        for (key, service) in &mut self.services {
            if let Some(there) = old.services.get(key) {
                service.share_cells(there);
            }
            for instance in service.instances() {
                match self.suspicions.get(&key.instance(instance.id.clone())) {
                    Some(suspicion) => instance.cell.suspect(suspicion.revision),
                    None => instance.cell.clear(),
                }
            }
        }
    }

    fn node_of(&self, node: &NodeIncarnation) -> Option<crate::model::OriginRow> {
        self.origins.get(*node)
    }
}

fn puts<K, V>(rows: Vec<Row<K, V>>) -> impl Iterator<Item = (K, V)> {
    rows.into_iter().filter_map(|row| match row {
        Row::Put(key, value) => Some((key, value)),
        Row::Delete(_) => None,
    })
}

#[cfg(test)]
mod tests;
