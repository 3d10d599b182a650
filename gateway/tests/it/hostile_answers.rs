//! Readers that ask and do not take what they are answered: what waits for them is bounded, and they lose it.

use std::sync::Arc;

use gateway::admission::Budget;
use gateway::http::Config;
use gateway::listen::Tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hostile_peer::Peer;
use crate::http_world::{ORDERS, SOON, World};

/// Of one answer that is made for each reader.
const OWN_BYTES: usize = 20_000;

fn with(budget: &Budget) -> Config {
    let mut config = Config::default();
    config.listen.unsent = budget.clone();
    config
}

/// Each answer of `/metrics` has so many bytes.
async fn world(bytes: usize) -> World {
    let mut world = World::new().await;
    world.door.surroundings.metrics = Arc::new(move || "x".repeat(bytes));
    world
}

async fn nothing_is_held(world: &World, budget: &Budget) {
    let freed = async {
        while budget.taken() > 0 {
            tokio::task::yield_now().await;
        }
    };
    world.until_done(freed).await;
}

async fn unread_answers_are_bounded(window: u32) {
    let world = world(OWN_BYTES).await;
    let budget = Budget::of_unsent_bytes(5 * OWN_BYTES, 3 * OWN_BYTES);
    let listening = world.listen(with(&budget), &Tls::Off).await;
    let mut peer = Peer::with_window(listening.addr, window).await;
    let mut answers = Vec::new();
    for wanted in [200, 200, 200, 503] {
        let answer = peer.get("/metrics").await;
        assert_eq!(answer.status(), wanted);
        answers.push(answer);
    }
    assert_eq!(answers[3].headers()["retry-after"], "1");
    assert_eq!(budget.taken(), 3 * OWN_BYTES);
    // Others have what is left, until that is spent too.
    let mut other = Peer::with_window(listening.addr, window).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let answer = other.get("/metrics").await;
        statuses.push(answer.status().as_u16());
        answers.push(answer);
    }
    assert_eq!(statuses, [200, 200, 503]);
    // Who reads is never cut, and small answers are always given.
    other.settle().await;
    nothing_is_held(&world, &budget).await;
    assert!(world.clock_ms() < 120_000, "long before a connection is idle");
    tokio::time::timeout(SOON, peer.cut()).await.expect("it lost its connection");
    assert_eq!(Peer::new(listening.addr).await.get("/metrics").await.status(), 200);
}

#[tokio::test]
async fn answers_to_one_who_opens_no_window_are_bounded_and_freed() {
    unread_answers_are_bounded(0).await;
}

/// Then they wait in the buffers of HTTP/2.
#[tokio::test]
async fn answers_to_one_who_opens_his_window_by_a_crack_are_bounded_and_freed() {
    unread_answers_are_bounded(1).await;
}

#[tokio::test]
async fn an_answer_that_is_read_gives_its_bytes_back() {
    let world = world(OWN_BYTES).await;
    let budget = Budget::of_unsent_bytes(OWN_BYTES, OWN_BYTES);
    let listening = world.listen(with(&budget), &Tls::Off).await;
    let mut peer = Peer::new(listening.addr).await;
    for _ in 0..5 {
        let mut body = peer.get("/metrics").await.into_body();
        let mut bytes = 0;
        while let Some(data) = body.data().await {
            bytes += data.expect("a whole answer").len();
        }
        assert_eq!(bytes, OWN_BYTES);
    }
    assert_eq!(budget.taken(), 0);
}

/// More than the kernel takes for a connection.
#[tokio::test]
async fn one_who_does_not_read_http1_is_cut_and_frees_what_waited() {
    const BYTES: usize = 32 << 20;
    let world = world(BYTES).await;
    let budget = Budget::of_unsent_bytes(BYTES, BYTES);
    let listening = world.listen(with(&budget), &Tls::Off).await;
    let mut stream = TcpStream::connect(listening.addr).await.expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it reads");
    let mut start = [0; 1];
    stream.read_exact(&mut start).await.expect("it is answered");
    assert_eq!(budget.taken(), BYTES);
    nothing_is_held(&world, &budget).await;
    assert!(world.clock_ms() < 120_000, "long before a connection is idle");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it was cut");
    assert!(rest.len() < BYTES);
}

/// What all readers of a view share is not counted; what is selected for one is.
#[tokio::test]
async fn shared_bytes_cost_nothing_and_their_readers_are_cut_as_well() {
    let world = World::new().await;
    for id in 0..40 {
        let body = format!(r#"{{"host":"h","port":1,"zone":"z","metadata":{{"k":"{}"}}}}"#, "x".repeat(1_000));
        world.put(&format!("{ORDERS}/instances/{id}"), &body).await.expect(201);
    }
    let budget = Budget::of_unsent_bytes(1 << 20, 1 << 20);
    let listening = world.listen(with(&budget), &Tls::Off).await;
    let mut peer = Peer::with_window(listening.addr, 0).await;
    let shared = peer.get(&format!("{ORDERS}/instances")).await;
    assert_eq!((shared.status().as_u16(), budget.taken()), (200, 0));
    let mut own = Vec::new();
    for query in ["limit=30", "zone=z"] {
        let before = budget.taken();
        own.push(peer.get(&format!("{ORDERS}/instances?{query}")).await);
        assert!(budget.taken() > before + 30_000, "{query}");
    }
    drop(own);
    let mut opens = Peer::with_window(listening.addr, 1).await;
    let _crack = opens.get(&format!("{ORDERS}/instances")).await;
    world.until_done(peer.cut()).await;
    world.until_done(opens.cut()).await;
    assert!(world.clock_ms() < 120_000, "long before a connection is idle");
    assert_eq!(budget.taken(), 0);
    drop(shared);
}

/// Its first bytes promise HTTP/2, and no more comes: that is a head that does not end.
#[tokio::test]
async fn a_start_of_a_preface_is_a_slow_head() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    for start in ["PRI ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let since = world.clock_ms();
        let mut stream = TcpStream::connect(listening.addr).await.expect("it listens");
        stream.write_all(start.as_bytes()).await.expect("it reads");
        let mut rest = Vec::new();
        let _ = world.until_done(stream.read_to_end(&mut rest)).await;
        assert!(world.clock_ms() - since < 60_000, "as soon as any other head that is slow");
    }
}
