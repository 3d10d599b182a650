//! Peers that say nothing more: asked for a sign of life, dropped within the bound, their leases left to the grace.

use std::time::Duration;

use compute::model::ServiceKey;
use gateway::listen;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_reply::Reply;

use crate::grpc_relay::Relay;
use crate::grpc_stream::{Stream, ping, watch};
use crate::grpc_world::{Wishes, World, ask, item, must_register, permanent, soon};

/// Between two pings, and for the answer.
const SPAN: Duration = Duration::from_millis(200);
/// Far above two of those, far below what a door is told by default.
const BOUND: Duration = Duration::from_secs(4);
const GRACE_MS: u32 = 5_000;

async fn quick_pings() -> World {
    let listen = listen::Config {
        ping_interval: SPAN,
        ping_timeout: SPAN,
        // Not what ends anything here.
        idle_timeout: Duration::from_secs(1_000_000),
        ..listen::Config::default()
    };
    World::with(Wishes { listen, ..Wishes::default() }).await
}

/// A session behind the relay that holds `orders` and watches `stock`, by which it can be seen.
async fn behind(relay: &Relay) -> Stream {
    let open = pb::Open { grace_ms: Some(GRACE_MS), ..pb::Open::default() };
    let (mut stream, _) = Stream::open(&mut relay.client().await, open).await;
    stream.register(vec![item("orders", "a")]).await;
    assert!(matches!(stream.call(watch(1, &["stock"])).await, Reply::Watching(_)));
    stream.event().await;
    stream
}

fn watchers(world: &World, service: &str) -> usize {
    world.registry.subscribers(&ServiceKey::new("default", service).unwrap()).len()
}

async fn dropped(world: &World, service: &str) {
    let gone = world.becomes(|| async { (watchers(world, service) == 0).then_some(()) });
    tokio::time::timeout(BOUND, gone).await.expect("dropped within the bound");
}

async fn health(world: &World) -> Option<bool> {
    let found = soon(world.client().await.discover(ask("orders"))).await.expect("answered").into_inner();
    found.items.first().map(|item| item.healthy)
}

#[tokio::test]
async fn a_peer_that_vanishes_is_dropped_and_its_grace_begins() {
    let world = quick_pings().await;
    let relay = Relay::before(&world).await;
    let _stream = behind(&relay).await;
    assert_eq!(watchers(&world, "stock"), 1);
    relay.vanish();
    // The node's time stands still, so this is told by the pings alone.
    dropped(&world, "stock").await;
    assert_eq!(health(&world).await, Some(true));
    let mut passed_ms = 0;
    while health(&world).await == Some(true) {
        world.clock.advance(100);
        passed_ms += 100;
        // What is due now is done before more time passes.
        for _ in 0..10 {
            health(&world).await;
        }
    }
    let bounds = u64::from(GRACE_MS)..=u64::from(GRACE_MS) + 2_000;
    assert!(bounds.contains(&passed_ms), "unhealthy after {passed_ms} ms");
}

#[tokio::test]
async fn a_quiet_peer_that_answers_pings_is_kept() {
    let world = quick_pings().await;
    let relay = Relay::before(&world).await;
    let mut stream = behind(&relay).await;
    let mut unread = relay.client().await.watch(of_stock()).await.unwrap().into_inner();
    let before = relay.down_pieces();
    // Nothing but pings goes to either client.
    world.becomes(|| async { (relay.down_pieces() >= before + 10).then_some(()) }).await;
    assert_eq!(watchers(&world, "stock"), 2);
    assert!(matches!(stream.call(ping(1)).await, Reply::Pong(_)));
    assert!(soon(unread.message()).await.unwrap().is_some());
}

fn of_stock() -> pb::WatchRequest {
    pb::WatchRequest { services: vec!["stock".into()], ..pb::WatchRequest::default() }
}

/// Far more than the kernel takes for a peer that does not read.
async fn much_of_stock(world: &World) {
    let heavy = |n: usize| {
        let mut heavy = permanent(item("stock", &n.to_string()));
        heavy.metadata.extend((0..15).map(|k| (format!("k{k}"), "x".repeat(1_000))));
        heavy
    };
    let mut client = world.client().await;
    for part in 0..4 {
        must_register(&mut client, (part * 200..(part + 1) * 200).map(heavy)).await;
    }
}

/// It has not taken what it was sent, so neither the ping that would unmask it nor the goodbye can be sent.
#[tokio::test]
async fn a_peer_that_vanishes_with_much_unread_is_dropped_too() {
    let world = quick_pings().await;
    much_of_stock(&world).await;
    let relay = Relay::before(&world).await;
    let mut client = relay.client().await;
    let open = pb::Open { grace_ms: Some(GRACE_MS), ..pb::Open::default() };
    let (mut stream, _) = Stream::open(&mut client, open).await;
    stream.register(vec![item("orders", "a")]).await;
    relay.stop_reading();
    stream.send(watch(1, &["stock"]));
    let mut asking = Box::pin(client.watch(of_stock()));
    let both = world.becomes(|| async { (watchers(&world, "stock") == 2).then_some(()) });
    tokio::select! {
        () = both => {}
        answered = asking.as_mut() => panic!("it was read: {answered:?}"),
    }
    relay.vanish();
    world.until(|| async { (watchers(&world, "stock") == 0).then_some(()) }).await;
    world.until(|| async { (health(&world).await == Some(false)).then_some(()) }).await;
    // Its connection is closed as well: a stop waits for none, and no time passes in which it would be cut.
    world.shut_down().await;
}
