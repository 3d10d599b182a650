//! One run: nodes and clients over ports that fail as a seed says; then all is healed, and the oracle looks at it.

use std::sync::Arc;

use compute::model::{InstanceKey, ServiceKey};
use compute::port::PresenceStore;
use compute::testing::store::MemoryStore;
use tokio::task::JoinHandle;

use super::clients::{Client, Phase, Provider, Streamer, operator, reader, watcher};
use super::faults;
use super::fleet::{Seat, World};
use super::history::History;
use super::level::Level;
use super::oracle::{Evidence, KEPT_MS_MAX, Shown, judge};
use super::plan::{Plan, Theme};
use super::ports::Database;
use super::sim::Sim;
use crate::world::{key, service};

/// What a run came to.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) hash: u64,
    pub(super) wrong: Vec<String>,
    pub(super) counts: Counts,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Counts {
    pub(super) frames: usize,
    pub(super) troubles: usize,
    pub(super) answers: usize,
    pub(super) landings: usize,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.frames += other.frames;
        self.troubles += other.troubles;
        self.answers += other.answers;
        self.landings += other.landings;
    }
}

/// How a run is looked at, and what is wrong with it on purpose.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) theme: Theme,
    /// Tells everything in words.
    pub(super) is_told: bool,
    /// What reaches the rows: the store itself, or one with a bug.
    pub(super) store: fn(Arc<MemoryStore>) -> Arc<dyn PresenceStore>,
}

impl Setup {
    pub(super) fn of(seed: u64) -> Self {
        let theme = match seed % 8 {
            0..4 => Theme::Anything,
            4 => Theme::Comebacks,
            5 => Theme::Landing,
            6 => Theme::Witnesses,
            _ => Theme::MassLoss,
        };
        Self { seed, theme, is_told: false, store: |store| store }
    }

    /// The same setup gives the same report.
    pub(super) fn run(self) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(self.go())
    }

    async fn go(self) -> Report {
        let sim = Sim::new(self.seed, self.is_told);
        let plan = Plan::of(&sim, self.theme);
        sim.tell(|| format!("{plan:#?}"));
        let world = World::new(sim.clone(), Database::new(self.store));
        let names = ["a", "b", "c", "d", "e"];
        let seats = names.iter().take(plan.nodes).enumerate();
        let seats = seats.map(|(at, name)| Seat::new(&world, name, if at == 0 { 0 } else { sim.below(600) }));
        let seats = Arc::new(seats.collect::<Vec<_>>());
        let phase = Arc::new(Level::new(Phase::Faults));
        let history = Arc::new(History::default());
        let client = Client { seats: seats.clone(), history: history.clone(), phase: phase.clone(), sim: sim.apart() };
        sim.pause(700).await;
        let services: Vec<_> = (0..plan.services).map(|at| service(&format!("s{at}"))).collect();
        let clients = hire(&plan, &client, &services);
        drop(client);
        faults::run(world.clone(), seats.clone(), plan.clone()).await;
        faults::heal(&world, &seats);
        let healed_ms = sim.now_ms();
        phase.change(|phase| *phase = Phase::Healing);
        sim.note("healed", 0, 0);
        sim.pause(KEPT_MS_MAX + 500).await;
        phase.change(|phase| *phase = Phase::Over);
        let over_ms = sim.now_ms();
        sim.pause(500).await;
        phase.change(|phase| *phase = Phase::Closed);
        for client in clients {
            client.await.expect("a client does not panic");
        }
        let shown: Vec<_> = seats.iter().map(|seat| (seat.name.clone(), show(seat, &services))).collect();
        let (decided, mut wrong) = world.ledger.close();
        let (appended_ms, landed) = (world.topic.appended_ms(), world.database.landed());
        let seats = Arc::into_inner(seats).expect("nobody else looks after them");
        for seat in seats {
            seat.end().await;
        }
        let told = history.told();
        let (decided, appended_ms, shown) = (decided.as_slice(), appended_ms.as_slice(), shown.as_slice());
        let evidence = Evidence { told: &told, decided, appended_ms, landed: &landed, healed_ms, over_ms, shown };
        wrong.extend(judge(&evidence));
        let answers = told.heard.len() + told.wrote.len() + told.read.len();
        let counts = Counts { frames: decided.len(), troubles: plan.troubles.len(), answers, landings: landed.len() };
        Report { hash: sim.hash(), wrong, counts }
    }
}

fn show(seat: &Seat, services: &[ServiceKey]) -> Vec<Shown> {
    let Some(live) = seat.live() else { return Vec::new() };
    let shown = services.iter().map(|service| {
        let view = live.registry.view(service);
        Shown { service: service.clone(), revision: view.revision, digest: view.digest, overlay: view.overlay }
    });
    shown.collect()
}

fn hire(plan: &Plan, client: &Client, services: &[ServiceKey]) -> Vec<JoinHandle<()>> {
    let at = |at: usize| services[at % services.len()].service.as_str().to_owned();
    let mut keys: Vec<InstanceKey> = Vec::new();
    let mut clients = Vec::new();
    for (number, trade) in plan.trades.iter().enumerate() {
        let key = key(&at(number), &format!("i{number}"));
        keys.push(key.clone());
        clients.push(tokio::spawn(Provider::new(client.apart(), key, *trade).run()));
    }
    for number in 0..plan.streamers {
        let key = key(&at(number), &format!("t{number}"));
        let grace_ms = client.sim.between(1_000, 2_500) as u32;
        clients.push(tokio::spawn(Streamer { client: client.apart(), key, grace_ms, dies: 15 }.run()));
    }
    if plan.has_operator {
        clients.push(tokio::spawn(operator(client.apart(), keys)));
    }
    for _ in 0..2 {
        clients.push(tokio::spawn(reader(client.apart(), services.to_vec())));
        let watched = client.sim.below(services.len() as u64) as usize;
        clients.push(tokio::spawn(watcher(client.apart(), services[watched].clone())));
    }
    clients
}
