use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::suite::{Member, Site, suite};
use super::{CallFault, Delivery, FaultyPeers, MemoryNetwork, PeerRates};
use crate::model::{InstanceKey, NodeIncarnation, Position};
use crate::port::Peers;
use crate::port::peers::{Age, PeerError};
use crate::testing::SeededChance;

struct Memory<F> {
    last: Mutex<Arc<MemoryNetwork>>,
    front: F,
}

fn site<F: Fn(Arc<dyn Peers>) -> Arc<dyn Peers> + Send + Sync>(front: F) -> Memory<F> {
    Memory { last: Mutex::default(), front }
}

#[async_trait]
impl<F: Fn(Arc<dyn Peers>) -> Arc<dyn Peers> + Send + Sync> Site for Memory<F> {
    async fn three(&self) -> [Member; 3] {
        let network = MemoryNetwork::new();
        *self.last.lock().unwrap() = Arc::clone(&network);
        [1, 2, 3].map(|n| {
            let (peers, inbox) = network.join(NodeIncarnation(n));
            Member { node: NodeIncarnation(n), peers: (self.front)(peers), inbox }
        })
    }

    async fn end(&self, node: NodeIncarnation) {
        self.last.lock().unwrap().leave(node);
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

#[tokio::test]
async fn the_suite_sees_planted_bugs() {
    let twice = |peers| -> Arc<dyn Peers> {
        let faulty = FaultyPeers::over(peers);
        faulty.script([None, Some(CallFault::Twice)]);
        faulty
    };
    let broken = suite(&site(twice)).await.unwrap_err();
    assert_eq!(broken.rule, "what one is told is what the other said, in order");
    let muddled = |peers| -> Arc<dyn Peers> { Arc::new(Muddles(peers)) };
    let broken = suite(&site(muddled)).await.unwrap_err();
    assert_eq!(broken.rule, "a call of many ages arrives whole");
}

/// Mixes up the ages of a large call.
struct Muddles(Arc<dyn Peers>);

#[async_trait]
impl Peers for Muddles {
    fn reachable(&self) -> Vec<NodeIncarnation> {
        self.0.reachable()
    }

    async fn heartbeats(&self, node: NodeIncarnation, heard: Vec<Age>) -> Result<(), PeerError> {
        self.0.heartbeats(node, heard).await
    }

    async fn hand_over(&self, node: NodeIncarnation, mut ages: Vec<Age>) -> Result<(), PeerError> {
        if ages.len() > 1_000 {
            ages[999] = ages[0].clone();
        }
        self.0.hand_over(node, ages).await
    }
}

fn age() -> Vec<Age> {
    let instance = InstanceKey::new("default", "service", "a").unwrap();
    vec![Age { instance, generation: Position::new(1, 1).unwrap().at(0), age_ms: 5 }]
}

#[tokio::test]
async fn a_link_is_cut_one_way() {
    let network = MemoryNetwork::new();
    let (one, mut inbox_of_one) = network.join(NodeIncarnation(1));
    let (two, mut inbox_of_two) = network.join(NodeIncarnation(2));
    network.cut(NodeIncarnation(1), NodeIncarnation(2));
    assert!(matches!(one.heartbeats(NodeIncarnation(2), age()).await, Err(PeerError::Away(_))));
    assert!(one.reachable().is_empty());
    two.heartbeats(NodeIncarnation(1), age()).await.unwrap();
    assert!(inbox_of_one.try_recv().is_ok());
    assert!(inbox_of_two.try_recv().is_err());
    network.mend();
    one.heartbeats(NodeIncarnation(2), age()).await.unwrap();
    assert!(inbox_of_two.try_recv().is_ok());
}

#[tokio::test]
async fn calls_fail_as_scripted() {
    let network = MemoryNetwork::new();
    let (one, _) = network.join(NodeIncarnation(1));
    let (_two, mut inbox) = network.join(NodeIncarnation(2));
    let peers = FaultyPeers::over(one);
    peers.script([Some(CallFault::Lost), Some(CallFault::Unanswered), Some(CallFault::Twice), None]);
    let mut call = async || {
        let answered = peers.heartbeats(NodeIncarnation(2), age()).await.is_ok();
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
}

#[tokio::test]
async fn a_stalled_call_waits() {
    let network = MemoryNetwork::new();
    let (one, _) = network.join(NodeIncarnation(1));
    let (_two, mut inbox) = network.join(NodeIncarnation(2));
    let peers = FaultyPeers::over(one);
    peers.set_stalled(true);
    assert!(peers.reachable().is_empty());
    let mut call = Box::pin(peers.hand_over(NodeIncarnation(2), age()));
    assert!(futures::poll!(&mut call).is_pending());
    assert!(inbox.try_recv().is_err());
    peers.set_stalled(false);
    call.await.unwrap();
    assert_eq!(inbox.try_recv().unwrap(), Delivery::HandOver { from: NodeIncarnation(1), ages: age() });
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    async fn run(seed: u64) -> Vec<bool> {
        let network = MemoryNetwork::new();
        let (one, _) = network.join(NodeIncarnation(1));
        let (_two, _inbox) = network.join(NodeIncarnation(2));
        let peers = FaultyPeers::over(one);
        peers.by_chance(SeededChance::new(seed), PeerRates { lost: 200, unanswered: 200, twice: 200 });
        let mut answered = Vec::new();
        for _ in 0..100 {
            answered.push(peers.heartbeats(NodeIncarnation(2), age()).await.is_ok());
        }
        answered
    }
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
    assert!(run(1).await.contains(&true) && run(1).await.contains(&false));
}
