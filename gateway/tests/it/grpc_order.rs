//! Requests of a session in the wrong order, under the wrong names, of no known kind, or cut off in the middle.

use compute::testing::change_log::Stall;
use gateway::admission;
use prost::Message;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use tonic::Code;

use crate::grpc_hostile::{SESSION, bytes, framed};
use crate::grpc_load::{brief, meanwhile};
use crate::grpc_stream::{Stream, goodbye, ping};
use crate::grpc_world::{Wishes, World, ids, made, reason, soon};

fn opening() -> Vec<u8> {
    let open = pb::SessionRequest { request_id: 1, request: Some(Request::Open(pb::Open::default())) };
    framed(0, &open.encode_to_vec())
}

/// The replies in what came.
fn replies(mut data: &[u8]) -> Vec<pb::SessionReply> {
    let mut all = Vec::new();
    while let Some((header, rest)) = data.split_first_chunk::<5>() {
        let (message, rest) = rest.split_at(u32::from_be_bytes(header[1..].try_into().unwrap()) as usize);
        all.push(pb::SessionReply::decode(message).expect("a reply"));
        data = rest;
    }
    all
}

fn told(reply: &pb::SessionReply) -> (u64, &str, &str) {
    match &reply.reply {
        Some(Reply::Problem(problem)) => (reply.request_id, &problem.code, &problem.field),
        other => panic!("not a problem: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_of_no_known_kind_is_refused_under_its_id() {
    let world = World::new().await;
    // Field 1 is the id; field 99 is of a kind that nobody knows yet.
    let newer = framed(0, &[0x08, 5, 0x9a, 0x06, 1, b'x']);
    let none = framed(0, &[0x08, 6]);
    let ping = pb::SessionRequest { request_id: 7, request: Some(ping(1)) };
    let ping = framed(0, &ping.encode_to_vec());
    let came = bytes(&world, SESSION, [opening(), newer, none, ping].concat()).await;
    assert_eq!(came.code(), Some(Code::Ok));
    let all = replies(&came.data);
    assert!(matches!(all[0].reply, Some(Reply::Opened(_))));
    assert_eq!(told(&all[1]), (5, "invalid_argument", "request"));
    assert_eq!(told(&all[2]), (6, "invalid_argument", "request"));
    assert!(matches!((all[3].request_id, &all[3].reply), (7, Some(Reply::Pong(_)))));
    assert_eq!(all.len(), 4);
}

#[tokio::test]
async fn a_first_message_that_can_not_be_taken_ends_the_stream() {
    let world = World::new().await;
    let large = vec![0, 0xff, 0, 0, 0];
    let unknown = framed(0, &[0x08, 5, 0x9a, 0x06, 1, b'x']);
    let nameless = pb::SessionRequest { request_id: 0, request: Some(Request::Open(pb::Open::default())) };
    let nameless = framed(0, &nameless.encode_to_vec());
    for (what, first, code, reason) in [
        ("too large", large, Code::ResourceExhausted, (0, "too_large", "")),
        ("of no known kind", unknown, Code::InvalidArgument, (0, "invalid_argument", "request")),
        ("empty", framed(0, &[]), Code::InvalidArgument, (0, "invalid_argument", "request")),
        ("without an id", nameless, Code::InvalidArgument, (0, "invalid_argument", "request_id")),
    ] {
        let came = bytes(&world, SESSION, first).await;
        assert_eq!(came.code(), Some(code), "{what}");
        let all = replies(&came.data);
        assert_eq!((all.len(), told(&all[0])), (1, reason), "{what}");
    }
}

#[tokio::test]
async fn a_request_without_an_id_ends_the_stream_once_all_else_is_answered() {
    let world = World::new().await;
    for nameless in [Some(brief("b")), Some(ping(1)), None] {
        let (mut stream, _) = Stream::new(&world).await;
        world.log.stall(Stall::Append);
        let asked = stream.send(brief("a"));
        match nameless {
            Some(request) => stream.say(0, request),
            None => stream.say_nothing(0),
        }
        meanwhile(&world).await;
        world.log.release(Stall::Append);
        assert!(matches!(stream.answer(asked).await, Reply::Registered(_)));
        let (told, end) = stream.rest().await;
        let end = end.expect("closed with a status");
        assert_eq!((end.code(), reason(&end).as_str()), (Code::InvalidArgument, "invalid_argument"));
        assert!(matches!(&told[..], [Reply::Problem(problem)] if problem.field == "request_id"), "{told:?}");
    }
    assert_eq!(ids(&mut world.client().await, "orders").await, ["a"]);
}

#[tokio::test]
async fn an_id_that_still_waits_for_its_answer_is_not_taken_twice() {
    let world = World::new().await;
    let (mut stream, _) = Stream::new(&world).await;
    world.log.stall(Stall::Append);
    for second in [brief("b"), ping(1), goodbye(true)] {
        stream.say(7, brief("a"));
        stream.say(7, second);
        let Reply::Problem(problem) = stream.answer(7).await else { panic!("taken twice") };
        assert_eq!((problem.code.as_str(), problem.field.as_str()), ("invalid_argument", "request_id"));
        assert!(problem.detail.contains('7') && problem.detail.contains("unanswered"), "{}", problem.detail);
        world.log.release(Stall::Append);
        let Reply::Registered(reply) = stream.answer(7).await else { panic!("not registered") };
        assert_eq!(made(&reply.items[0]).id, "a");
        // Once it is answered it is free again.
        world.log.stall(Stall::Append);
    }
    world.log.release(Stall::Append);
    assert_eq!(ids(&mut world.client().await, "orders").await, ["a"]);
}

#[tokio::test]
async fn what_is_in_flight_at_a_half_close_is_answered() {
    let world = World::new().await;
    let (mut stream, _) = Stream::new(&world).await;
    world.log.stall(Stall::Append);
    let asked: Vec<_> = (0..10).map(|n| stream.send(brief(&n.to_string()))).collect();
    stream.half_close();
    meanwhile(&world).await;
    assert!(futures::poll!(std::pin::pin!(stream.read())).is_pending());
    world.log.release(Stall::Append);
    for id in asked {
        assert!(matches!(stream.answer(id).await, Reply::Registered(_)));
    }
    let (told, end) = stream.rest().await;
    assert!(told.is_empty() && end.is_none(), "{told:?} {end:?}");
}

#[tokio::test]
async fn a_stream_that_is_reset_in_mid_flight_leaves_nothing_behind() {
    let admission = admission::Config { waiting_max: 1, writes_max: 1, ..admission::Config::default() };
    let world = World::with(Wishes { admission, ..Wishes::default() }).await;
    let mut client = world.client().await;
    let (mut stream, first) = Stream::open(&mut client, pb::Open::default()).await;
    world.log.stall(Stall::Append);
    stream.send(brief("a"));
    assert!(matches!(stream.call(ping(1)).await, Reply::Pong(_)));
    // The stream alone, not its connection.
    drop(stream);
    // Its room is free again, whatever comes of what it asked for.
    let mut stream = world.becomes(|| async { Stream::begin(&mut client.clone()).await.ok() }).await;
    let token = Some(first.token.clone());
    stream.send(Request::Open(pb::Open { token, ..pb::Open::default() }));
    meanwhile(&world).await;
    world.log.release(Stall::Append);
    let Reply::Opened(opened) = stream.answer(1).await else { panic!("not opened") };
    assert!(opened.resumed);
    assert!(matches!(stream.call(brief("b")).await, Reply::Registered(_)));
    let left = ids(&mut world.client().await, "orders").await;
    assert!(left == ["a", "b"] || left == ["b"], "it was done or it was not: {left:?}");
    assert!(matches!(stream.call(goodbye(true)).await, Reply::Goodbye(_)));
    assert!(ids(&mut world.client().await, "orders").await.is_empty());
    drop(stream);
    soon(world.shut_down()).await;
}
