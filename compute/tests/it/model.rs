//! An independent model of presence: what each decision rests on, checked by reading the whole journal again.
//!
//! It shares nothing with the state machine but the vocabulary, and takes the slow and obvious way everywhere: it keeps
//! every removal for ever, and looks through lists.

use std::collections::{BTreeMap, BTreeSet};

use compute::model::limits::TOMBSTONE_POSITIONS;
use compute::model::{
    Base, Cause, Change, FreezeScope, InstanceKey, LeaseKind, Namespace, Op, Origin, Provider, Revision, ServiceKey,
    SessionId,
};
use compute::state::Verdict;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Living {
    pub(crate) generation: Revision,
    pub(crate) revision: Revision,
    pub(crate) provider: Provider,
    pub(crate) healthy: bool,
    /// The change that set the operator's part.
    pub(crate) operator: Option<Revision>,
}

#[derive(Default)]
pub(crate) struct Model {
    seen: BTreeSet<Origin>,
    pub(crate) living: BTreeMap<InstanceKey, Living>,
    removals: Vec<(InstanceKey, Revision)>,
    services: BTreeMap<ServiceKey, Revision>,
    namespaces: BTreeMap<Namespace, Revision>,
    sessions: BTreeMap<SessionId, u32>,
    suspicions: BTreeMap<InstanceKey, (Revision, Cause)>,
    pub(crate) freezes: BTreeMap<FreezeScope, Revision>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let default = Namespace::new("default").expect("a good name");
        Self { namespaces: BTreeMap::from([(default, Revision::ZERO)]), ..Self::default() }
    }

    /// Whether the change stands, by the model; and the change's effect, if it does.
    pub(crate) fn step(&mut self, change: &Change, revision: Revision) -> bool {
        if !self.seen.insert(change.origin) {
            return false;
        }
        self.stands(&change.op, revision) && {
            self.take(&change.op, revision);
            true
        }
    }

    /// Compares what apply said with what the model says.
    pub(crate) fn check(&mut self, change: &Change, revision: Revision, verdict: Verdict) {
        let stood = self.step(change, revision);
        assert_eq!(stood, matches!(verdict, Verdict::Applied(_)), "{revision}: {:?} was {verdict:?}", change.op);
    }

    fn stands(&self, op: &Op, now: Revision) -> bool {
        match op {
            Op::PutNamespace { namespace, base, .. } => self.rests(self.namespaces.get(namespace), *base, now),
            Op::DeleteNamespace { namespace, base } => {
                let empty = !self.services.keys().any(|s| s.namespace == *namespace);
                self.namespaces.get(namespace) == Some(base) && empty && namespace.as_str() != "default"
            }
            Op::PutService { service, base, .. } => {
                self.namespaces.contains_key(&service.namespace) && self.rests(self.services.get(service), *base, now)
            }
            Op::DeleteService { service, base } => {
                self.services.get(service) == Some(base) && self.members(service) == 0
            }
            // Collection needs the time of the log, which this model does not have: its scripts make none.
            Op::CollectService { .. } => false,
            Op::Register { instance, provider, base, epoch } => {
                let session = provider
                    .lease()
                    .session()
                    .is_none_or(|id| self.sessions.get(&id).is_some_and(|current| Some(*current) == *epoch));
                let returned = match base {
                    Base::At(_) => false,
                    Base::Absent(seen) => {
                        self.removals.iter().any(|(key, at)| key == instance && at.position() > *seen)
                    }
                };
                let there = self.living.get(instance).map(|i| &i.revision);
                session
                    && !returned
                    && self.namespaces.contains_key(&instance.service.namespace)
                    && self.rests(there, *base, now)
            }
            Op::Deregister { instance, generation, .. } => self.is_of(instance, *generation),
            Op::Operate { instance, generation, base, .. } => {
                self.is_of(instance, *generation) && self.living[instance].revision == *base
            }
            Op::EndOverride { instance, operator } => {
                self.living.get(instance).is_some_and(|i| i.operator == Some(*operator))
            }
            Op::Suspect { instance, generation, cause, .. } => {
                let fits = self.is_of(instance, *generation) && {
                    let lease = self.living[instance].provider.lease();
                    match cause {
                        Cause::Lapse => lease.kind() == LeaseKind::Ttl,
                        Cause::Check { .. } => lease.kind() == LeaseKind::Checked,
                        Cause::Session { session, .. } => lease.session() == Some(*session),
                    }
                };
                fits && !self.suspicions.contains_key(instance) && self.is_current(cause)
            }
            Op::Refute { instance, suspicion, .. } | Op::Confirm { instance, suspicion } => {
                self.suspected(instance, *suspicion).is_some()
            }
            Op::Unhealthy { instance, suspicion } => {
                let cause = self.suspected(instance, *suspicion);
                cause.is_some_and(|cause| self.is_current(cause)) && self.living[instance].healthy
            }
            Op::Expire { instance, suspicion } => {
                let cause = self.suspected(instance, *suspicion);
                cause.is_some_and(|cause| self.is_current(cause)) && !self.living[instance].healthy && {
                    self.living[instance].provider.lease().remove_after().is_some()
                }
            }
            Op::OpenSession { session, .. } => !self.sessions.contains_key(session),
            Op::AttachSession { session, epoch, .. } => self.sessions.get(session).is_some_and(|old| old + 1 == *epoch),
            Op::CloseSession { session, epoch, deregister } => {
                self.sessions.get(session) == Some(epoch) && (*deregister || self.held_by(session).is_empty())
            }
            Op::Freeze { scope, .. } => !self.freezes.contains_key(scope) && self.has(scope),
            Op::Release { scope, freeze } => self.freezes.get(scope) == Some(freeze),
        }
    }

    fn rests(&self, there: Option<&Revision>, base: Base, now: Revision) -> bool {
        match base {
            Base::At(revision) => there == Some(&revision),
            Base::Absent(seen) => there.is_none() && seen.offset() + TOMBSTONE_POSITIONS >= now.position().offset(),
        }
    }

    fn is_of(&self, key: &InstanceKey, generation: Revision) -> bool {
        self.living.get(key).is_some_and(|i| i.generation == generation)
    }

    fn has(&self, scope: &FreezeScope) -> bool {
        match scope {
            FreezeScope::Node(_) => true,
            FreezeScope::Service(service) => self.services.contains_key(service),
        }
    }

    fn members(&self, service: &ServiceKey) -> usize {
        self.living.keys().filter(|key| key.service == *service).count()
    }

    fn held_by(&self, session: &SessionId) -> Vec<InstanceKey> {
        let held = self.living.iter().filter(|(_, i)| i.provider.lease().session() == Some(*session));
        held.map(|(key, _)| key.clone()).collect()
    }

    fn suspected(&self, key: &InstanceKey, suspicion: Revision) -> Option<&Cause> {
        self.suspicions.get(key).filter(|(at, _)| *at == suspicion).map(|(_, cause)| cause)
    }

    fn is_current(&self, cause: &Cause) -> bool {
        match cause {
            Cause::Session { session, epoch } => self.sessions.get(session).is_none_or(|current| current == epoch),
            _ => true,
        }
    }

    fn take(&mut self, op: &Op, now: Revision) {
        match op {
            Op::PutNamespace { namespace, .. } => drop(self.namespaces.insert(namespace.clone(), now)),
            Op::DeleteNamespace { namespace, .. } => drop(self.namespaces.remove(namespace)),
            Op::PutService { service, .. } => drop(self.services.insert(service.clone(), now)),
            Op::DeleteService { service, .. } => {
                self.services.remove(service);
                self.freezes.remove(&FreezeScope::Service(service.clone()));
            }
            Op::Register { instance, provider, .. } => self.register(instance, provider, now),
            Op::Deregister { instance, .. } | Op::Expire { instance, .. } => self.remove(instance, now),
            Op::Operate { instance, operator, .. } => {
                let set = operator.as_ref().map(|_| now);
                self.change(instance, now, |i| i.operator = set);
            }
            Op::EndOverride { instance, .. } => self.change(instance, now, |i| i.operator = None),
            Op::Suspect { instance, cause, .. } => {
                self.suspicions.insert(instance.clone(), (now, cause.clone()));
            }
            Op::Refute { instance, .. } => self.clear(instance, now),
            Op::Unhealthy { instance, .. } => self.change(instance, now, |i| i.healthy = false),
            Op::OpenSession { session, .. } => drop(self.sessions.insert(*session, 1)),
            Op::AttachSession { session, epoch, .. } => {
                self.sessions.insert(*session, *epoch);
                self.held_by(session).iter().for_each(|key| self.clear(key, now));
            }
            Op::CloseSession { session, .. } => {
                self.held_by(session).iter().for_each(|key| self.remove(key, now));
                self.sessions.remove(session);
            }
            Op::Freeze { scope, .. } => drop(self.freezes.insert(scope.clone(), now)),
            Op::Release { scope, .. } => drop(self.freezes.remove(scope)),
            Op::CollectService { .. } | Op::Confirm { .. } => {}
        }
    }

    fn register(&mut self, key: &InstanceKey, provider: &Provider, now: Revision) {
        self.services.entry(key.service.clone()).or_insert(now);
        self.suspicions.remove(key);
        let old = self.living.get(key);
        let reborn = old.is_none_or(|old| {
            old.provider.incarnation() != provider.incarnation()
                || old.provider.lease().session() != provider.lease().session()
        });
        let generation = old.filter(|_| !reborn).map_or(now, |old| old.generation);
        // The scripts keep no override beyond a life, so the operator's part goes on within one process only.
        let same_process = old.is_some_and(|old| old.provider.is_same_process_as(provider));
        let operator = old.filter(|_| !reborn || same_process).and_then(|old| old.operator);
        let provider = provider.clone();
        self.living.insert(key.clone(), Living { generation, revision: now, provider, healthy: true, operator });
    }

    fn remove(&mut self, key: &InstanceKey, now: Revision) {
        self.living.remove(key);
        self.suspicions.remove(key);
        self.removals.push((key.clone(), now));
    }

    fn change(&mut self, key: &InstanceKey, now: Revision, change: impl FnOnce(&mut Living)) {
        let living = self.living.get_mut(key).expect("it stood");
        change(living);
        living.revision = now;
    }

    fn clear(&mut self, key: &InstanceKey, now: Revision) {
        self.suspicions.remove(key);
        if !self.living[key].healthy {
            self.change(key, now, |i| i.healthy = true);
        }
    }
}
