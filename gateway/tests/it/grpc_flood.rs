//! Very many requests and streams of one peer: each is answered, or refused by name, and nothing piles up.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use futures::future::Either;
use gateway::admission;
use http_body_util::StreamBody;
use hyper::body::Frame;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use schemas::thuban::v1::watch_event::Event;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::grpc_hostile::{SESSION, framed, send};
use crate::grpc_load::meanwhile;
use crate::grpc_stream::{Stream, ping, watch};
use crate::grpc_world::{Wishes, World, ids, item, must_register, permanent, reason, register, soon};

/// A connection whose streams may each be sent little ahead.
async fn narrow(world: &World) -> RegistryClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.addr)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(64 << 10).initial_connection_window_size(1 << 20);
    RegistryClient::new(endpoint.connect().await.expect("it listens"))
}

fn of_orders() -> pb::WatchRequest {
    pb::WatchRequest { services: vec!["orders".into()], ..pb::WatchRequest::default() }
}

/// About 3 kB to send, and as much to answer.
fn heavy(n: usize) -> Request {
    let mut heavy = pb::RegisterItem { weight: Some((n / 100) as u32), ..item("orders", &(n % 100).to_string()) };
    heavy.metadata.extend((0..3).map(|k| (k.to_string(), "x".repeat(1_000))));
    Request::Register(register([heavy]))
}

#[tokio::test]
async fn who_asks_and_does_not_read_is_read_no_further() {
    const COUNT: usize = 10_000;
    let world = World::new().await;
    let mut client = narrow(&world).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&taken);
    let open = pb::SessionRequest { request_id: 1, request: Some(Request::Open(pb::Open::default())) };
    let requests = futures::stream::iter((0..COUNT).map(move |n| {
        counting.store(n + 1, Ordering::SeqCst);
        pb::SessionRequest { request_id: n as u64 + 2, request: Some(heavy(n)) }
    }));
    let asked = futures::stream::iter([open]).chain(requests);
    let mut replies = soon(client.session(asked)).await.expect("it streams").into_inner();
    // Until no more is taken, however long the door has for it.
    let mut before = 0;
    while taken.load(Ordering::SeqCst) > before {
        before = taken.load(Ordering::SeqCst);
        meanwhile(&world).await;
        meanwhile(&world).await;
    }
    assert!(before < COUNT / 4, "{before} of {COUNT} requests were taken without an answer being read");
    let mut answered = vec![false; COUNT + 2];
    while let Some(reply) = soon(replies.message()).await.expect("no error") {
        let twice = std::mem::replace(&mut answered[reply.request_id as usize], true);
        assert!(!twice, "request {} is answered twice", reply.request_id);
    }
    assert_eq!(answered.iter().filter(|answered| !**answered).count(), 1, "all but request 0");
    assert_eq!(ids(&mut world.client().await, "orders").await.len(), 100);
}

#[tokio::test]
async fn a_thousand_streams_of_one_connection_are_served_each() {
    const HALF: usize = 500;
    let admission = admission::Config { waiting_max: 2 * HALF, ..admission::Config::default() };
    let world = World::with(Wishes { admission, ..Wishes::default() }).await;
    let mut client = world.client().await;
    let (mut sessions, mut watches) = (Vec::new(), Vec::new());
    for n in 0..HALF {
        let (mut stream, _) = Stream::open(&mut client, pb::Open::default()).await;
        stream.register(vec![item("stock", &n.to_string())]).await;
        assert!(matches!(stream.call(watch(1, &["orders"])).await, Reply::Watching(_)));
        stream.event().await;
        sessions.push(stream);
        let mut events = soon(client.watch(of_orders())).await.expect("it streams").into_inner();
        soon(events.message()).await.unwrap().unwrap();
        watches.push(events);
    }
    let refused = client.watch(of_orders()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "overloaded"));
    must_register(&mut world.client().await, [permanent(item("orders", "a"))]).await;
    let is_put = |event: &pb::WatchEvent| matches!(&event.event, Some(Event::Change(change)) if change.put.len() == 1);
    for (stream, events) in sessions.iter_mut().zip(&mut watches) {
        world.until_done(async { while !is_put(&stream.event().await.1) {} }).await;
        world.until_done(async { while !is_put(&events.message().await.unwrap().unwrap()) {} }).await;
        assert!(matches!(stream.call(ping(1)).await, Reply::Pong(_)));
    }
    assert_eq!(ids(&mut client, "stock").await.len(), HALF);
    // With their connection they are all gone, and there is room again.
    drop((sessions, watches, client));
    world.becomes(|| async { world.client().await.watch(of_orders()).await.ok().map(drop) }).await;
    soon(world.shut_down()).await;
}

#[tokio::test]
async fn streams_that_are_reset_at_once_cost_nobody_else() {
    let world = World::new().await;
    let mut hostile = world.client().await;
    for _ in 0..3_000 {
        let open = pb::SessionRequest { request_id: 1, request: Some(Request::Open(pb::Open::default())) };
        let asked = futures::stream::iter([open]).chain(futures::stream::pending());
        let mut calling = Box::pin(hostile.session(asked));
        // Sent, perhaps, and taken back.
        let _ = futures::poll!(calling.as_mut());
        tokio::task::yield_now().await;
    }
    must_register(&mut world.client().await, [permanent(item("orders", "a"))]).await;
    drop(hostile);
    soon(world.shut_down()).await;
}

/// Each stream may send a large message, but not all of them at once, and never end it.
#[tokio::test]
async fn messages_that_are_begun_and_never_ended_take_up_no_more_than_their_room() {
    let mut wishes = Wishes::default();
    wishes.admission.bodies.bytes_max = 1 << 20;
    let world = World::with(wishes).await;
    let begun = || {
        let mut start = framed(0, &[0; 2 << 20]);
        start.truncate(600 << 10);
        let start = futures::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(start)))]);
        let body = StreamBody::new(start.chain(futures::stream::pending()).boxed());
        http::Request::post(format!("http://thuban{SESSION}"))
            .header("content-type", "application/grpc")
            .body(body)
            .unwrap()
    };
    let first = tokio::spawn(send(world.addr, begun()));
    let second = tokio::spawn(send(world.addr, begun()));
    // Which of them comes too late is told so; the other may go on.
    let (came, other) = match soon(futures::future::select(first, second)).await {
        Either::Left((came, other)) | Either::Right((came, other)) => (came.expect("no panic"), other),
    };
    assert_eq!(came.code(), Some(Code::Unavailable), "{}", came.message());
    assert!(came.message().contains("unfinished"), "{}", came.message());
    must_register(&mut world.client().await, [permanent(item("orders", "a"))]).await;
    other.abort();
    // What the one that was cut off held is free again: the next waits for its end, until it is out of time.
    let again = async {
        loop {
            let came = send(world.addr, begun()).await;
            match came.code() {
                Some(Code::DeadlineExceeded) => return,
                code => assert_eq!(code, Some(Code::Unavailable), "{}", came.message()),
            }
        }
    };
    world.until_done(again).await;
}
