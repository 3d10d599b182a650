//! The nodes of a run: each is started, killed, told to stop, and started again by the one who looks after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use compute::Registry;
use compute::node::{Config, Node, Parts, StartError};
use compute::testing::SeededChance;
use tokio::task::JoinHandle;

use super::level::Level;
use super::life::Life;
use super::oracle::Ledger;
use super::ports::{Database, Doors, SimClock, SimLog, SimPeers, SimStore, Topic, Way};
use super::sim::Sim;
use super::weather::Weather;
use crate::world::AllWell;

/// Between a death and the next life.
const REST_MS: u64 = 300;

/// What all nodes share.
pub(super) struct World {
    pub(super) sim: Sim,
    pub(super) weather: Arc<Weather>,
    pub(super) topic: Arc<Topic>,
    pub(super) database: Arc<Database>,
    pub(super) doors: Arc<Doors>,
    pub(super) ledger: Arc<Ledger>,
    lives: Mutex<u64>,
}

/// What its keeper is to do with a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    Up,
    Killed,
    Stopped,
}

/// A node that answers.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) life: Arc<Life>,
    pub(super) registry: Registry,
}

/// A place for a node, in whatever life it is.
pub(super) struct Seat {
    pub(super) name: Arc<str>,
    wish: Arc<Level<Wish>>,
    live: Arc<Mutex<Option<Live>>>,
    keeper: JoinHandle<()>,
}

impl World {
    pub(super) fn new(sim: Sim, database: Arc<Database>) -> Arc<Self> {
        Arc::new(Self {
            weather: Arc::default(),
            topic: Topic::new(),
            database,
            doors: Arc::default(),
            ledger: Ledger::new(sim.clone()),
            lives: Mutex::default(),
            sim,
        })
    }

    fn parts(&self, way: &Way) -> Parts {
        Parts {
            snapshot: None,
            store: Arc::new(SimStore { way: way.clone(), database: self.database.clone() }),
            log: Arc::new(SimLog { way: way.clone(), topic: self.topic.clone() }),
            clock: Arc::new(SimClock::new(way)),
            chance: SeededChance::new(self.sim.below(u64::MAX)),
            prober: Arc::new(AllWell),
            peers: Some(SimPeers::new(way, &self.doors)),
            journal: Some(self.ledger.clone()),
        }
    }

    fn life(&self, name: &Arc<str>) -> Arc<Life> {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        *lives += 1;
        Life::new(name.clone(), *lives)
    }
}

impl Seat {
    pub(super) fn new(world: &Arc<World>, name: &str, delay_ms: u64) -> Self {
        let name: Arc<str> = name.into();
        let wish = Arc::new(Level::new(Wish::Up));
        let live = Arc::new(Mutex::default());
        let keeper = Keeper { world: world.clone(), name: name.clone(), live: live.clone(), wish: wish.clone() };
        let keeper = tokio::spawn(async move {
            keeper.world.sim.pause(delay_ms).await;
            keeper.run().await;
        });
        Self { name, wish, live, keeper }
    }

    pub(super) fn wish(&self, wish: Wish) {
        self.wish.change(|wished| *wished = wish);
    }

    pub(super) fn live(&self) -> Option<Live> {
        held(&self.live).clone().filter(|live| !live.life.is_dead())
    }

    /// Nothing goes on after this.
    pub(super) async fn end(self) {
        self.wish(Wish::Killed);
        tokio::task::yield_now().await;
        self.keeper.abort();
        let _ = self.keeper.await;
    }
}

struct Keeper {
    world: Arc<World>,
    name: Arc<str>,
    live: Arc<Mutex<Option<Live>>>,
    wish: Arc<Level<Wish>>,
}

impl Keeper {
    async fn run(self) {
        loop {
            self.wish.until(|wish| *wish == Wish::Up).await;
            let way = Way {
                sim: self.world.sim.clone(),
                weather: self.world.weather.clone(),
                life: self.world.life(&self.name),
            };
            let started = tokio::select! {
                biased;
                () = self.wish.until(|wish| *wish != Wish::Up) => None,
                started = self.boot(&way) => Some(started),
            };
            match started {
                Some(Ok(node)) => self.keep(&way, node).await,
                Some(Err(error)) => self.judge(&error),
                None => {}
            }
            way.life.die();
            self.world.sim.note("ends", &self.name, way.life.number);
            self.world.sim.pause(REST_MS).await;
        }
    }

    async fn boot(&self, way: &Way) -> Result<Node, StartError> {
        self.world.sim.note("boots", &self.name, way.life.number);
        let config = Config { name: self.name.clone(), peer_address: self.name.clone(), ..Config::default() };
        compute::node::start(self.world.parts(way), config).await
    }

    /// A store or log that does not answer is tried again; nothing else may keep a node from starting.
    fn judge(&self, error: &StartError) {
        use compute::port::change_log::LogReadError;
        use compute::port::store::{LandError, ReadError};
        let is_away = matches!(
            error,
            StartError::Store(ReadError::Away(_))
                | StartError::Land(LandError::Unknown(_) | LandError::Rejected(_))
                | StartError::Log(LogReadError::Away(_))
        );
        if !is_away {
            self.world.ledger.wrong(format!("{} can't start: {error}", self.name));
        }
    }

    async fn keep(&self, way: &Way, mut node: Node) {
        let life = way.life.clone();
        self.world.doors.open(&life, Arc::new(node.registry()));
        self.world.sim.note("ready", &self.name, life.number);
        *held(&self.live) = Some(Live { life: life.clone(), registry: node.registry() });
        let wish = tokio::select! {
            biased;
            () = self.wish.until(|wish| *wish != Wish::Up) => self.wish.is(|wish| *wish),
            failure = node.failed() => {
                self.world.ledger.wrong(format!("{} gave up: {failure}", self.name));
                Wish::Killed
            }
        };
        if wish == Wish::Stopped {
            // What started it waits so long, and then kills it; so does who wants it dead meanwhile.
            self.world.sim.note("stops", &self.name, life.number);
            let patience = self.world.sim.between(500, 6_000);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(patience), node.stop()).await;
            life.die();
        } else {
            life.die();
            node.kill().await;
        }
        self.world.doors.close(&life);
        *held(&self.live) = None;
    }
}

fn held(live: &Mutex<Option<Live>>) -> MutexGuard<'_, Option<Live>> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}
