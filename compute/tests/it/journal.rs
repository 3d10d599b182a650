//! Random changes, late, twice and out of order, against the independent model.

use std::sync::Arc;

use compute::command::Command;
use compute::model::{
    Author, Cause, Change, Entry, Frame, FreezeScope, InstanceKey, Lease, LogIdentity, NodeIncarnation, Op,
    OperatorPatch, Origin, Position, Provider, ProviderSpec, RemovalReason, Revision, Row, Rows, SessionId, Set,
};
use compute::port::Chance;
use compute::port::store::Loaded;
use compute::state::{Deciding, Decision, State};
use compute::testing::SeededChance;

use crate::model::Model;
use crate::world::{key, service};

const IDENTITY: LogIdentity = LogIdentity([9; 16]);

struct Script {
    chance: Arc<SeededChance>,
    state: State,
    model: Model,
    /// Changes decided and not appended yet: they are appended late, in any order, some twice, some never.
    drawer: Vec<Change>,
    counters: [u64; 3],
    sessions: Vec<SessionId>,
    wall_ms: u64,
    applied: usize,
    refused: usize,
    floor: Revision,
}

impl Script {
    fn new(seed: u64) -> Self {
        Self {
            chance: SeededChance::new(seed),
            state: State::new(IDENTITY),
            model: Model::new(),
            drawer: Vec::new(),
            counters: [0; 3],
            sessions: Vec::new(),
            wall_ms: 1_000_000,
            applied: 0,
            refused: 0,
            floor: Revision::ZERO,
        }
    }

    fn below(&self, end: usize) -> usize {
        self.chance.below(end as u64) as usize
    }

    fn some_key(&self) -> InstanceKey {
        key(["orders", "billing"][self.below(2)], ["a", "b", "c", "d"][self.below(4)])
    }

    fn some_provider(&self) -> (Provider, Option<u32>) {
        let session =
            (self.below(4) == 0 && !self.sessions.is_empty()).then(|| self.sessions[self.below(self.sessions.len())]);
        let lease = match session {
            Some(session) => Lease::stream(session, 5_000).expect("a good lease"),
            None => Lease::DEFAULT,
        };
        let incarnation = [None, Some("one".to_owned()), Some("two".to_owned())][self.below(3)].clone();
        let spec = ProviderSpec { lease, incarnation, ..ProviderSpec::at("10.0.0.1", self.below(3) as u16) };
        let epoch = session.and_then(|id| self.state.session(&id)).map(|session| session.epoch);
        (Provider::new(&spec).expect("a good provider"), epoch)
    }

    fn some_command(&mut self) -> Command {
        let instance = self.some_key();
        match self.below(12) {
            0..=4 => {
                let (provider, epoch) = self.some_provider();
                Command::Register { instance, provider: Box::new(provider), epoch, generation: None }
            }
            5 => Command::Deregister { instance, generation: None, reason: RemovalReason::Deregistered },
            6 => Command::Renew { instance, generation: None },
            7 => {
                let isolated = [Set::To(true), Set::Clear][self.below(2)].clone();
                Command::Operate { instance, generation: None, patch: OperatorPatch { isolated, ..Default::default() } }
            }
            8 => {
                let session = SessionId(self.chance.bytes());
                self.sessions.push(session);
                Command::OpenSession { session, grace_ms: 10_000, client: "client".into() }
            }
            9 if !self.sessions.is_empty() => {
                Command::AttachSession { session: self.sessions[self.below(self.sessions.len())] }
            }
            10 if !self.sessions.is_empty() => {
                let session = self.sessions[self.below(self.sessions.len())];
                let epoch = self.state.session(&session).map_or(1, |s| s.epoch);
                Command::CloseSession { session, epoch, deregister: self.below(2) == 0 }
            }
            _ => Command::DeleteService { service: service("orders"), expected: None },
        }
    }

    /// What a keeper of leases might say, right or wrong.
    fn some_word(&self) -> Option<Op> {
        let instance = self.some_key();
        let there = self.state.instance(&instance)?;
        let generation = there.generation;
        let suspicion = self.state.suspicion(&instance).map(|s| s.revision);
        let suspicion = if self.below(8) == 0 { self.floor } else { suspicion? };
        Some(match self.below(4) {
            0 => Op::Refute { instance, suspicion, age_ms: 1 },
            1 => Op::Unhealthy { instance, suspicion },
            2 => Op::Expire { instance, suspicion },
            _ => {
                let cause = match there.lease().session() {
                    Some(session) => Cause::Session { session, epoch: self.below(3) as u32 + 1 },
                    None => Cause::Lapse,
                };
                Op::Suspect { instance, generation, age_ms: 10_000, cause }
            }
        })
    }

    fn some_suspicion(&self) -> Option<Op> {
        let instance = self.some_key();
        let there = self.state.instance(&instance)?;
        let cause = match there.lease().session() {
            Some(session) => Cause::Session { session, epoch: self.state.session(&session)?.epoch },
            None => Cause::Lapse,
        };
        Some(Op::Suspect { generation: there.generation, instance, age_ms: 10_000, cause })
    }

    fn some_freeze(&self) -> Op {
        let scope = match self.below(4) {
            0 => FreezeScope::Node(NodeIncarnation(1)),
            _ => FreezeScope::Service(self.some_key().service),
        };
        let standing = self.state.freezes().find(|(of, _)| **of == scope).map(|(_, freeze)| freeze.revision);
        match standing {
            Some(freeze) if self.below(3) > 0 => Op::Release { scope, freeze },
            None if self.below(8) == 0 => Op::Release { scope, freeze: self.floor },
            _ => Op::Freeze { scope, lapsed: 3, of: 3 },
        }
    }

    fn decide(&mut self) {
        let author = Author::new("somebody", "test");
        let op = match self.below(7) {
            0 => self.some_word(),
            1 => self.some_suspicion(),
            2 => Some(self.some_freeze()),
            _ => {
                let command = self.some_command();
                let by = Deciding { node: NodeIncarnation(1), author: &author, now_ms: self.wall_ms };
                match self.state.decide(&command, by) {
                    Decision::Append(op) => Some(op),
                    Decision::Answer(_) | Decision::Refuse(_) => None,
                }
            }
        };
        let Some(op) = op else { return };
        let node = self.below(3);
        self.counters[node] += 1;
        let origin = Origin { node: NodeIncarnation(node as u64), counter: self.counters[node] };
        self.drawer.push(Change { origin, author, op });
    }

    fn append(&mut self) {
        let mut changes = Vec::new();
        for _ in 0..self.below(4) {
            if self.drawer.is_empty() {
                break;
            }
            let at = self.below(self.drawer.len());
            let change = self.drawer[at].clone();
            // One in five stays in the drawer, to be appended again.
            if self.below(5) > 0 {
                self.drawer.swap_remove(at);
            }
            changes.push(change);
        }
        self.wall_ms = self.wall_ms.wrapping_add_signed([1_000, -500, 0][self.below(3)]);
        self.apply(changes);
    }

    fn apply(&mut self, changes: Vec<Change>) {
        let offset = self.state.position().offset() + 1;
        let position = Position::new(1, offset).expect("in range");
        let frame = Frame { identity: IDENTITY, writer: NodeIncarnation(1), time_ms: self.wall_ms, changes };
        let entry = Entry { position, frame: Arc::new(frame), checksum: offset };
        let before = self.state.log().time_ms;
        let applied = self.state.apply(&entry).expect("the log is whole");
        assert!(self.state.log().time_ms >= before, "the log's time went back");
        for (place, (change, verdict)) in entry.frame.changes.iter().zip(&applied.verdicts).enumerate() {
            let revision = position.at(place as u16);
            self.model.check(change, revision, *verdict);
            match verdict {
                compute::state::Verdict::Applied(_) => self.applied += 1,
                _ => self.refused += 1,
            }
            self.floor = revision;
        }
    }

    fn compare(&self) {
        let mut living = 0;
        for (key, service) in self.state.services() {
            let view = self.state.view(key);
            let digest = view.instances.iter().fold(Default::default(), |sum: compute::model::Digest, i| {
                sum.plus(compute::model::Digest::of(&i.id, i.revision))
            });
            assert_eq!(view.digest, digest, "the digest of {key}");
            assert_eq!(view.counts.healthy as usize, view.instances.iter().filter(|i| i.is_healthy()).count());
            for instance in service.instances() {
                living += 1;
                let known = &self.model.living[&key.instance(instance.id.clone())];
                assert_eq!((instance.generation, instance.revision), (known.generation, known.revision));
                assert_eq!((&instance.provider, instance.is_healthy()), (&known.provider, known.healthy));
                assert_eq!(instance.operator.as_ref().map(|o| o.revision), known.operator);
            }
        }
        let frozen: Vec<_> = self.state.freezes().map(|(scope, freeze)| (scope, &freeze.revision)).collect();
        assert_eq!(frozen, self.model.freezes.iter().collect::<Vec<_>>());
        assert_eq!(living, self.model.living.len());
        assert_eq!(living, self.state.instance_count());
    }
}

#[test]
fn every_verdict_is_that_of_the_model() {
    let (mut applied, mut refused) = (0, 0);
    for seed in 0..200 {
        let mut script = Script::new(seed);
        for _ in 0..400 {
            if script.below(3) < 2 { script.decide() } else { script.append() }
        }
        script.compare();
        applied += script.applied;
        refused += script.refused;
    }
    assert!(applied > 10_000 && refused > 2_000, "the scripts must try both: {applied} applied, {refused} refused");
}

/// Coalesced rows of every landing, laid one over the other, are the state at each watermark.
#[test]
fn a_node_that_boots_at_any_watermark_has_the_whole_state() {
    for seed in 0..40 {
        let mut script = Script::new(seed);
        let mut store = Rows::default();
        for step in 0..300 {
            if script.below(3) < 2 {
                script.decide()
            } else {
                script.append()
            }
            if step % 7 == 0 {
                lay(&mut store, script.state.take_rows());
                let loaded = Loaded { log: Some(script.state.log()), rows: store.clone() };
                let booted = State::load(loaded, IDENTITY).expect("the rows agree");
                assert_eq!(sorted(booted.all_rows()), sorted(script.state.all_rows()));
                assert_eq!(booted.log(), script.state.log());
                let timers = |state: &State| (state.timer_count(), state.next_due_ms());
                assert_eq!(timers(&booted), timers(&script.state));
            }
        }
    }
}

/// What a store would hold after `landed`.
fn lay(store: &mut Rows, landed: Rows) {
    fn one<K: Ord + Clone, V: Clone>(there: &mut Vec<Row<K, V>>, landed: Vec<Row<K, V>>) {
        for row in landed {
            there.retain(|old| old.key() != row.key());
            if matches!(row, Row::Put(..)) {
                there.push(row);
            }
        }
    }
    one(&mut store.namespaces, landed.namespaces);
    one(&mut store.services, landed.services);
    one(&mut store.instances, landed.instances);
    one(&mut store.overrides, landed.overrides);
    one(&mut store.tombstones, landed.tombstones);
    one(&mut store.sessions, landed.sessions);
    one(&mut store.suspicions, landed.suspicions);
    one(&mut store.freezes, landed.freezes);
    one(&mut store.origins, landed.origins);
}

fn sorted(mut rows: Rows) -> Rows {
    rows.namespaces.sort_by(|a, b| a.key().cmp(b.key()));
    rows.services.sort_by(|a, b| a.key().cmp(b.key()));
    rows.instances.sort_by(|a, b| a.key().cmp(b.key()));
    rows.overrides.sort_by(|a, b| a.key().cmp(b.key()));
    rows.tombstones.sort_by(|a, b| a.key().cmp(b.key()));
    rows.sessions.sort_by(|a, b| a.key().cmp(b.key()));
    rows.suspicions.sort_by(|a, b| a.key().cmp(b.key()));
    rows.freezes.sort_by(|a, b| a.key().cmp(b.key()));
    rows.origins.sort_by(|a, b| a.key().cmp(b.key()));
    rows
}
