//! The journal of real nodes, through refusals, unknown outcomes, late frames, a slow store, crashes and restarts: the
//! model reads all of it again, and comes to the same verdicts, the same rows and the same revisions.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use compute::command::{Ack, Answer, Caller, Command, Outcome, Reached, ServicePatch};
use compute::model::{
    Author, Check, CheckKind, InstanceKey, Lease, NamespaceSettings, OperatorPatch, Position, Process, Provider,
    ProviderSpec, RemovalReason, Revision, ServiceKey, Set,
};
use compute::node::{Config, Node, Parts};
use compute::port::prober::{Probed, Prober};
use compute::port::{Chance, ChangeLog, Clock, PresenceStore};
use compute::registry::Attached;
use compute::state::{State, Verdict};
use compute::testing::change_log::Rates;
use compute::testing::model::{Model, differences};
use compute::testing::store::{FaultyStore, MemoryStore, Odds};
use compute::testing::{MemoryJournal, SeededChance};
use compute::{Registry, model::Namespace};

use crate::journal::Seen;
use crate::world::{World, deregister, key, must, provider, register};

const VALID: &str = "within the limits";
const DAY_MS: u64 = 86_400_000;

/// Some answer and some do not, as chance has it.
struct Moody(Arc<SeededChance>);

#[async_trait]
impl Prober for Moody {
    async fn probe(&self, _: &str, _: u16, _: &Check) -> Probed {
        // In long spells: else no threshold is ever reached.
        if self.0.below(3) == 0 { Probed::Success } else { Probed::Failure("no answer".into()) }
    }
}

type Outcomes = Arc<Mutex<Vec<Outcome>>>;
type Held = Arc<Mutex<Vec<Attached>>>;

/// Lives of one node after the other, on one log and one store, with one journal.
struct Lives {
    chance: Arc<SeededChance>,
    world: World,
    store: Arc<FaultyStore<MemoryStore>>,
    journal: Arc<MemoryJournal>,
    /// What callers were told.
    outcomes: Outcomes,
}

impl Lives {
    fn new(seed: u64) -> Self {
        let (mut world, chance) = (World::new(), SeededChance::new(seed));
        let store = FaultyStore::new(MemoryStore::new(), world.clock.clone(), chance.clone());
        world.store = store.clone();
        world.chance = SeededChance::new(seed + 1_000_000);
        Self { chance, world, store, journal: MemoryJournal::new(), outcomes: Outcomes::default() }
    }

    fn below(&self, end: usize) -> usize {
        self.chance.below(end as u64) as usize
    }

    fn one_of<T: Clone>(&self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// Starts a node, as often as it takes: a log or store that fails now answers later.
    async fn boot(&self) -> Node {
        for _ in 0..50 {
            let parts = Parts {
                snapshot: None,
                journal: Some(self.journal.clone()),
                prober: Arc::new(Moody(self.chance.clone())),
                ..self.world.parts()
            };
            match self.world.drive(compute::node::start(parts, Config::default())).await {
                Ok(node) => return node,
                Err(error) => assert!(!error.to_string().contains("lost"), "{error}"),
            }
        }
        panic!("the node does not start");
    }

    /// `late`: of landings that come when they are not waited for any more.
    fn let_it_fail(&self, late: u16) {
        let rates = Rates { refused: 60, applied: 60, lost: 60, late: 60, away: 20 };
        self.world.log.by_chance(self.chance.clone(), rates);
        let delay_max = Duration::from_millis(3_000);
        self.store.set_odds(Odds { refuse: 60, lose: 60, obscure: 60, late, delay: 200, delay_max });
    }

    /// One life of a node; ends in a crash, or in order and with everything landed.
    fn live(&self, turns: usize, crash: bool) {
        // Of its own: with the runtime all that the process knew is gone, wherever each task is.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let node = runtime.block_on(async {
            // A late word of who leads would rightly end the node that leads by then.
            self.let_it_fail(0);
            let node = self.boot().await;
            let held = Held::default();
            self.let_it_fail(40);
            for _ in 0..turns {
                self.turn(&node.registry(), &held).await;
            }
            if crash {
                return Some((node, held));
            }
            self.world.log.heal().await.expect("the log takes what is late");
            self.store.heal().await;
            held.lock().expect("whole").clear();
            // A node does not wait for a store that failed last time: it must have tried again.
            let registry = node.registry();
            let is_well = || {
                let progress = registry.progress();
                progress.landed == progress.applied && registry.status().log_away_ms.is_none()
            };
            let landed = self.world.pass_until(60_000, is_well).await;
            assert!(landed.is_some(), "{:?}, {:?}, {:?}", registry.progress(), registry.readiness(), registry.status());
            self.agrees_with_readers(&node.registry());
            self.come_to_an_end(&node.registry()).await;
            self.world.drive(node.stop()).await;
            None
        });
        drop(runtime);
        drop(node);
    }

    /// What chance seldom comes to: a namespace goes, and a service that nobody described and nobody uses.
    async fn come_to_an_end(&self, registry: &Registry) {
        let namespace = Namespace::new("fleeting").expect(VALID);
        let put = Command::PutNamespace { namespace: namespace.clone(), settings: NamespaceSettings::default() };
        let at = key("fleeting", "a");
        let there = register(&at, provider(80, Lease::Permanent));
        for command in [put, Command::DeleteNamespace { namespace }, there, deregister(&at)] {
            self.world.drive(must(registry, command)).await;
        }
        // The log's time may be far ahead of a clock that was set back.
        self.world.clock.set_wall_ms(registry.progress().time_ms + 2 * DAY_MS);
        let is_collected = || registry.view(&at.service).row.is_none();
        self.world.pass_until(10_000, is_collected).await.expect("collected");
    }

    async fn turn(&self, registry: &Registry, held: &Held) {
        for _ in 0..self.below(4) {
            self.ask(registry, held);
        }
        self.world.settle().await;
        match self.below(30) {
            0 => self.world.pass(6_000).await,
            1 | 2 => {
                let wall_ms = self.world.clock.wall_ms();
                self.world.clock.set_wall_ms(self.one_of(&[wall_ms + DAY_MS, wall_ms + DAY_MS, wall_ms - DAY_MS / 2]));
            }
            _ => self.world.pass(self.chance.below(400)).await,
        }
    }

    /// A caller of its own, who asks and waits.
    fn ask(&self, registry: &Registry, held: &Held) {
        let (registry, held, outcomes) = (registry.clone(), held.clone(), self.outcomes.clone());
        let caller = Caller {
            author: Author::new(self.one_of(&["somebody", "another"]), self.one_of(&["http", "grpc"])),
            is_operator: self.below(4) == 0,
        };
        let ack = self.one_of(&[Ack::Memory, Ack::Log, Ack::Log, Ack::Store]);
        match self.below(17) {
            0 => drop(tokio::spawn(async move {
                if let Ok(opened) = registry.open_session(&caller, 1_000, "client").await {
                    held.lock().expect("whole").push(opened);
                }
            })),
            1 => {
                let Some(lost) = self.some_held(&held) else { return };
                let session = lost.session;
                // With or without a loss first: who resumes may be quicker than who notices.
                let lost = (self.below(2) == 0).then_some(lost);
                tokio::spawn(async move {
                    if let Ok(resumed) = registry.resume_session(&caller, session).await {
                        held.lock().expect("whole").push(resumed);
                    }
                    drop(lost);
                });
            }
            2 => drop(self.some_held(&held)),
            3 => {
                let Some(closed) = self.some_held(&held) else { return };
                let deregister = self.below(2) == 0;
                tokio::spawn(async move { registry.close_session(&caller, closed, deregister).await });
            }
            4 => {
                let key = self.some_key();
                tokio::spawn(async move { registry.renew(&caller, &key, None).await });
            }
            _ => {
                let command = self.some_command(&held);
                tokio::spawn(async move {
                    if let Ok(outcome) = registry.submit_one(&caller, ack, command).await {
                        outcomes.lock().expect("whole").push(outcome);
                    }
                });
            }
        }
    }

    fn some_held(&self, held: &Held) -> Option<Attached> {
        let mut held = held.lock().expect("whole");
        let at = self.below(held.len().max(1));
        (at < held.len()).then(|| held.swap_remove(at))
    }

    fn some_service(&self) -> ServiceKey {
        let (namespace, name) = self.one_of(&[("default", "orders"), ("default", "billing"), ("second", "orders")]);
        ServiceKey::new(namespace, name).expect(VALID)
    }

    fn some_key(&self) -> InstanceKey {
        let service = self.some_service();
        let id = self.one_of(&["a", "b", "c", "d", "e"]);
        InstanceKey::new(service.namespace.as_str(), service.service.as_str(), id).expect(VALID)
    }

    fn some_command(&self, held: &Held) -> Command {
        let instance = self.some_key();
        match self.below(16) {
            0..=6 => self.some_register(instance, held),
            7 | 8 => Command::Deregister { instance, generation: None, reason: RemovalReason::Deregistered },
            9..=11 => {
                let later = self.world.clock.wall_ms() + DAY_MS + 20_000;
                let patch = OperatorPatch {
                    isolated: self.one_of(&[Set::To(true), Set::To(false), Set::Clear]),
                    weight: self.one_of(&[Set::Leave, Set::To(7)]),
                    expires_at_ms: self.one_of(&[Set::Leave, Set::To(later)]),
                    keep_ms: self.one_of(&[Set::Leave, Set::To(5_000), Set::To(DAY_MS)]),
                    ..OperatorPatch::default()
                };
                Command::Operate { instance, generation: None, patch }
            }
            12 => Command::DropOverride { instance },
            13 => {
                let word = OperatorPatch { isolated: Set::To(true), ..OperatorPatch::default() };
                let until_ms = Some(self.world.clock.wall_ms() + self.one_of(&[1_000, DAY_MS]));
                let only_for = self.one_of(&[None, Some("one")]).map(|name| Process::named(name).expect(VALID));
                Command::KeepOverride { instance, word, until_ms, only_for }
            }
            14 => {
                let service = self.some_service();
                if self.below(3) > 0 {
                    return Command::DeleteService { service, expected: None };
                }
                let patch = ServicePatch { owner: Some("a team".into()), ..ServicePatch::default() };
                Command::PutService { service, patch, expected: None }
            }
            _ => {
                let namespace = Namespace::new("second").expect(VALID);
                if self.below(4) == 0 {
                    return Command::DeleteNamespace { namespace };
                }
                let description = self.one_of(&["", "the other one"]).into();
                Command::PutNamespace { namespace, settings: NamespaceSettings { description, ..Default::default() } }
            }
        }
    }

    fn some_register(&self, instance: InstanceKey, held: &Held) -> Command {
        let held = held.lock().expect("whole");
        let session = held.first().filter(|_| self.below(3) == 0).map(|held| (held.session, held.epoch));
        let check = || Check::new(CheckKind::Tcp, 1_000, 500, 2, 1, None).expect(VALID);
        let lease = match (session, self.below(5)) {
            (Some((session, _)), _) => Lease::stream(session, 1_000),
            (None, 0) => Lease::checked(check(), self.one_of(&[None, Some(1_000)])),
            (None, 1) => Ok(Lease::Permanent),
            (None, _) => Lease::ttl(self.one_of(&[1_000, 3_000]), 1_000),
        };
        let incarnation = self.one_of(&[None, Some("one"), Some("two")]).map(str::to_owned);
        let port = self.below(3) as u16;
        let spec = ProviderSpec { lease: lease.expect(VALID), incarnation, ..ProviderSpec::at("10.0.0.1", port) };
        let provider = Box::new(Provider::new(&spec).expect(VALID));
        Command::Register { instance, provider, epoch: session.map(|(_, epoch)| epoch), generation: None }
    }

    /// What readers of the node see is what the journal says.
    fn agrees_with_readers(&self, registry: &Registry) {
        let model = Model::replay(&self.journal.decided()).unwrap_or_else(|wrong| panic!("{wrong}"));
        for (namespace, name) in [("default", "orders"), ("default", "billing"), ("second", "orders")] {
            let service = ServiceKey::new(namespace, name).expect(VALID);
            let view = registry.view(&service);
            if view.overlay > 0 {
                continue;
            }
            let shown: Vec<_> = view.instances.iter().map(|i| i.as_ref()).collect();
            let known: Vec<_> = model.living.iter().filter(|(key, _)| key.service == service).map(|(_, i)| i).collect();
            assert_eq!(shown, known, "{service}");
        }
    }

    /// The journal is the log's, whole; the model agrees with each verdict; and the store holds the model's state.
    async fn agrees_with_the_model(&self, seen: &mut Seen) {
        let journal = self.journal.decided();
        let model = Model::replay(&journal).unwrap_or_else(|wrong| panic!("{wrong}"));
        let ordered = compute::testing::journal::in_order(&journal).expect("the model read it");
        ordered.iter().for_each(|decided| seen.count(decided));

        let log = self.world.memory.read(Position::ZERO, usize::MAX).await.expect("readable");
        let of = |entry: &compute::model::Entry| (entry.position, entry.checksum);
        let (in_journal, in_log): (Vec<_>, Vec<_>) =
            (ordered.iter().map(|decided| of(&decided.entry)).collect(), log.iter().map(of).collect());
        assert_eq!(in_journal, in_log, "the journal is not that of the log");

        let loaded = self.store.inner().load().await.expect("readable");
        let mark = loaded.log.expect("bound");
        assert_eq!(mark.watermark, ordered.last().map_or(Position::ZERO, |last| last.entry.position));
        let state = State::load(loaded, mark.identity).expect("the rows agree");
        let different = differences(model.rows(), state.all_rows());
        assert!(different.is_empty(), "{different:#?}");

        let applied = |revision: Revision| {
            let decided = ordered.iter().find(|decided| decided.entry.position == revision.position());
            decided.and_then(|d| d.verdicts.get(usize::from(revision.place()))) == Some(&Verdict::Applied(revision))
        };
        for outcome in self.outcomes.lock().expect("whole").iter().filter(|o| o.reached >= Reached::Log) {
            if let Answer::Instance { instance, .. } = &outcome.answer {
                assert!(applied(outcome.revision), "{} was acknowledged, and is not in the log", outcome.revision);
                assert!(applied(instance.generation), "{instance:?}");
            }
        }
    }
}

#[test]
fn the_model_decides_as_real_nodes_did() {
    let (mut seen, mut again, mut acknowledged) = (Seen::default(), 0, 0);
    for seed in 0..9 {
        let lives = Lives::new(seed);
        for crash in [true, true, false, true, false] {
            lives.live(60, crash);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(lives.agrees_with_the_model(&mut seen));
        let journal = lives.journal.decided();
        again += journal.len() - compute::testing::journal::in_order(&journal).expect("whole").len();
        acknowledged += lives.outcomes.lock().expect("whole").len();
    }
    let kinds = [
        "PutNamespace",
        "DeleteNamespace",
        "PutService",
        "CollectService",
        "Register",
        "Deregister",
        "Operate",
        "KeepOverride",
        "EndOverride",
        "Suspect",
        "Refute",
        "Unhealthy",
        "Expire",
        "OpenSession",
        "AttachSession",
        "CloseSession",
        "Freeze",
        "Release",
        "Duplicate",
    ];
    seen.must_have(1, &kinds);
    assert!(again > 20, "{again} frames were decided again after a restart");
    assert!(acknowledged > 800, "{acknowledged} were acknowledged");
}
