//! One run: nodes and clients over ports that fail as a seed says; then all is healed, and the oracle looks at it.

use std::sync::Arc;

use compute::model::{InstanceKey, ServiceKey};
use compute::port::PresenceStore;
use compute::testing::store::MemoryStore;
use tokio::task::JoinHandle;

use super::calm;
use super::clients::{Client, Phase, Provider, Streamer, operator, reader, watcher};
use super::faults;
use super::fleet::{Seat, World};
use super::history::History;
use super::level::Level;
use super::oracle::{Evidence, Shown, judge};
use super::plan::{Plan, Theme};
use super::ports::Database;
use super::sim::Sim;
use super::storm::FRAMES_MAX;
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
    /// Runs that ended because all was calm.
    pub(super) calm: usize,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.frames += other.frames;
        self.troubles += other.troubles;
        self.answers += other.answers;
        self.landings += other.landings;
        self.calm += other.calm;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { frames, troubles, answers, landings, calm } = self;
        write!(f, "{frames} frames, {troubles} faults, {answers} answers to clients, {landings} landings, {calm} calm")
    }
}

/// How a run is looked at, and what is wrong with it on purpose.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) theme: Theme,
    /// Tells everything in words.
    pub(super) is_told: bool,
    /// With more it is a storm, and ends.
    pub(super) frames_max: u64,
    /// What reaches the rows: the store itself, or one with a bug.
    pub(super) store: fn(Arc<MemoryStore>) -> Arc<dyn PresenceStore>,
}

impl Setup {
    pub(super) fn of(seed: u64) -> Self {
        let theme = match seed % 10 {
            0..5 => Theme::Anything,
            5 => Theme::Comebacks,
            6 => Theme::Landing,
            7 => Theme::Witnesses,
            8 => Theme::Moves,
            _ => Theme::MassLoss,
        };
        Self { seed, theme, is_told: false, frames_max: FRAMES_MAX, store: |store| store }
    }

    /// The same setup gives the same report.
    pub(super) fn run(self) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(self.go())
    }

    async fn go(self) -> Report {
        let sim = Sim::new(self.seed, self.is_told, self.frames_max);
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
        let ended = tokio::select! {
            biased;
            storm = sim.storm().broke() => Err(storm),
            ended = course(&world, &seats, &plan, &client) => Ok(ended),
        };
        for client in clients {
            match &ended {
                Ok(_) => client.await.expect("a client does not panic"),
                Err(_) => drop(cut(client).await),
            }
        }
        drop(client);
        // Of one that broke off is judged what had been by then.
        let Ended { healed_ms, over_ms, is_calm } = ended.as_ref().copied().unwrap_or_default();
        if let Err(storm) = &ended {
            world.ledger.wrong(storm.clone());
        }
        let shown = seats.iter().filter(|_| ended.is_ok()).filter_map(|seat| show(seat, &services));
        let shown: Vec<_> = shown.collect();
        let (decided, mut wrong) = world.ledger.close();
        let (appended_ms, landed) = (world.topic.appended_ms(), world.database.landed());
        let seats = Arc::into_inner(seats).expect("nobody else looks after them");
        for seat in seats {
            seat.end().await;
        }
        let told = history.told();
        let (decided, appended_ms, shown) = (decided.as_slice(), appended_ms.as_slice(), shown.as_slice());
        let landed = landed.as_slice();
        let evidence = Evidence { told: &told, decided, appended_ms, landed, healed_ms, over_ms, is_calm, shown };
        wrong.extend(judge(&evidence));
        let answers = told.heard.len() + told.wrote.len() + told.read.len();
        let (frames, troubles, landings) = (decided.len(), plan.troubles.len(), landed.len());
        let counts = Counts { frames, troubles, answers, landings, calm: usize::from(is_calm) };
        Report { hash: sim.hash(), wrong, counts }
    }
}

/// When nothing went wrong any more, and when nobody wrote any more, and whether all was calm then; 0 of a run that
/// broke off.
#[derive(Clone, Copy, Default)]
struct Ended {
    healed_ms: u64,
    over_ms: u64,
    is_calm: bool,
}

/// Faults, healing, and quiet.
async fn course(
    world: &Arc<World>,
    seats: &Arc<Vec<Seat>>,
    plan: &Plan,
    Client { phase, history, .. }: &Client,
) -> Ended {
    let sim = &world.sim;
    faults::run(world.clone(), seats.clone(), plan.clone()).await;
    faults::heal(world, seats);
    let healed_ms = sim.now_ms();
    phase.change(|phase| *phase = Phase::Healing);
    sim.note("healed", 0, 0);
    let is_calm = calm::settle(world, seats, history).await;
    phase.change(|phase| *phase = Phase::Over);
    let over_ms = sim.now_ms();
    sim.pause(500).await;
    phase.change(|phase| *phase = Phase::Closed);
    Ended { healed_ms, over_ms, is_calm }
}

async fn cut(client: JoinHandle<()>) -> Result<(), tokio::task::JoinError> {
    client.abort();
    client.await
}

/// What a node that lives shows.
fn show(seat: &Seat, services: &[ServiceKey]) -> Option<Shown> {
    let registry = seat.live()?.registry;
    let views = services.iter().map(|service| registry.view(service)).collect();
    Some(Shown { node: seat.name.clone(), views, status: registry.status() })
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
    for (number, habit) in plan.habits.iter().enumerate() {
        let key = key(&at(number), &format!("t{number}"));
        clients.push(tokio::spawn(Streamer { client: client.apart(), key, habit: *habit }.run()));
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
