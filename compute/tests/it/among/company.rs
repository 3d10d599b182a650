use std::collections::BTreeMap;
use std::sync::Arc;

use compute::Registry;
use compute::model::{LogIdentity, NodeIncarnation, Op, ServiceKey};
use compute::node::{Config, Node, Parts, StartError};
use compute::port::{ChangeLog, PresenceStore};
use compute::testing::change_log::{FaultyLog, MemoryLog, Stall};
use compute::testing::ledger::{Judged, Ledger};
use compute::testing::peers::{FaultyPeers, MemoryNetwork};
use compute::testing::store::{Fault, FaultyStore, MemoryStore};
use compute::testing::{ManualClock, MemoryJournal, SeededChance};

use crate::world::{AllWell, World};

/// Several nodes over one log and one store.
pub(super) struct Company {
    /// Moves the time of all of them.
    pub(super) world: World,
    pub(super) log: Arc<MemoryLog>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) network: Arc<MemoryNetwork>,
    /// What each keeps for itself, by name.
    pub(super) copies: BTreeMap<String, Arc<MemoryStore>>,
    /// Of all of them.
    pub(super) journal: Arc<MemoryJournal>,
    /// Of those who join from now on.
    pub(super) is_store_away: bool,
    started: u64,
}

/// One of them, and its own ways to the log and the store.
pub(super) struct Seat {
    pub(super) node: Node,
    pub(super) name: String,
    pub(super) log: Arc<FaultyLog>,
    pub(super) store: Arc<FaultyStore<MemoryStore>>,
    pub(super) peers: Arc<FaultyPeers>,
}

impl Seat {
    pub(super) fn registry(&self) -> Registry {
        self.node.registry()
    }

    pub(super) fn incarnation(&self) -> NodeIncarnation {
        self.registry().status().node
    }

    /// It stands still, as far as others can see: nothing goes out, and nothing comes in.
    pub(super) fn freeze(&self) {
        self.log.stall(Stall::Append);
        self.log.stall(Stall::Read);
    }

    pub(super) fn thaw(&self) {
        self.log.release(Stall::Append);
        self.log.release(Stall::Read);
    }
}

impl Company {
    pub(super) fn new() -> Self {
        Self {
            world: World::new(),
            log: MemoryLog::new(LogIdentity([9; 16])),
            store: MemoryStore::new(),
            network: MemoryNetwork::new(),
            copies: BTreeMap::new(),
            journal: MemoryJournal::new(),
            is_store_away: false,
            started: 0,
        }
    }

    pub(super) fn clock(&self) -> &Arc<ManualClock> {
        &self.world.clock
    }

    /// A node that has started and that all others know of.
    pub(super) async fn join(&mut self, name: &str) -> Seat {
        self.try_join(name).await.expect("the node starts")
    }

    pub(super) async fn try_join(&mut self, name: &str) -> Result<Seat, StartError> {
        self.started += 1;
        let log = FaultyLog::over(self.log.handle());
        let chance = SeededChance::new(self.started);
        let store = FaultyStore::new(self.store.clone(), self.world.clock.clone(), chance.clone());
        let peers = FaultyPeers::over(self.network.enter(name));
        if self.is_store_away {
            store.stand(Some(Fault::Lose));
        }
        let copy = self.copies.entry(name.to_owned()).or_default().clone();
        let parts = Parts {
            snapshot: Some(copy),
            store: store.clone() as Arc<dyn PresenceStore>,
            log: log.clone() as Arc<dyn ChangeLog>,
            clock: self.world.clock.clone(),
            chance,
            prober: Arc::new(AllWell),
            peers: Some(peers.clone()),
            journal: Some(self.journal.clone()),
        };
        let config = Config { name: name.into(), peer_address: name.into(), ..Config::default() };
        let node = self.world.drive(compute::node::start(parts, config)).await?;
        self.network.serve(name, Arc::new(node.registry()));
        let seat = Seat { node, name: name.to_owned(), log, store, peers };
        let me = seat.incarnation();
        let registry = seat.registry();
        let life = (registry.status().log, registry.progress().applied.generation());
        self.log.follow(life).await.expect("a log in memory is there");
        self.until("it is a member", || registry.status().members.iter().any(|member| member.node == me)).await;
        Ok(seat)
    }

    /// Three, each with its share of the leases.
    pub(super) async fn three() -> (Self, [Seat; 3]) {
        let mut company = Self::new();
        let a = company.join("a").await;
        let b = company.join("b").await;
        let c = company.join("c").await;
        company.world.pass(31_000).await;
        (company, [a, b, c])
    }

    /// What an independent model says of all that they decided, in whichever lives of the log.
    pub(super) fn judged(&self) -> Judged {
        let mut ledger = Ledger::default();
        for record in self.journal.records() {
            // They share a journal: behind one's record comes another's.
            ledger.breaks("all");
            ledger.take("all", record);
        }
        ledger.judge()
    }

    pub(super) async fn kill(&self, seat: Seat) {
        self.network.leave(&seat.name);
        seat.node.kill().await;
    }

    /// What some node showed of itself last.
    pub(super) async fn newest_beacon(&self) -> Op {
        let last = self.log.bounds().await.expect("readable").last;
        let entries = self.log.read(last.back(50), 100).await.expect("readable");
        let ops = entries.iter().rev().flat_map(|entry| entry.frame.changes.iter().map(|change| &change.op));
        ops.into_iter().find(|op| matches!(op, Op::Beacon { .. })).expect("there is one among fifty frames").clone()
    }

    pub(super) async fn until(&self, what: &str, done: impl FnMut() -> bool) -> u64 {
        self.world.pass_until(120_000, done).await.unwrap_or_else(|| panic!("not within 120 s: {what}"))
    }
}

pub(super) fn health(registry: &Registry, service: &ServiceKey, id: &str) -> Option<bool> {
    registry.view(service).instances.iter().find(|i| i.id.as_str() == id).map(|i| i.is_healthy())
}
