//! The way of a node to the others, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use compute::model::{InstanceKey, NodeIncarnation, Position};
use compute::port::clock::SystemClock;
use compute::port::peers::{Age, PeerError, Reply};
use compute::port::{Clock, Peers};
use compute::testing::peers::Delivery;
use compute::testing::peers::suite::suite;
use gateway::listen::Tls;
use gateway::peer::{Config, GrpcPeers, Secret, Trust};

use crate::grpc_world::soon;
use crate::http_tls::Files;
use crate::peer_world::{Node, Passing, Sockets, config, two};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_passes_the_suite() {
    suite(&Sockets::new(config(), Tls::Off)).await.unwrap();
}

fn trusting(files: &Files, pem: &str) -> Config {
    let path = files.beside("trusted.pem");
    std::fs::write(&path, pem).expect("a file");
    Config { trust: Trust::Roots(path), ..config() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_over_tls_passes_the_suite() {
    let files = Files::new();
    let pem = files.write();
    suite(&Sockets::new(trusting(&files, &pem), files.tls())).await.unwrap();
}

#[tokio::test]
async fn a_door_with_another_certificate_is_not_believed() {
    let (files, others) = (Files::new(), Files::new());
    files.write();
    let config = trusting(&files, &others.write());
    assert_eq!(config.trust.check().await, Ok(()));
    let one = Node::start(1, config.clone(), &files.tls()).await;
    let mut two = Node::start(2, config, &files.tls()).await;
    one.peers.know(one.node, &[(two.node, two.address())]);
    away(one.peers.drain(two.node).await);
    assert!(two.inbox.try_recv().is_err());
    let wrong = Trust::Roots(files.beside("absent.pem"));
    assert!(wrong.check().await.unwrap_err().contains("absent.pem"));
}

/// Why a call came to nothing.
fn away<T: std::fmt::Debug>(called: Result<T, PeerError>) -> String {
    match called {
        Err(PeerError::Away(why)) => why,
        other => panic!("not away: {other:?}"),
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    soon(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn ages(count: u64) -> Vec<Age> {
    let age = |n: u64| Age {
        instance: InstanceKey::new("default", &format!("s{}", n / 50), &format!("10.0.0.1:{n}")).unwrap(),
        generation: Position::new(1, n + 1).unwrap().at(0),
        age_ms: n,
    };
    (0..count).map(age).collect()
}

#[tokio::test]
async fn a_node_with_another_secret_is_refused_and_told_why() {
    let [one, mut two] = two(config()).await;
    let other = Config::new(Secret::new("the secret of another one").unwrap());
    let stranger = GrpcPeers::new(other, SystemClock::new());
    stranger.know(one.node, &[(two.node, two.address())]);
    let refused = stranger.heartbeats(two.node, ages(1)).await;
    let Err(PeerError::Refused(why)) = refused else { panic!("it lives, and says so: {refused:?}") };
    assert!(why.contains("does not show that it has the secret"), "{why}");
    assert!(!why.contains("the secret of another one"), "{why}");
    // Somebody has asked just now, and nobody asks again so soon: what is known is said.
    for _ in 0..20 {
        let again = stranger.ask(two.node).await;
        assert!(matches!(&again, Err(PeerError::Refused(_))), "{again:?}");
    }
    until(|| one.peers.reachable() == [two.node]).await;
    assert!(stranger.reachable().is_empty());
    assert!(two.inbox.try_recv().is_err());
}

#[tokio::test]
async fn a_cut_link_is_noticed_and_so_is_its_end() {
    let [one, mut two] = two(config()).await;
    until(|| one.peers.reachable() == [two.node]).await;
    two.relay.set(Passing::Cut);
    away(soon(one.peers.heartbeats(two.node, ages(1))).await);
    assert!(one.peers.reachable().is_empty());
    // Nobody waits for a link that is known to be cut.
    until(|| one.peers.reachable().is_empty()).await;
    two.relay.set(Passing::Through);
    until(|| one.peers.reachable() == [two.node]).await;
    one.peers.heartbeats(two.node, ages(1)).await.unwrap();
    assert_eq!(two.inbox.recv().await, Some(Delivery::Heartbeats { from: one.node, heard: ages(1) }));
}

#[tokio::test]
async fn a_silent_node_is_noticed_without_a_call_and_heard_again_over_a_new_connection() {
    let [one, two] = two(config()).await;
    until(|| one.peers.reachable() == [two.node]).await;
    two.relay.set(Passing::Silent);
    let clock = SystemClock::new();
    until(|| one.peers.reachable().is_empty()).await;
    assert!(clock.mono_ms() < 5_000, "noticed after {} ms", clock.mono_ms());
    // What the silent connection still held is lost; the next one is whole.
    two.relay.set(Passing::Cut);
    two.relay.set(Passing::Through);
    until(|| one.peers.reachable() == [two.node]).await;
    one.peers.ask(two.node).await.unwrap();
}

#[tokio::test]
async fn who_restarts_at_the_same_address_is_another_one() {
    let [one, mut two] = two(config()).await;
    let next = NodeIncarnation(0xb2);
    let reply = one.peers.ask(two.node).await.unwrap();
    two.host.set_reply(Reply { node: next, ..reply });
    let why = away(one.peers.hand_over(two.node, ages(3)).await);
    assert!(why.contains("another node answers here"), "{why}");
    // Both are members until the log says that the first is gone.
    one.peers.know(one.node, &[(two.node, two.address()), (next, two.address())]);
    until(|| one.peers.reachable() == [next]).await;
    one.peers.hand_over(next, ages(3)).await.unwrap();
    assert_eq!(two.inbox.try_recv(), Ok(Delivery::HandOver { from: one.node, ages: ages(3) }));
}

#[tokio::test]
async fn an_address_that_is_none_is_said_to_be_none() {
    let peers = GrpcPeers::new(config(), SystemClock::new());
    let wrong = ["", "localhost", "a b:1", "localhost:99999", "http://localhost:1"];
    let members = wrong.iter().zip(2..).map(|(address, n)| (NodeIncarnation(n), Arc::<str>::from(*address)));
    peers.know(NodeIncarnation(1), &members.collect::<Vec<_>>());
    for (n, address) in (2..).zip(wrong) {
        let why = away(peers.ask(NodeIncarnation(n)).await);
        assert!(why.contains("address") || why.contains("asked again"), "{address}: {why}");
    }
    assert!(peers.reachable().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_ages_are_handed_over() {
    let [one, mut two] = two(config()).await;
    let ages = ages(1_000_000);
    let count = ages.len();
    soon(one.peers.hand_over(two.node, ages)).await.unwrap();
    let mut next = 0;
    while next < count as u64 {
        let Ok(Delivery::HandOver { ages, .. }) = two.inbox.try_recv() else { panic!("{next} arrived") };
        assert!(ages.iter().zip(next..).all(|(age, n)| age.age_ms == n));
        next += ages.len() as u64;
    }
}
