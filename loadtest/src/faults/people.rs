//! The clients of a run: who they are, and what they must agree on when all is quiet.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::task::JoinSet;

use super::client::Caller;
use super::client::direct::Direct;
use super::client::provider::Provider;
use super::client::reader::Reader;
use super::client::session::Session;
use super::client::stream::StreamWatcher;
use super::client::watcher::{Follower, View, Watcher};
use super::client::writer::{Mine, Writer};
use super::dice::Dice;
use super::truth::{Known, Truth};

const PROVIDERS: usize = 30;
const SESSIONS: usize = 10;
/// All who provide.
pub(super) const PROVIDING: usize = PROVIDERS + SESSIONS;
const SERVICES: usize = 5;
pub(super) const WRITERS: usize = 4;
/// Who dies under each fault: one of each kind.
pub(super) const DYING: usize = 2;
/// Readers of each service: one that asks again, and one that waits.
pub(super) const READERS: [&str; 2] = ["a reader", "a long poll"];
/// The service whose instances the writers write.
pub(super) const WRITTEN: &str = "written";

pub struct People {
    truth: Arc<Truth>,
    lb: String,
    lb_grpc: String,
    dice: Dice,
    tasks: JoinSet<()>,
    born: usize,
    /// Of each watcher: its name, its service, and what it has made of its events.
    pub views: Vec<(String, String, View)>,
    /// Of each writer, in the service `written`.
    pub written: Vec<Arc<Mutex<Mine>>>,
}

/// The services that providers register in, and the one of the writers.
pub(super) fn services() -> Vec<String> {
    (0..SERVICES).map(|number| format!("s{number}")).chain([WRITTEN.to_owned()]).collect()
}

impl People {
    pub fn new(truth: Arc<Truth>, (lb, lb_grpc): (&str, &str), dice: Dice) -> Self {
        let (lb, lb_grpc, tasks) = (lb.to_owned(), lb_grpc.to_owned(), JoinSet::new());
        Self { truth, lb, lb_grpc, dice, tasks, born: 0, views: vec![], written: vec![] }
    }

    /// Those who make things true.
    pub fn provide(&mut self) {
        for _ in 0..PROVIDERS {
            self.provider();
        }
        for _ in 0..SESSIONS {
            self.session();
        }
        for number in 0..WRITERS {
            let (id, dice) = (format!("w{number}"), self.dice.split());
            let writer = Writer::new(self.truth.clone(), &self.lb, WRITTEN, id, dice);
            self.written.push(writer.mine.clone());
            self.tasks.spawn(writer.live());
        }
    }

    /// Those who see it. `nodes`: their names and addresses.
    pub fn look(&mut self, nodes: &[(String, String)]) {
        for service in services() {
            for (name, waits) in READERS.into_iter().zip([false, true]) {
                let name = name.to_owned();
                let (truth, caller) = (self.truth.clone(), Caller::new(&self.lb));
                let reader = Reader { truth, caller, service: service.clone(), name, waits };
                self.tasks.spawn(reader.live());
            }
            let follower = self.follower(&service, "a watcher of events");
            self.tasks.spawn(Watcher { address: self.lb.clone(), follower }.live());
            let follower = self.follower(&service, "a gRPC watcher");
            self.tasks.spawn(StreamWatcher { address: self.lb_grpc.clone(), follower }.live());
        }
        for (node, address) in nodes {
            let (truth, caller) = (self.truth.clone(), Caller::new(address));
            let direct = Direct { truth, caller, node: node.clone(), services: services() };
            self.tasks.spawn(direct.live());
        }
    }

    fn follower(&mut self, service: &str, name: &str) -> Follower {
        let follower = Follower::new(self.truth.clone(), service, name);
        self.views.push((name.to_owned(), service.to_owned(), follower.view.clone()));
        follower
    }

    fn provider(&mut self) {
        let (service, id) = self.name("p");
        let (truth, caller, dice) = (self.truth.clone(), Caller::new(&self.lb), self.dice.split());
        truth.add(Known::new(&service, &id));
        self.tasks.spawn(Provider { truth, caller, service, id, dice }.live());
    }

    fn session(&mut self) {
        let (service, id) = self.name("x");
        self.truth.add(Known::new(&service, &id));
        self.tasks.spawn(Session::new(self.truth.clone(), &self.lb_grpc, service, id).live());
    }

    fn name(&mut self, start: &str) -> (String, String) {
        self.born += 1;
        (format!("s{}", self.born % SERVICES), format!("{start}{}", self.born))
    }

    /// One of each kind is born, to take the place of one that dies.
    pub fn bear(&mut self) {
        self.provider();
        self.session();
    }

    /// One of each kind dies for good.
    pub fn bury(&mut self) {
        for start in ["p", "x"] {
            let alive = self.truth.all().into_iter().filter(|known| known.died_at.is_none() && known.held.is_some());
            let alive: Vec<_> = alive.filter(|known| known.id.starts_with(start)).collect();
            if let Some(one) = self.dice.pick(&alive) {
                self.truth.change(&one.id, |known| known.died_at = Some(Instant::now()));
            }
        }
    }

    /// Somebody whose session a node holds: the provider and the node. It dies just now.
    pub fn kill_one_with_session(&mut self) -> Option<String> {
        let alive = self.truth.all().into_iter().filter(|known| known.died_at.is_none() && known.node.is_some());
        let alive: Vec<_> = alive.collect();
        let one = self.dice.pick(&alive)?.clone();
        self.truth.change(&one.id, |known| known.died_at = Some(Instant::now()));
        self.session();
        one.node
    }
}
