//! Clients that do not read: what is kept for them has a bound, they get the newest when they read again, and nobody
//! else waits for them.

use std::time::Duration;

use compute::testing::change_log::Stall;
use gateway::listen;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::watch_event::Event;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::grpc_relay::Relay;
use crate::grpc_stream::{Stream, ping, watch};
use crate::grpc_world::{Wishes, World, item, must_register, permanent, soon};

/// Changes while nobody reads; together several times what may be kept.
const TURNS: usize = 600;
/// Of one change, about.
const CHANGE_BYTES: usize = 12_000;
/// What the door may have asked for ahead of a reader, with room to spare: the window that the client gives it, what
/// HTTP/2 and a session keep of a stream, and the events on either side.
const KEPT_BYTES_MAX: usize = 1 << 20;
const WINDOW_BYTES: u32 = 64 << 10;

/// A connection on which a stream that is not read takes up little, and no room of another.
async fn narrow(world: &World) -> RegistryClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.addr)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(16 << 20);
    RegistryClient::new(endpoint.connect().await.expect("it listens"))
}

fn of_orders() -> pb::WatchRequest {
    pb::WatchRequest { services: vec!["orders".into()], ..pb::WatchRequest::default() }
}

fn turned(n: usize) -> pb::RegisterItem {
    let mut changed = permanent(item("orders", "a"));
    changed.metadata.insert("turn".into(), n.to_string());
    changed.metadata.extend((0..12).map(|k| (format!("k{k}"), "x".repeat(1_000))));
    changed
}

async fn told(events: &mut Streaming<pb::WatchEvent>) -> pb::WatchEvent {
    events.message().await.expect("it goes on").expect("it goes on")
}

/// Which turn an event tells of, if it is of a change or a snapshot.
fn turn(event: &pb::WatchEvent) -> Option<usize> {
    let items = match event.event.as_ref()? {
        Event::Snapshot(snapshot) => &snapshot.items,
        Event::Change(change) => &change.put,
        _ => return None,
    };
    items.first().map(|item| item.metadata["turn"].parse().expect("a number"))
}

/// Changes one instance again and again; a watcher that reads sees each change before the next is made.
async fn churn(world: &World, quick: &mut [Streaming<pb::WatchEvent>]) {
    let mut client = world.client().await;
    for n in 1..=TURNS {
        must_register(&mut client, [turned(n)]).await;
        for events in quick.iter_mut() {
            world.until_done(async { while turn(&told(events).await) != Some(n) {} }).await;
        }
    }
}

/// What a reader that was late was told, up to the last change: each event where the one before it ended, or announced.
#[derive(Default)]
struct Late {
    at: String,
    events: usize,
    is_compacted: bool,
}

impl Late {
    /// True once it has seen the last turn.
    fn take(&mut self, event: &pb::WatchEvent) -> bool {
        match event.event.as_ref().expect("an event says something") {
            Event::Change(change) => assert_eq!(change.from_revision, self.at, "nothing is left out"),
            Event::Snapshot(_) => assert!(self.is_compacted || self.events == 0, "a snapshot is announced"),
            Event::Compacted(_) => self.is_compacted = true,
            Event::Progress(_) => {}
        }
        self.at.clone_from(&event.revision);
        self.events += 1;
        turn(event) == Some(TURNS)
    }

    fn check(&self) {
        let bytes = self.events * CHANGE_BYTES;
        assert!(bytes <= KEPT_BYTES_MAX, "{} of {TURNS} changes were kept", self.events);
    }
}

#[tokio::test]
async fn a_watcher_that_does_not_read_gets_the_newest_and_slows_nobody() {
    let world = World::new().await;
    must_register(&mut world.client().await, [turned(0)]).await;
    let mut client = narrow(&world).await;
    let mut slow = client.watch(of_orders()).await.unwrap().into_inner();
    let mut late = Late::default();
    late.take(&soon(told(&mut slow)).await);
    let beside = client.watch(of_orders()).await.unwrap().into_inner();
    let elsewhere = world.client().await.watch(of_orders()).await.unwrap().into_inner();
    churn(&world, &mut [beside, elsewhere]).await;
    world.until_done(async { while !late.take(&told(&mut slow).await) {} }).await;
    late.check();
    // It goes on from there as if nothing had been.
    must_register(&mut client, [turned(TURNS + 1)]).await;
    let next = world.until_done(async { while turn(&told(&mut slow).await) != Some(TURNS + 1) {} });
    next.await;
}

#[tokio::test]
async fn a_session_that_does_not_read_gets_the_newest_and_slows_nobody() {
    let world = World::new().await;
    must_register(&mut world.client().await, [turned(0)]).await;
    let mut client = narrow(&world).await;
    let (mut stream, _) = Stream::open(&mut client, pb::Open::default()).await;
    let mut late = [Late::default(), Late::default()];
    for id in [1, 2] {
        assert!(matches!(stream.call(watch(id, &["orders"])).await, Reply::Watching(_)));
        let (of, event) = stream.event().await;
        assert_eq!(of, id);
        late[id as usize - 1].take(&event);
    }
    let beside = client.watch(of_orders()).await.unwrap().into_inner();
    churn(&world, &mut [beside]).await;
    let mut seen = [false; 2];
    while seen != [true; 2] {
        let (of, event) = world.until_done(stream.event()).await;
        let of = of as usize - 1;
        seen[of] |= late[of].take(&event);
    }
    let both = Late { events: late.iter().map(|late| late.events).sum(), ..Late::default() };
    both.check();
    assert!(matches!(stream.call(ping(1)).await, Reply::Pong(_)));
}

/// Its windows are open wide, but the bytes stay in its socket: then the kernel's buffers come on top.
#[tokio::test]
async fn a_connection_that_is_not_read_gets_the_newest_and_slows_nobody() {
    // It is silent as well, and that is not what this is about.
    let listen = listen::Config { ping_interval: Duration::from_secs(1_000_000), ..listen::Config::default() };
    let world = World::with(Wishes { listen, ..Wishes::default() }).await;
    must_register(&mut world.client().await, [turned(0)]).await;
    let relay = Relay::before(&world).await;
    let mut slow = relay.client().await.watch(of_orders()).await.unwrap().into_inner();
    let mut late = Late::default();
    late.take(&soon(told(&mut slow)).await);
    let elsewhere = world.client().await.watch(of_orders()).await.unwrap().into_inner();
    relay.stop_reading();
    churn(&world, &mut [elsewhere]).await;
    relay.read_again();
    world.until_done(async { while !late.take(&told(&mut slow).await) {} }).await;
    assert!(late.events < TURNS * 2 / 3, "{} of {TURNS} changes were kept", late.events);
}

/// Answers wait as events do; what they take up stops the reading, not what others ask.
#[tokio::test]
async fn a_session_that_is_stuck_does_not_stop_its_connection() {
    let world = World::new().await;
    let mut client = narrow(&world).await;
    let (mut stream, _) = Stream::open(&mut client, pb::Open::default()).await;
    world.log.stall(Stall::Append);
    let heavy = |n: usize| pb::RegisterItem { id: n.to_string(), ..turned(n) };
    let asked: Vec<_> = (0..1_000)
        .map(|n| stream.send(pb::session_request::Request::Register(crate::grpc_world::register([heavy(n)]))))
        .collect();
    let mut large = of_orders();
    large.services.extend((0..5_000).map(|n| format!("service-with-a-long-name-{n}")));
    for _ in 0..20 {
        let mut beside = soon(client.watch(large.clone())).await.expect("it is read").into_inner();
        soon(told(&mut beside)).await;
    }
    world.log.release(Stall::Append);
    for id in asked {
        assert!(matches!(stream.answer(id).await, Reply::Registered(_)));
    }
}
