//! Much at once on one session.

use compute::testing::change_log::Stall;
use gateway::grpc::UNANSWERED_MAX;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use schemas::thuban::v1::watch_event::Event;

use crate::grpc_stream::{Stream, goodbye, ping, watch};
use crate::grpc_world::{World, ask, ids, item, made, must_register, permanent, soon};

pub(crate) fn brief(id: &str) -> Request {
    let items = vec![item("orders", id)];
    Request::Register(pb::RegisterRequest { items, brief: true, ..pb::RegisterRequest::default() })
}

/// Some calls there and back: whatever the server can do without anybody's help, it has done.
pub(crate) async fn meanwhile(world: &World) {
    let mut client = world.client().await;
    for _ in 0..50 {
        soon(client.discover(ask("nobody"))).await.expect("answered");
    }
}

#[tokio::test]
async fn a_session_is_answered_everything_once_however_much_it_asks() {
    let world = World::new().await;
    let (mut stream, _) = Stream::new(&world).await;
    const COUNT: usize = 5_000;
    let asked: Vec<_> = (0..COUNT).map(|n| stream.send(brief(&format!("i{n:05}")))).collect();
    for (n, id) in asked.into_iter().enumerate() {
        let Reply::Registered(reply) = stream.answer(id).await else { panic!("not registered") };
        assert_eq!(made(&reply.items[0]).id, format!("i{n:05}"));
    }
    assert_eq!(ids(&mut world.client().await, "orders").await.len(), COUNT);
    assert!(matches!(stream.call(goodbye(true)).await, Reply::Goodbye(_)));
    assert!(ids(&mut world.client().await, "orders").await.is_empty());
}

#[tokio::test]
async fn with_so_many_unanswered_the_server_stops_reading() {
    let world = World::new().await;
    let (mut stream, _) = Stream::new(&world).await;
    world.log.stall(Stall::Append);
    let mut asked: Vec<_> = (1..UNANSWERED_MAX).map(|n| stream.send(brief(&n.to_string()))).collect();
    // One below the limit: what comes next is read, and answered at once.
    assert!(matches!(stream.call(ping(1)).await, Reply::Pong(_)));
    asked.push(stream.send(brief("last")));
    let late = stream.send(ping(2));
    meanwhile(&world).await;
    let nothing = futures::poll!(std::pin::pin!(stream.read()));
    assert!(nothing.is_pending(), "{nothing:?}");
    world.log.release(Stall::Append);
    assert!(matches!(stream.answer(late).await, Reply::Pong(_)));
    for id in asked {
        assert!(matches!(stream.answer(id).await, Reply::Registered(_)));
    }
}

#[tokio::test]
async fn many_items_in_few_requests_count_as_many() {
    let world = World::new().await;
    let (mut stream, _) = Stream::new(&world).await;
    world.log.stall(Stall::Append);
    let thousand = |n: usize| {
        let items = (0..1_000).map(|i| item("orders", &format!("{n}-{i}"))).collect();
        Request::Register(pb::RegisterRequest { items, brief: true, ..pb::RegisterRequest::default() })
    };
    let asked: Vec<_> = (0..8).map(|n| stream.send(thousand(n))).collect();
    let late = stream.send(ping(1));
    meanwhile(&world).await;
    let nothing = futures::poll!(std::pin::pin!(stream.read()));
    assert!(nothing.is_pending(), "{nothing:?}");
    world.log.release(Stall::Append);
    for id in asked {
        let Reply::Registered(reply) = stream.answer(id).await else { panic!("not registered") };
        assert_eq!(reply.items.len(), 1_000);
    }
    assert!(matches!(stream.answer(late).await, Reply::Pong(_)));
}

#[tokio::test]
async fn no_watch_of_a_session_starves_another() {
    let world = World::new().await;
    let (mut stream, _) = Stream::new(&world).await;
    let names: Vec<_> = (0..50).map(|n| format!("s{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        assert!(matches!(stream.call(watch(n as u64 + 1, &[name])).await, Reply::Watching(_)));
    }
    let mut client = world.client().await;
    // One of them changes all the time; the others once.
    for n in 0..200 {
        let busy = pb::RegisterItem { weight: Some(n), ..permanent(item("s0", "a")) };
        must_register(&mut client, [busy]).await;
    }
    must_register(&mut client, names.iter().skip(1).map(|name| permanent(item(name, "a")))).await;
    let mut missing: std::collections::BTreeSet<u64> = (2..=50).collect();
    while !missing.is_empty() {
        let (id, event) = world.until_done(stream.event()).await;
        if matches!(event.event, Some(Event::Change(_))) {
            missing.remove(&id);
        }
    }
}
