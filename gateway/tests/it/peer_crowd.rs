//! Connections to the door on which nobody shows the secret: they keep no peer out, and do not stay.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use compute::testing::peers::Delivery;
use gateway::peer::{Config, Limits, Timeouts};
use http::{HeaderMap, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::grpc_world::soon;
use crate::hostile_peer::Peer;
use crate::peer_hostile::{HEARTBEATS, Raw, door, framed, heartbeats};
use crate::peer_world::config;

const PLACES: usize = 16;
const KIND: &str = "application/grpc";

fn good() -> Bytes {
    framed(0, &heartbeats(1))
}

async fn calls(raw: &mut Raw) {
    let (code, words) = raw.call(Raw::signed(HEARTBEATS), Body::from(good())).await;
    assert_eq!(code, Code::Ok, "{words}");
}

/// Someone without the secret who stays, and answers pings.
async fn stranger(addr: SocketAddr) -> Peer {
    let mut stranger = Peer::new(addr).await;
    // It has been let in when it is refused.
    let refused = stranger.whole(HEARTBEATS, KIND, b"").await;
    assert_eq!(soon(refused).await.expect("a refusal").status(), 200);
    stranger
}

/// Half as many more than there are places, and no more than are told that the door is full.
#[tokio::test]
async fn a_crowd_without_the_secret_keeps_no_peer_out() {
    // So long that no time helps.
    let timeouts = Timeouts { prove: Duration::from_secs(3_600), ..Timeouts::default() };
    let limits = Limits { connections_max: PLACES, ..Limits::default() };
    let (serving, _inbox) = door(Config { timeouts, limits, ..config() }).await;
    let mut first = Raw::connect(serving.addr).await;
    calls(&mut first).await;
    let mut crowd = Vec::new();
    for _ in 0..PLACES * 3 / 2 {
        crowd.push(stranger(serving.addr).await);
    }
    let mut members = vec![first];
    while members.len() < PLACES {
        let mut member = Raw::connect(serving.addr).await;
        calls(&mut member).await;
        members.push(member);
    }
    // The oldest strangers went for newer ones, the rest for members, who all stand on the connection they made.
    for stranger in crowd {
        soon(stranger.cut()).await;
    }
    for member in &mut members {
        calls(member).await;
    }
    // All places are those of members: nobody has to go.
    let (code, words) = Raw::connect(serving.addr).await.call(Raw::signed(HEARTBEATS), Body::from(good())).await;
    assert_eq!(code, Code::Unavailable, "{words}");
    members.pop();
    soon(async {
        // Its place is free when the door has seen that it left.
        while Raw::connect(serving.addr).await.call(Raw::signed(HEARTBEATS), Body::from(good())).await.0 != Code::Ok {}
    })
    .await;
}

#[tokio::test]
async fn who_shows_nothing_is_cut_in_time_and_a_peer_that_says_nothing_is_not() {
    let timeouts = Timeouts { prove: Duration::from_millis(300), ..Timeouts::default() };
    let (serving, _inbox) = door(Config { timeouts, ..config() }).await;
    let mut idle = Raw::connect(serving.addr).await;
    calls(&mut idle).await;
    soon(stranger(serving.addr).await.cut()).await;
    soon(Peer::new(serving.addr).await.cut()).await;
    // It has been idle for longer than either of them.
    calls(&mut idle).await;
}

#[tokio::test]
async fn a_call_over_http_1_is_none() {
    let (serving, mut inbox) = door(config()).await;
    let request: Request<()> = Raw::signed(HEARTBEATS).body(()).unwrap();
    let headers = |headers: &HeaderMap| -> String {
        headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect()
    };
    let head = format!(
        "POST {HEARTBEATS} HTTP/1.1\r\nhost: localhost\r\n{}content-length: {}\r\n\r\n",
        headers(request.headers()),
        good().len()
    );
    let mut stream = TcpStream::connect(serving.addr).await.unwrap();
    stream.write_all(&[head.as_bytes(), &good()].concat()).await.unwrap();
    let mut answer = Vec::new();
    // Closed or reset.
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answer));
    assert!(inbox.try_recv().is_err(), "the call was answered");
    calls(&mut Raw::connect(serving.addr).await).await;
    assert!(matches!(inbox.try_recv(), Ok(Delivery::Heartbeats { .. })));
}
