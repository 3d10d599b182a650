//! A node reduced to what leases need: it applies what the table says, after a delay, in the order in which apply tells
//! of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::model::{
    Check, CheckKind, FreezeScope, Health, HealthReason, Instance, InstanceId, InstanceKey, Lease, LeaseCell,
    NodeIncarnation, Op, Position, Provider, ProviderSpec, Revision, ServiceKey, SessionId, Suspicion,
};
use crate::port::clock::MonoMs;
use crate::state::freeze::Members;
use crate::state::lease_table::{Conditions, LeaseTable};

/// The revision of the `n`th change.
pub(in crate::state) fn revision(n: u64) -> Revision {
    Position::new(1, n).unwrap().at(0)
}

pub(in crate::state) fn instance(id: &InstanceId, lease: Lease, generation: u64) -> Arc<Instance> {
    let spec = ProviderSpec { lease, ..ProviderSpec::at("10.0.0.1", 80) };
    Arc::new(Instance {
        id: id.clone(),
        provider: Provider::new(&spec).unwrap(),
        health: Health::good(0),
        operator: None,
        registered_at_ms: 0,
        generation: revision(generation),
        revision: revision(generation),
        cell: Arc::new(LeaseCell::default()),
    })
}

pub(in crate::state) fn key(text: &str) -> InstanceKey {
    let (service, id) = text.split_once('/').unwrap();
    InstanceKey::new("default", service, id).unwrap()
}

pub(super) fn service(text: &str) -> ServiceKey {
    ServiceKey::new("default", text).unwrap()
}

pub(super) fn session(text: &str) -> SessionId {
    let mut id = [0; 16];
    id[..text.len()].copy_from_slice(text.as_bytes());
    SessionId(id)
}

pub(in crate::state) fn checked(remove_after_ms: Option<u64>) -> Lease {
    Lease::checked(Check::new(CheckKind::Tcp, 5_000, 1_000, 3, 1, None).unwrap(), remove_after_ms).unwrap()
}

/// What happened, in its order.
#[derive(Clone, Debug)]
pub(super) enum Past {
    Said(Op),
    Applied(Op),
    Heard(InstanceKey),
    Gone(InstanceKey),
    Released(FreezeScope),
}

/// How often one beats that does so by itself.
const BEAT_MS: MonoMs = 5_000;

#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) epoch: u32,
    pub(super) grace_ms: u32,
}

pub(super) struct World {
    pub(super) now: MonoMs,
    pub(super) table: LeaseTable,
    pub(super) is_alone: bool,
    pub(super) barrier: Option<Position>,
    me: NodeIncarnation,
    pub(super) instances: BTreeMap<InstanceKey, Arc<Instance>>,
    pub(super) suspicions: BTreeMap<InstanceKey, Suspicion>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) freezes: BTreeMap<FreezeScope, Revision>,
    pub(super) thresholds: BTreeMap<ServiceKey, f64>,
    changes: u64,
    /// From said to applied.
    pub(super) delay_ms: MonoMs,
    /// What is said is lost.
    pub(super) loses: bool,
    /// What is said comes back as refused.
    pub(super) refuses: bool,
    /// When it is applied, and whether a heartbeat waits for it.
    in_flight: VecDeque<(MonoMs, Op, bool)>,
    /// Heartbeats that were answered because their refute was applied.
    pub(super) answered: Vec<(MonoMs, InstanceKey)>,
    /// Who sends heartbeats by itself, by the time of the next one.
    pub(super) beats: BTreeSet<(MonoMs, InstanceKey)>,
    /// Everything said by the table, and everything that the node said because of a heartbeat.
    pub(super) said: Vec<(MonoMs, Op)>,
    /// What was applied, with its time.
    pub(super) applied: Vec<(MonoMs, Op)>,
    pub(super) past: Vec<(MonoMs, Past)>,
}

impl World {
    pub(super) fn new() -> Self {
        let me = NodeIncarnation(1);
        Self {
            now: 0,
            table: LeaseTable::new(me),
            is_alone: true,
            barrier: None,
            me,
            instances: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            sessions: BTreeMap::new(),
            freezes: BTreeMap::new(),
            thresholds: BTreeMap::new(),
            changes: 0,
            delay_ms: 1,
            loses: false,
            refuses: false,
            in_flight: VecDeque::new(),
            answered: Vec::new(),
            beats: BTreeSet::new(),
            said: Vec::new(),
            applied: Vec::new(),
            past: Vec::new(),
        }
    }

    /// Lets time pass, waking exactly when something is due.
    pub(super) fn run_until(&mut self, until: MonoMs) {
        self.wake();
        loop {
            let applies = self.in_flight.front().map(|(at, ..)| *at);
            let due = self.table.next_deadline().map(|at| at.max(self.now));
            let beats = self.beats.first().map(|(at, _)| *at);
            match applies.into_iter().chain(due).chain(beats).min().filter(|at| *at <= until) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.beat();
            self.wake();
        }
        self.now = self.now.max(until);
    }

    fn beat(&mut self) {
        while self.beats.first().is_some_and(|(at, _)| *at <= self.now)
            && let Some((_, key)) = self.beats.pop_first()
        {
            self.renew(&key);
            self.beats.insert((self.now + BEAT_MS, key));
        }
    }

    /// Time passes, and the node does not run.
    pub(super) fn sleep(&mut self, ms: MonoMs) {
        self.now += ms;
    }

    pub(super) fn wake(&mut self) {
        for _ in 0..100 {
            while let Some((_, op, answers)) = self.in_flight.pop_front_if(|(at, ..)| *at <= self.now) {
                if let Op::Refute { instance, .. } = &op
                    && answers
                {
                    self.answered.push((self.now, instance.clone()));
                }
                self.apply(op);
            }
            let mut out = Vec::new();
            let (instances, thresholds) = (&self.instances, &self.thresholds);
            let members = |service: &ServiceKey| members(instances, thresholds, service);
            let conditions = Conditions { is_alone: self.is_alone, barrier: self.barrier };
            self.table.due(self.now, conditions, &members, &mut out);
            let is_quiet = out.is_empty();
            out.into_iter().for_each(|op| self.say(op, false));
            let applies = self.in_flight.front().is_some_and(|(at, ..)| *at <= self.now);
            let due = self.table.next_deadline().is_some_and(|at| at <= self.now);
            if !applies && (!due || is_quiet) {
                assert!(!due, "the table wants to be asked and has nothing to say at {}", self.now);
                return;
            }
        }
        panic!("the table has always more to say at {}", self.now);
    }

    fn say(&mut self, op: Op, answers: bool) {
        self.said.push((self.now, op.clone()));
        self.past.push((self.now, Past::Said(op.clone())));
        if self.refuses {
            self.table.refused(&op, self.now);
        } else if !self.loses {
            self.in_flight.push_back((self.now + self.delay_ms, op, answers));
        }
    }

    /// How often it was applied.
    pub(super) fn count(&self, is_it: impl Fn(&Op) -> bool) -> usize {
        self.applied.iter().filter(|(_, op)| is_it(op)).count()
    }

    fn change(&mut self) -> Revision {
        self.changes += 1;
        revision(self.changes)
    }

    pub(super) fn register(&mut self, key: &InstanceKey, lease: Lease) {
        let revision = self.change();
        self.past.push((self.now, Past::Heard(key.clone())));
        let is_reborn = self.instances.get(key).is_none_or(|old| old.lease().session() != lease.session());
        let new = instance(&key.id, lease, revision.position().offset());
        let new = match self.instances.get(key).filter(|_| !is_reborn) {
            None => new,
            Some(old) => {
                let (provider, health) = (new.provider.clone(), Health::good(0));
                Arc::new(Instance { provider, health, revision, ..old.as_ref().clone() })
            }
        };
        if self.suspicions.contains_key(key) {
            self.clear(key, None);
        }
        let terms = self.instances.get(key).map(|old| old.lease().clone());
        self.instances.insert(key.clone(), new.clone());
        if is_reborn || terms.as_ref() != Some(new.lease()) {
            self.table.begin(key, &new, self.now);
        } else {
            self.table.heard(key, &new, self.now);
        }
    }

    /// A register whose lease is another node's.
    pub(super) fn register_elsewhere(&mut self, key: &InstanceKey, lease: Lease) {
        let revision = self.change();
        let new = instance(&key.id, lease, revision.position().offset());
        new.cell.assume(self.now);
        self.instances.insert(key.clone(), new);
    }

    pub(super) fn take_over(&mut self, key: &InstanceKey, since: MonoMs) {
        let (instance, standing) = (self.instances[key].clone(), self.suspicions.get(key).cloned());
        self.table.take_over(key, &instance, standing.as_ref(), since, self.now);
    }

    /// What another node says, and the log takes.
    pub(super) fn said_elsewhere(&mut self, op: Op) {
        self.apply(op);
    }

    /// An operator changes something.
    pub(super) fn operate(&mut self, key: &InstanceKey) {
        let revision = self.change();
        let old = self.instances[key].as_ref().clone();
        let new = Arc::new(Instance { revision, ..old });
        self.instances.insert(key.clone(), new.clone());
        self.table.replaced(key, &new);
    }

    pub(super) fn remove(&mut self, key: &InstanceKey) {
        let Some(old) = self.instances.remove(key) else { return };
        self.past.push((self.now, Past::Gone(key.clone())));
        if self.suspicions.contains_key(key) {
            self.clear(key, None);
        }
        self.table.end(key, old.generation, self.now);
    }

    /// A heartbeat comes; that of a suspect goes through the log.
    pub(super) fn renew(&mut self, key: &InstanceKey) {
        let Some(instance) = self.instances.get(key) else { return };
        self.past.push((self.now, Past::Heard(key.clone())));
        if instance.cell.renew(self.now)
            && let Some(suspicion) = self.suspicions.get(key)
        {
            let op = Op::Refute { instance: key.clone(), suspicion: suspicion.revision, age_ms: 0 };
            self.say(op, true);
        }
    }

    /// Another node refutes, with its own age.
    pub(super) fn hear_elsewhere(&mut self, key: &InstanceKey, suspicion: Revision, age_ms: u64) {
        self.apply(Op::Refute { instance: key.clone(), suspicion, age_ms });
    }

    pub(super) fn open(&mut self, id: SessionId, grace_ms: u32) {
        self.sessions.insert(id, Session { epoch: 1, grace_ms });
        self.table.session_attached(id, 1, grace_ms, true, self.now);
    }

    pub(super) fn attach(&mut self, id: SessionId, here: bool) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.epoch += 1;
        let Session { epoch, grace_ms } = *session;
        self.table.session_attached(id, epoch, grace_ms, here, self.now);
        let of_it = |i: &Instance| i.lease().session() == Some(id);
        let leases: Vec<_> = self.instances.iter().filter(|(_, i)| of_it(i)).map(|(key, _)| key.clone()).collect();
        for key in leases {
            if self.suspicions.contains_key(&key) {
                self.clear(&key, Some(0));
            }
            self.heal(&key);
        }
    }

    pub(super) fn held(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get(&id) {
            self.table.session_held(id, session.epoch, self.now);
        }
    }

    pub(super) fn lose(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get(&id) {
            self.table.session_lost(id, session.epoch, self.now);
        }
    }

    /// An explicit goodbye that deregisters.
    pub(super) fn close(&mut self, id: SessionId) {
        let of_it = |i: &Instance| i.lease().session() == Some(id);
        let leases: Vec<_> = self.instances.iter().filter(|(_, i)| of_it(i)).map(|(key, _)| key.clone()).collect();
        leases.iter().for_each(|key| self.remove(key));
        self.sessions.remove(&id);
        self.table.session_closed(id);
    }

    pub(super) fn release_freeze(&mut self, scope: &FreezeScope) {
        if self.freezes.remove(scope).is_some() {
            self.past.push((self.now, Past::Released(scope.clone())));
            self.table.released(scope);
        }
    }

    /// Everything dies but the log and the store, and comes back after a while on another clock.
    pub(super) fn restart(&mut self) {
        self.me = NodeIncarnation(self.me.0 + 1);
        self.table = LeaseTable::new(self.me);
        self.in_flight.clear();
        let sessions: Vec<_> = self.sessions.iter().map(|(id, session)| (*id, session.clone())).collect();
        for (id, session) in sessions {
            self.table.session_attached(id, session.epoch, session.grace_ms, true, self.now);
        }
        let keys: Vec<_> = self.instances.keys().cloned().collect();
        for key in keys {
            let loaded = Instance { cell: Arc::default(), ..self.instances[&key].as_ref().clone() };
            let loaded = Arc::new(loaded);
            self.instances.insert(key.clone(), loaded.clone());
            self.table.begin(&key, &loaded, self.now);
            if let Some(suspicion) = self.suspicions.get(&key) {
                loaded.cell.suspect(suspicion.revision);
                self.table.suspected(&key, suspicion, self.now);
            }
            if !loaded.is_healthy() {
                self.table.unhealthy(&key, self.now);
            }
        }
        for (scope, freeze) in &self.freezes {
            self.table.frozen(scope, *freeze, self.now);
        }
        self.table.ready(self.now);
    }

    fn clear(&mut self, key: &InstanceKey, age_ms: Option<u64>) {
        self.suspicions.remove(key);
        if let Some(instance) = self.instances.get(key) {
            instance.cell.clear();
        }
        self.table.cleared(key, age_ms, self.now);
    }

    fn heal(&mut self, key: &InstanceKey) {
        self.set_health(key, None);
    }

    fn set_health(&mut self, key: &InstanceKey, reason: Option<HealthReason>) {
        let Some(old) = self.instances.get(key) else { return };
        let new = Arc::new(Instance { health: Health { reason, since_ms: 0 }, ..old.as_ref().clone() });
        self.instances.insert(key.clone(), new.clone());
        self.table.replaced(key, &new);
    }

    fn standing(&self, key: &InstanceKey, suspicion: Revision) -> Option<Suspicion> {
        self.suspicions.get(key).filter(|standing| standing.revision == suspicion).cloned()
    }

    /// As apply does: what does not stand any more is ignored.
    fn apply(&mut self, op: Op) {
        let revision = self.change();
        if self.take_effect(&op, revision) {
            self.past.push((self.now, Past::Applied(op.clone())));
            self.applied.push((self.now, op));
        } else {
            self.table.refused(&op, self.now);
        }
    }

    fn take_effect(&mut self, op: &Op, revision: Revision) -> bool {
        match op {
            Op::Suspect { instance: key, generation, age_ms, cause } => {
                let Some(instance) = self.instances.get(key).filter(|i| i.generation == *generation) else {
                    return false;
                };
                if self.suspicions.contains_key(key) {
                    return false;
                }
                let suspicion = Suspicion { revision, generation: *generation, age_ms: *age_ms, cause: cause.clone() };
                instance.cell.suspect(revision);
                self.suspicions.insert(key.clone(), suspicion.clone());
                self.table.suspected(key, &suspicion, self.now);
            }
            Op::Refute { instance: key, suspicion, age_ms } => {
                if self.standing(key, *suspicion).is_none() {
                    return false;
                }
                self.clear(key, Some(*age_ms));
                self.heal(key);
            }
            Op::Unhealthy { instance: key, suspicion } => {
                let Some(standing) = self.standing(key, *suspicion) else { return false };
                if !self.instances[key].is_healthy() {
                    return false;
                }
                self.set_health(key, Some(standing.cause.reason()));
                self.table.unhealthy(key, self.now);
            }
            Op::Expire { instance: key, suspicion } => {
                if self.standing(key, *suspicion).is_none() || self.instances[key].is_healthy() {
                    return false;
                }
                self.remove(key);
            }
            Op::CloseSession { session, epoch, .. } => {
                let has_leases = self.instances.values().any(|i| i.lease().session() == Some(*session));
                if has_leases || self.sessions.get(session).is_none_or(|s| s.epoch != *epoch) {
                    return false;
                }
                self.sessions.remove(session);
                self.table.session_closed(*session);
            }
            Op::Freeze { scope, .. } => {
                if self.freezes.contains_key(scope) {
                    return false;
                }
                self.freezes.insert(scope.clone(), revision);
                self.table.frozen(scope, revision, self.now);
            }
            Op::Release { scope, freeze } => {
                if self.freezes.get(scope) != Some(freeze) {
                    return false;
                }
                self.release_freeze(scope);
            }
            other => panic!("no word of the table: {other:?}"),
        }
        true
    }
}

fn members(
    instances: &BTreeMap<InstanceKey, Arc<Instance>>,
    thresholds: &BTreeMap<ServiceKey, f64>,
    service: &ServiceKey,
) -> Members {
    // No id in these tests is below this one.
    let first = service.instance(InstanceId::new("!").unwrap());
    let of_it = || instances.range(&first..).take_while(|(key, _)| key.service == *service);
    Members {
        all: of_it().count() as u32,
        healthy: of_it().filter(|(_, instance)| instance.is_healthy()).count() as u32,
        protect_threshold: thresholds.get(service).copied().unwrap_or(0.0),
        ..Members::default()
    }
}
