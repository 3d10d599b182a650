use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::suite::{Member, Site, suite};
use super::{CallFault, Delivery, FaultyPeers, Inbox, InboxHost, MemoryNetwork, MemoryPeers, PeerRates};
use crate::model::{InstanceKey, NodeIncarnation, Position, ServiceKey};
use crate::node::Report;
use crate::port::Peers;
use crate::port::peers::{Age, PeerError, Reply};
use crate::testing::SeededChance;
use crate::watch::Subscription;

struct Memory<F> {
    last: Mutex<Arc<MemoryNetwork>>,
    front: F,
}

fn site<F: Fn(Arc<dyn Peers>) -> Arc<dyn Peers> + Send + Sync>(front: F) -> Memory<F> {
    Memory { last: Mutex::default(), front }
}

const ADDRESSES: [&str; 3] = ["one", "two", "three"];

#[async_trait]
impl<F: Fn(Arc<dyn Peers>) -> Arc<dyn Peers> + Send + Sync> Site for Memory<F> {
    async fn three(&self) -> [Member; 3] {
        let network = MemoryNetwork::new();
        *self.last.lock().unwrap() = Arc::clone(&network);
        [0, 1, 2].map(|n| {
            let (node, address) = (NodeIncarnation(n as u64 + 1), ADDRESSES[n]);
            let (host, inbox) = InboxHost::new(node);
            network.serve(address, host.clone());
            let peers = (self.front)(network.enter(address));
            Member { node, address: address.into(), peers, host, inbox }
        })
    }

    async fn end(&self, address: &str) {
        self.last.lock().unwrap().leave(address);
    }

    async fn silence(&self, address: &str) {
        let network = self.last.lock().unwrap();
        ADDRESSES.iter().for_each(|from| network.cut(from, address));
    }
}

#[tokio::test]
async fn memory_passes() {
    suite(&site(|peers| peers)).await.unwrap();
}

#[tokio::test]
async fn faulty_without_faults_passes() {
    suite(&site(|peers| FaultyPeers::over(peers))).await.unwrap();
}

async fn broken(front: impl Fn(Arc<dyn Peers>) -> Arc<dyn Peers> + Send + Sync) -> &'static str {
    suite(&site(front)).await.unwrap_err().rule
}

#[tokio::test(start_paused = true)]
async fn the_suite_sees_planted_bugs() {
    let twice = |peers| -> Arc<dyn Peers> {
        let faulty = FaultyPeers::over(peers);
        faulty.script([None, Some(CallFault::Twice)]);
        faulty
    };
    assert_eq!(broken(twice).await, "what one is told is what the other said, in order");
    let bugs = [
        (Bug::Muddles, "a call of many ages arrives whole"),
        (Bug::ForgetsNobody, "who is not known is not called"),
        (Bug::AnswersFromBefore, "a node answers how far it is"),
        (Bug::ForgetsWhy, "a node tells of itself"),
        (Bug::CutsSubscribers, "a node names its subscribers"),
        (Bug::NeverDrains, "a node is told to drain"),
        (Bug::KeepsItsName, "a node that was renamed says so"),
        (Bug::Hangs, "a call of a node that does not answer ends within a second"),
    ];
    for (bug, rule) in bugs {
        let front = |inner| -> Arc<dyn Peers> { Arc::new(Buggy { inner, bug, first: Mutex::default() }) };
        assert_eq!(broken(front).await, rule, "{bug:?}");
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    /// Mixes up the ages of a large call.
    Muddles,
    /// Goes on with members that are members no more.
    ForgetsNobody,
    /// Gives the first answer again.
    AnswersFromBefore,
    CutsSubscribers,
    ForgetsWhy,
    NeverDrains,
    KeepsItsName,
    /// Waits for an answer for ever.
    Hangs,
}

struct Buggy {
    inner: Arc<dyn Peers>,
    bug: Bug,
    first: Mutex<First>,
}

#[derive(Default)]
struct First {
    me: Option<NodeIncarnation>,
    members: Vec<(NodeIncarnation, Arc<str>)>,
    reply: Option<Reply>,
}

impl Buggy {
    async fn hang<T>(&self, answered: Result<T, PeerError>) -> Result<T, PeerError> {
        match answered {
            Err(PeerError::Away(why)) if self.bug == Bug::Hangs && why.contains("cut") => std::future::pending().await,
            answered => answered,
        }
    }
}

#[async_trait]
impl Peers for Buggy {
    fn know(&self, me: NodeIncarnation, members: &[(NodeIncarnation, Arc<str>)]) {
        let mut first = self.first.lock().unwrap();
        let named = *first.me.get_or_insert(me);
        let me = if self.bug == Bug::KeepsItsName { named } else { me };
        if self.bug == Bug::ForgetsNobody {
            first.members.extend(members.iter().cloned());
            return self.inner.know(me, &first.members);
        }
        self.inner.know(me, members);
    }

    fn reachable(&self) -> Vec<NodeIncarnation> {
        self.inner.reachable()
    }

    async fn ask(&self, node: NodeIncarnation) -> Result<Reply, PeerError> {
        let reply = self.hang(self.inner.ask(node).await).await?;
        let first = *self.first.lock().unwrap().reply.get_or_insert(reply);
        Ok(if self.bug == Bug::AnswersFromBefore { first } else { reply })
    }

    async fn report(&self, node: NodeIncarnation) -> Result<Report, PeerError> {
        let report = self.inner.report(node).await?;
        Ok(if self.bug == Bug::ForgetsWhy { Report { store_error: None, ..report } } else { report })
    }

    async fn subscribers(&self, node: NodeIncarnation, service: &ServiceKey) -> Result<Vec<Subscription>, PeerError> {
        let mut there = self.inner.subscribers(node, service).await?;
        if self.bug == Bug::CutsSubscribers {
            there.truncate(1_000);
        }
        Ok(there)
    }

    async fn drain(&self, node: NodeIncarnation) -> Result<(), PeerError> {
        // The suite would wait for the word for ever, and gives up.
        if self.bug == Bug::NeverDrains && self.inner.ask(node).await.is_ok() {
            return Ok(());
        }
        self.inner.drain(node).await
    }

    async fn heartbeats(&self, node: NodeIncarnation, heard: Vec<Age>) -> Result<(), PeerError> {
        self.inner.heartbeats(node, heard).await
    }

    async fn hand_over(&self, node: NodeIncarnation, mut ages: Vec<Age>) -> Result<(), PeerError> {
        if self.bug == Bug::Muddles && ages.len() > 1_000 {
            ages[999] = ages[0].clone();
        }
        self.inner.hand_over(node, ages).await
    }
}

fn age() -> Vec<Age> {
    let instance = InstanceKey::new("default", "service", "a").unwrap();
    vec![Age { instance, generation: Position::new(1, 1).unwrap().at(0), age_ms: 5 }]
}

const ONE: NodeIncarnation = NodeIncarnation(1);
const TWO: NodeIncarnation = NodeIncarnation(2);

/// Two nodes that know each other.
fn two(network: &Arc<MemoryNetwork>) -> [(Arc<MemoryPeers>, Inbox); 2] {
    let node = |me, address, other, there: &str| {
        let (host, inbox) = InboxHost::new(me);
        network.serve(address, host);
        let peers = network.enter(address);
        peers.know(me, &[(other, there.into())]);
        (peers, inbox)
    };
    [node(ONE, "one", TWO, "two"), node(TWO, "two", ONE, "one")]
}

#[tokio::test]
async fn a_link_is_cut_one_way() {
    let network = MemoryNetwork::new();
    let [(one, mut inbox_of_one), (two, mut inbox_of_two)] = two(&network);
    network.cut("one", "two");
    assert!(matches!(one.heartbeats(TWO, age()).await, Err(PeerError::Away(_))));
    assert!(matches!(one.ask(TWO).await, Err(PeerError::Away(_))));
    assert!(one.reachable().is_empty());
    assert_eq!(two.reachable(), [ONE]);
    two.heartbeats(ONE, age()).await.unwrap();
    assert!(inbox_of_one.try_recv().is_ok());
    assert!(inbox_of_two.try_recv().is_err());
    network.mend();
    one.heartbeats(TWO, age()).await.unwrap();
    assert!(inbox_of_two.try_recv().is_ok());
}

#[tokio::test]
async fn calls_fail_as_scripted() {
    let network = MemoryNetwork::new();
    let [(one, _), (_, mut inbox)] = two(&network);
    let peers = FaultyPeers::over(one);
    peers.script([Some(CallFault::Lost), Some(CallFault::Unanswered), Some(CallFault::Twice), None]);
    let mut call = async || {
        let answered = peers.heartbeats(TWO, age()).await.is_ok();
        let mut told = 0;
        while let Ok(Delivery::Heartbeats { .. }) = inbox.try_recv() {
            told += 1;
        }
        (answered, told)
    };
    assert_eq!(call().await, (false, 0));
    assert_eq!(call().await, (false, 1));
    assert_eq!(call().await, (true, 2));
    assert_eq!(call().await, (true, 1));
    // Questions fail by the same script.
    peers.script([Some(CallFault::Lost), Some(CallFault::Unanswered), Some(CallFault::Twice)]);
    assert!(matches!(peers.ask(TWO).await, Err(PeerError::Away(_))));
    assert!(matches!(peers.drain(TWO).await, Err(PeerError::Away(_))));
    assert_eq!(inbox.try_recv(), Ok(Delivery::Drain));
    let service = ServiceKey::new("default", "service").unwrap();
    assert_eq!(peers.subscribers(TWO, &service).await.unwrap(), []);
}

#[tokio::test]
async fn a_stalled_call_waits() {
    let network = MemoryNetwork::new();
    let [(one, _), (_, mut inbox)] = two(&network);
    let peers = FaultyPeers::over(one);
    peers.set_stalled(true);
    assert!(peers.reachable().is_empty());
    let mut call = Box::pin(peers.hand_over(TWO, age()));
    assert!(futures::poll!(&mut call).is_pending());
    assert!(inbox.try_recv().is_err());
    peers.set_stalled(false);
    call.await.unwrap();
    assert_eq!(inbox.try_recv().unwrap(), Delivery::HandOver { from: ONE, ages: age() });
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    async fn run(seed: u64) -> Vec<bool> {
        let network = MemoryNetwork::new();
        let [(one, _), _two] = two(&network);
        let peers = FaultyPeers::over(one);
        peers.by_chance(SeededChance::new(seed), PeerRates { lost: 200, unanswered: 200, twice: 200 });
        let mut answered = Vec::new();
        for _ in 0..100 {
            answered.push(peers.heartbeats(TWO, age()).await.is_ok());
        }
        answered
    }
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
    assert!(run(1).await.contains(&true) && run(1).await.contains(&false));
}
