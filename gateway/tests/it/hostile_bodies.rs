//! Peers that begin requests and do not end them: nobody else waits for them, and what they may hold is bounded.

use std::time::Duration;

use gateway::http::Config;
use gateway::listen::Tls;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::grpc_world;
use crate::hostile_peer::{Begun, Peer};
use crate::http_world::{Listening, ORDERS, SOON, Wishes, World};

const JSON: &str = "application/json";
const RENEW: &str = "/v1/batch/renew";
const REGISTER: &str = "/v1/batch/register";

async fn idle(peer: &mut Peer, path: &str, count: usize) -> Vec<Begun> {
    let mut begun = Vec::new();
    for _ in 0..count {
        begun.push(peer.begin(path, JSON, b"{").await);
    }
    peer.settle().await;
    begun
}

async fn refused(begun: Begun) -> (u16, String) {
    let response = tokio::time::timeout(SOON, begun.answer).await.expect("in time").expect("an answer");
    let (parts, mut body) = response.into_parts();
    let mut text = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        text.extend_from_slice(&data);
    }
    (parts.status.as_u16(), String::from_utf8_lossy(&text).into_owned())
}

/// A whole request over HTTP/1, head and body apart: the body has to be waited for.
async fn in_two(listening: &Listening, method: &str, path: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(listening.addr).await.expect("it listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (mut reader, mut writer) = stream.into_split();
    let send = async {
        // What is refused may not be read to its end.
        let _ = writer.write_all(body).await;
    };
    let mut answer = Vec::new();
    let receive = async {
        let _ = reader.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(SOON, async { tokio::join!(send, receive) }).await.expect("an answer in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_that_do_not_end_hold_up_neither_renewals_nor_writes() {
    let mut wishes = Wishes::default();
    (wishes.admission.renewals_max, wishes.admission.writes_max) = (2, 2);
    let world = World::with(wishes).await;
    world.register("a").await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let mut peer = Peer::new(listening.addr).await;
    let _renewals = idle(&mut peer, RENEW, 5).await;
    let _writes = idle(&mut peer, REGISTER, 5).await;
    world.post(&format!("{ORDERS}/instances/a/renew"), "").await.expect(204);
    world.register("b").await;
    let renewed = in_two(&listening, "POST", RENEW, br#"{"items":[{"service":"orders","id":"a"}]}"#).await;
    assert!(renewed.starts_with("HTTP/1.1 200"), "{renewed}");
}

#[tokio::test]
async fn messages_that_do_not_end_hold_up_no_call() {
    let mut wishes = grpc_world::Wishes::default();
    (wishes.admission.renewals_max, wishes.admission.writes_max, wishes.admission.in_flight_max) = (2, 2, 4);
    let world = grpc_world::World::with(wishes).await;
    let mut peer = Peer::new(world.addr).await;
    let mut begun = Vec::new();
    for call in ["Renew", "Register", "Discover"] {
        for _ in 0..5 {
            begun.push(peer.begin(&format!("/thuban.v1.Registry/{call}"), "application/grpc", &[0, 0, 0]).await);
        }
    }
    // Answered behind all of them.
    let health = peer.whole("/grpc.health.v1.Health/Check", "application/grpc", &[0; 5]).await;
    assert_eq!(grpc_world::soon(health).await.expect("an answer").status(), 200);
    let mut client = world.client().await;
    grpc_world::must_register(&mut client, [grpc_world::item("orders", "a")]).await;
    client.renew(grpc_world::renew([grpc_world::key("orders", "a")])).await.expect("there is room");
    assert_eq!(grpc_world::ids(&mut client, "orders").await, ["a"]);
}

#[tokio::test]
async fn a_body_that_drips_is_cut_and_one_that_keeps_its_pace_is_not() {
    let mut wishes = Wishes::default();
    wishes.admission.bodies.bytes_per_second = 1;
    let world = World::with(wishes).await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let mut peer = Peer::new(listening.addr).await;
    let slow = peer.begin(RENEW, JSON, b"{").await;
    let mut quick = peer.begin(RENEW, JSON, br#"{"items":[        "#).await;
    peer.settle().await;
    // Beyond the grace, and what one byte more gives.
    world.clock.advance(7_000);
    let (status, text) = refused(slow).await;
    assert_eq!(status, 408, "{text}");
    assert!(text.contains("bytes a second"), "{text}");
    quick.body.send_data(bytes::Bytes::from_static(br#"{"service":"orders","id":"a"}]}"#), true).expect("it is open");
    assert_eq!(refused(quick).await.0, 200);
}

#[tokio::test]
async fn the_slowest_body_gives_way_to_the_newest() {
    let mut wishes = Wishes::default();
    (wishes.admission.bodies.unfinished_max, wishes.admission.bodies.share_max) = (4, 4);
    let world = World::with(wishes).await;
    world.register("a").await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let mut peer = Peer::new(listening.addr).await;
    let mut begun = idle(&mut peer, RENEW, 4).await;
    let renewal = br#"{"items":[{"service":"orders","id":"a"}]}"#;
    let early = in_two(&listening, "POST", RENEW, renewal).await;
    assert!(early.starts_with("HTTP/1.1 503") && early.contains("retry-after: 1"), "{early}");
    world.clock.advance(2_000);
    begun[0].say(b"        ");
    peer.settle().await;
    let answer = in_two(&listening, "POST", RENEW, renewal).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let last = begun.split_off(1);
    let answers = futures::future::select_all(last.into_iter().map(|one| Box::pin(refused(one))));
    let ((status, text), ..) = answers.await;
    assert!(status == 503 && text.contains("needed its place"), "{text}");
}

#[tokio::test]
async fn one_connection_has_a_share_of_unfinished_bodies() {
    let mut wishes = Wishes::default();
    (wishes.admission.bodies.unfinished_max, wishes.admission.bodies.share_max) = (8, 2);
    let world = World::with(wishes).await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let mut peer = Peer::new(listening.addr).await;
    let _held = idle(&mut peer, RENEW, 4).await;
    let (status, text) = refused(peer.begin(RENEW, JSON, b"{").await).await;
    assert!(status == 503 && text.contains("of one connection"), "{text}");
    let other = in_two(&listening, "POST", REGISTER, br#"{"items":[{"service":"orders","host":"h","port":1}]}"#).await;
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
}

#[tokio::test]
async fn half_sent_batches_share_one_budget_and_small_bodies_go_on() {
    let mut wishes = Wishes::default();
    wishes.admission.bodies.bytes_max = 4 << 20;
    let world = World::with(wishes).await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let mut hostile = TcpStream::connect(listening.addr).await.expect("it listens");
    let head = format!(
        "POST {REGISTER} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\ncontent-length: 8000000\r\n\r\n"
    );
    hostile.write_all(head.as_bytes()).await.expect("it reads");
    hostile.write_all(&vec![b' '; 2 << 20]).await.expect("it reads");
    let large = vec![b' '; 2 << 20];
    let full = async {
        loop {
            let answer = in_two(&listening, "POST", REGISTER, &large).await;
            if answer.starts_with("HTTP/1.1 503") {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(SOON, full).await.expect("the budget is spent");
    assert!(answer.contains("retry-after: 1") && answer.contains(r#""code":"overloaded""#), "{answer}");
    for id in ["a", "b"] {
        let path = format!("{ORDERS}/instances/{id}");
        // Above what is free, and still small.
        let body = format!(r#"{{"host":"h","port":1}}{}"#, " ".repeat(10_000));
        let small = in_two(&listening, "PUT", &path, body.as_bytes()).await;
        assert!(small.starts_with("HTTP/1.1 201"), "{small}");
    }
    drop(hostile);
    let free = async { while in_two(&listening, "POST", REGISTER, &large).await.starts_with("HTTP/1.1 503") {} };
    tokio::time::timeout(SOON, free).await.expect("what is gone holds nothing");
}

/// Somewhat more than may come, and said so: it is taken as it would be in chunks, and the connection goes on.
#[tokio::test]
async fn a_body_that_says_that_it_is_too_large_is_taken_like_one_that_does_not() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let bytes = (8 << 20) + (32 << 10);
    let (mut reader, mut writer) = TcpStream::connect(listening.addr).await.expect("it listens").into_split();
    let sending = tokio::spawn(async move {
        let head = format!(
            "PUT {ORDERS}/instances/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\ncontent-length: {bytes}\r\n\r\n"
        );
        writer.write_all(head.as_bytes()).await?;
        writer.write_all(&vec![b' '; bytes]).await?;
        writer.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        Ok::<_, std::io::Error>(writer)
    });
    let mut answers = String::new();
    tokio::time::timeout(SOON, reader.read_to_string(&mut answers)).await.expect("in time").expect("no reset");
    assert!(answers.starts_with("HTTP/1.1 413") && answers.contains("alive\n"), "{answers}");
    sending.await.expect("no panic").expect("all of it is taken");
    assert_eq!(world.ask(Method::GET, &format!("{ORDERS}/instances")).send().await.status, 404);
}
