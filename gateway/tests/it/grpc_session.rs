//! The life of a session: opened, lost, resumed, taken over, closed.

use std::time::Duration;

use gateway::grpc::Config;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use tonic::Code;

use crate::grpc_stream::{Stream, goodbye, ping};
use crate::grpc_world::{Wishes, World, ask, ids, item, key, made, reason, soon};

/// The one instance of `orders`, as `healthy` says; `None`: it is gone.
async fn health(world: &World) -> Option<bool> {
    let found = world.client().await.discover(ask("orders")).await.expect("answered").into_inner();
    found.items.first().map(|item| item.healthy)
}

async fn with_orders(world: &World, open: pb::Open) -> (Stream, pb::Opened) {
    let (mut stream, opened) = Stream::open(&mut world.client().await, open).await;
    let reply = stream.register(vec![item("orders", "a")]).await;
    let instance = made(&reply.items[0]);
    assert_eq!(instance.lease.as_ref().unwrap().kind(), pb::lease::Kind::Stream);
    (stream, opened)
}

fn resume(opened: &pb::Opened) -> pb::Open {
    pb::Open { token: Some(opened.token.clone()), ..pb::Open::default() }
}

#[tokio::test]
async fn a_session_is_opened_with_a_token_of_its_own() {
    let world = World::new().await;
    let (_one, first) = Stream::new(&world).await;
    let (_two, second) = Stream::new(&world).await;
    assert_eq!((first.token.len(), first.resumed, first.grace_ms, first.ping_ms), (16, false, 10_000, 0));
    assert_ne!(first.token, second.token);
    assert_eq!(first.node, "thuban");
}

#[tokio::test]
async fn a_stream_lease_lives_as_long_as_its_stream() {
    let world = World::new().await;
    let (stream, _) = with_orders(&world, pb::Open { grace_ms: Some(1_000), ..pb::Open::default() }).await;
    // Long beyond every time of a lease.
    for _ in 0..100 {
        world.clock.advance(1_000);
        tokio::task::yield_now().await;
    }
    assert_eq!(health(&world).await, Some(true));
    drop(stream);
    world.until(|| async { (health(&world).await == Some(false)).then_some(()) }).await;
    world.until(|| async { health(&world).await.is_none().then_some(()) }).await;
    let found = world.client().await.discover(ask("orders")).await.unwrap().into_inner();
    assert_eq!(found.empty.unwrap().reason(), pb::Reason::Expired);
}

#[tokio::test]
async fn a_half_closed_stream_is_answered_and_lost() {
    let world = World::new().await;
    let (mut stream, _) = with_orders(&world, pb::Open { grace_ms: Some(1_000), ..pb::Open::default() }).await;
    let request = pb::RegisterRequest { items: vec![item("orders", "b")], ..pb::RegisterRequest::default() };
    let last = stream.send(Request::Register(request));
    stream.half_close();
    assert!(matches!(stream.answer(last).await, Reply::Registered(_)));
    let (told, end) = stream.rest().await;
    assert!(told.is_empty() && end.is_none(), "{end:?}");
    world.until(|| async { (health(&world).await == Some(false)).then_some(()) }).await;
}

#[tokio::test]
async fn a_session_resumed_within_its_grace_has_lost_nothing() {
    let world = World::new().await;
    let (stream, first) = with_orders(&world, pb::Open { grace_ms: Some(5_000), ..pb::Open::default() }).await;
    let before = world.client().await.discover(ask("orders")).await.unwrap().into_inner().items.remove(0);
    drop(stream);
    let (mut stream, second) = Stream::open(&mut world.client().await, resume(&first)).await;
    assert!(second.resumed && second.epoch > first.epoch);
    assert_eq!((&second.token, second.grace_ms), (&first.token, 5_000));
    for _ in 0..400 {
        world.clock.advance(50);
        tokio::task::yield_now().await;
    }
    assert_eq!(health(&world).await, Some(true));
    // The same session says the same: a heartbeat and no new life.
    let again = stream.register(vec![item("orders", "a")]).await;
    assert!(!again.items[0].created);
    assert_eq!(made(&again.items[0]).generation, before.generation);
}

#[tokio::test]
async fn an_unknown_token_begins_a_new_session() {
    let world = World::new().await;
    let open = pb::Open { token: Some(vec![9; 16]), ..pb::Open::default() };
    let (_stream, opened) = Stream::open(&mut world.client().await, open).await;
    assert!(!opened.resumed);
    assert_ne!(opened.token, vec![9; 16]);
}

#[tokio::test]
async fn a_newer_stream_takes_over_and_the_older_is_told() {
    let world = World::new().await;
    let (mut old, first) = with_orders(&world, pb::Open::default()).await;
    let (mut new, second) = Stream::open(&mut world.client().await, resume(&first)).await;
    assert!(second.resumed);
    let (told, end) = old.rest().await;
    let end = end.expect("closed with a status");
    assert_eq!((end.code(), reason(&end).as_str()), (Code::Aborted, "session_taken"));
    let [Reply::Problem(problem)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((problem.code.as_str(), problem.status), ("session_taken", 409));
    // The end of the older stream is no loss of the session.
    for _ in 0..600 {
        world.clock.advance(50);
        tokio::task::yield_now().await;
    }
    assert_eq!(health(&world).await, Some(true));
    assert!(!new.register(vec![item("orders", "a")]).await.items[0].created);
}

#[tokio::test]
async fn only_a_goodbye_that_says_so_deregisters_at_once() {
    let world = World::new().await;
    let (mut stream, _) = with_orders(&world, pb::Open::default()).await;
    assert!(matches!(stream.call(goodbye(true)).await, Reply::Goodbye(_)));
    assert!(stream.rest().await.1.is_none());
    let found = world.client().await.discover(ask("orders")).await.unwrap().into_inner();
    assert_eq!((found.items.len(), found.empty.unwrap().reason()), (0, pb::Reason::Deregistered));
}

#[tokio::test]
async fn a_goodbye_that_does_not_leaves_it_to_the_grace() {
    let world = World::new().await;
    let (mut stream, opened) = with_orders(&world, pb::Open { grace_ms: Some(1_000), ..pb::Open::default() }).await;
    assert!(matches!(stream.call(goodbye(false)).await, Reply::Goodbye(_)));
    assert!(stream.rest().await.1.is_none());
    assert_eq!(health(&world).await, Some(true));
    // It can still be taken up.
    let (stream, again) = Stream::open(&mut world.client().await, resume(&opened)).await;
    assert!(again.resumed);
    drop(stream);
    world.until(|| async { (health(&world).await == Some(false)).then_some(()) }).await;
}

#[tokio::test]
async fn a_goodbye_waits_for_what_was_asked_before_it() {
    let world = World::new().await;
    let (mut stream, _) = Stream::new(&world).await;
    let request = |id: &str| pb::RegisterRequest { items: vec![item("orders", id)], ..pb::RegisterRequest::default() };
    let asked: Vec<_> = ["a", "b", "c"].iter().map(|id| stream.send(Request::Register(request(id)))).collect();
    let last = stream.send(goodbye(true));
    for id in asked {
        assert!(matches!(stream.answer(id).await, Reply::Registered(_)));
    }
    assert!(matches!(stream.answer(last).await, Reply::Goodbye(_)));
    assert!(ids(&mut world.client().await, "orders").await.is_empty());
}

#[tokio::test]
async fn a_cut_connection_is_a_loss() {
    let world = World::new().await;
    let channel = world.channel().await;
    let mut client = schemas::thuban::v1::registry_client::RegistryClient::new(channel);
    let open = pb::Open { grace_ms: Some(1_000), ..pb::Open::default() };
    let (mut stream, _) = Stream::open(&mut client, open).await;
    stream.register(vec![item("orders", "a")]).await;
    drop((stream, client));
    world.until(|| async { (health(&world).await == Some(false)).then_some(()) }).await;
}

#[tokio::test]
async fn every_kind_of_write_has_its_answer() {
    let world = World::new().await;
    let (mut stream, _) = Stream::new(&world).await;
    let ttl = pb::Lease { kind: pb::lease::Kind::Ttl.into(), ..pb::Lease::default() };
    let reply =
        stream.register(vec![pb::RegisterItem { lease: Some(ttl), ..item("orders", "t") }, item("orders", "s")]);
    let reply = reply.await;
    assert_eq!(made(&reply.items[0]).lease.as_ref().unwrap().kind(), pb::lease::Kind::Ttl);
    let renew = pb::RenewRequest { items: vec![key("orders", "t"), key("orders", "s"), key("orders", "x")] };
    let Reply::Renewed(renewed) = stream.call(Request::Renew(renew)).await else { panic!("not renewed") };
    let codes: Vec<_> = renewed.items.iter().map(|i| i.problem.as_ref().map_or("", |p| p.code.as_str())).collect();
    assert_eq!(codes, ["", "lease_kind", "instance_not_found"]);
    let gone = pb::DeregisterRequest { items: vec![key("orders", "t")], ..pb::DeregisterRequest::default() };
    let Reply::Deregistered(gone) = stream.call(Request::Deregister(gone)).await else { panic!("not deregistered") };
    assert!(gone.items[0].problem.is_none());
    assert_eq!(ids(&mut world.client().await, "orders").await, ["s"]);
    assert!(matches!(stream.call(ping(7)).await, Reply::Pong(pb::Pong { nonce: 7 })));
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_the_session_goes_on() {
    let world = World::new().await;
    let (mut stream, _) = Stream::new(&world).await;
    let none = pb::RegisterRequest::default();
    let Reply::Problem(problem) = stream.call(Request::Register(none)).await else { panic!("taken") };
    assert_eq!((problem.code.as_str(), problem.field.as_str()), ("invalid_argument", "items"));
    let Reply::Problem(problem) = stream.call(Request::Open(pb::Open::default())).await else { panic!("taken") };
    assert_eq!(problem.code, "invalid_argument");
    let Reply::Problem(problem) = stream.call(Request::Unwatch(pb::Unwatch { watch_id: 5 })).await else {
        panic!("taken")
    };
    assert_eq!(problem.field, "watch_id");
    let reply = stream.register(vec![pb::RegisterItem { port: None, ..item("orders", "a") }]).await;
    assert!(matches!(&reply.items[0].outcome, Some(pb::register_outcome::Outcome::Problem(_))));
    assert!(matches!(stream.call(ping(1)).await, Reply::Pong(_)));
}

#[tokio::test]
async fn a_session_begins_with_open_and_nothing_else() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut stream = Stream::raw(&mut client).await;
    stream.send(ping(1));
    let (told, end) = stream.rest().await;
    let end = end.expect("closed with a status");
    assert_eq!((end.code(), reason(&end).as_str()), (Code::InvalidArgument, "invalid_argument"));
    assert!(matches!(&told[..], [Reply::Problem(problem)] if problem.field == "request"));
    let wrong = [
        ("open.token", pb::Open { token: Some(vec![1; 15]), ..pb::Open::default() }),
        ("grace_ms", pb::Open { grace_ms: Some(999), ..pb::Open::default() }),
        ("grace_ms", pb::Open { grace_ms: Some(300_001), ..pb::Open::default() }),
        ("open.client", pb::Open { client: "c".repeat(256), ..pb::Open::default() }),
    ];
    for (field, open) in wrong {
        let mut stream = Stream::raw(&mut client).await;
        stream.send(Request::Open(open));
        let (told, end) = stream.rest().await;
        assert_eq!(end.expect("closed with a status").code(), Code::InvalidArgument);
        assert!(matches!(&told[..], [Reply::Problem(problem)] if problem.field == field), "{field}: {told:?}");
    }
}

#[tokio::test]
async fn a_stream_that_opens_nothing_is_ended() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut stream = Stream::raw(&mut client).await;
    let (_, end) = world.until_done(stream.rest()).await;
    assert_eq!(end.expect("closed with a status").code(), Code::DeadlineExceeded);
    let mut stream = Stream::raw(&mut client).await;
    stream.half_close();
    assert!(stream.rest().await.1.is_none());
    drop(client);
    soon(world.shut_down()).await;
}

#[tokio::test]
async fn a_silent_client_that_asked_for_pings_is_lost() {
    let config = Config { ping_interval: Duration::from_secs(5), ..Config::default() };
    let world = World::with(Wishes { config, ..Wishes::default() }).await;
    let open = pb::Open { ping: true, grace_ms: Some(1_000), ..pb::Open::default() };
    let (mut stream, opened) = with_orders(&world, open).await;
    assert_eq!(opened.ping_ms, 5_000);
    // It is asked once it was silent, and as long as it answers, all is well.
    for _ in 0..3 {
        let Reply::Ping(asked) = world.until_done(stream.unasked()).await else { panic!("not a ping") };
        stream.say(0, Request::Pong(pb::Pong { nonce: asked.nonce }));
        assert!(matches!(stream.call(ping(1)).await, Reply::Pong(_)));
    }
    assert_eq!(health(&world).await, Some(true));
    let (told, end) = world.until_done(stream.rest()).await;
    let [Reply::Ping(_), Reply::Problem(why)] = &told[..] else { panic!("{told:?}") };
    assert!(why.code == "request_timeout" && why.detail.contains("ping"), "{why:?}");
    assert_eq!(end.expect("closed with a status").code(), Code::DeadlineExceeded);
    world.until(|| async { (health(&world).await == Some(false)).then_some(()) }).await;
}

#[tokio::test]
async fn a_draining_node_asks_its_clients_to_move() {
    let world = World::new().await;
    let (mut stream, opened) = with_orders(&world, pb::Open::default()).await;
    world.registry.drain();
    let Reply::Move(after) = stream.unasked().await else { panic!("not asked to move") };
    assert!(after.after_ms <= 5_000, "{after:?}");
    // Until it goes the session is held, and an old one may still come.
    assert!(matches!(stream.call(ping(1)).await, Reply::Pong(_)));
    assert!(opened.epoch > 0);
}
