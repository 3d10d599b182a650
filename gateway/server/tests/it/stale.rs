//! A node whose change log and store are away when it starts, and that has its own copy of what had landed.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};
use tokio::process::Command;

use crate::caller::{Answer, Caller, instance};
use crate::process::{Ended, Home, within};

/// Nobody listens there.
const NOWHERE: [&str; 4] = ["--log", "kafka://127.0.0.1:9/thuban", "--store", "mysql://u:p@127.0.0.1:9/thuban"];

/// A home with a copy in which one instance has landed.
async fn with_copy() -> Home {
    let (home, other) = (Home::new(), Home::new());
    let node = other.start().await;
    let mut caller = node.caller().await;
    caller
        .put(&format!("{}?ack=store", instance("orders", "a")), &json!({"host":"127.0.0.1","port":80}))
        .await
        .expect(201);
    node.stop().await;
    std::fs::create_dir_all(home.folder()).expect("a folder");
    for end in ["", "-wal", "-shm"] {
        let (from, to) = (other.file(&format!("store.sqlite{end}")), home.file(&format!("snapshot.sqlite{end}")));
        if from.exists() {
            std::fs::copy(from, to).expect("copied");
        }
    }
    home
}

fn serve(home: &Home, serve_stale: bool) -> Command {
    serve_at(home, serve_stale, [SocketAddr::from(([127, 0, 0, 1], 0)); 2])
}

fn serve_at(home: &Home, serve_stale: bool, [peer, gossip]: [SocketAddr; 2]) -> Command {
    let secret = home.path().join("secret");
    std::fs::write(&secret, "a secret of more than sixteen bytes").expect("written");
    let mut command = home.serve();
    command.args(NOWHERE).arg("--cluster-secret-file").arg(secret);
    command.args(["--peer", &peer.to_string(), "--gossip", &gossip.to_string()]).stderr(Stdio::piped());
    command.env("THUBAN_SERVE_STALE", serve_stale.to_string());
    command
}

/// What it answers about the service once it has found that the log is away.
async fn answered(home: &Home, serve_stale: bool) -> Answer {
    let mut child = serve(home, serve_stale).spawn().expect("the program runs");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut address = None;
    let address: SocketAddr = within("that the log is away", async {
        loop {
            let line = lines.next_line().await.expect("UTF-8").expect("it lives");
            let entry: Value = serde_json::from_str(&line).expect("JSON");
            let said = |field: &str| entry[field].as_str();
            if said("door") == Some("http") {
                address = said("address").and_then(|address| address.parse().ok());
            }
            if said("message").is_some_and(|said| said.starts_with("the log does not answer")) {
                break address.expect("it listens");
            }
        }
    })
    .await;
    // Whoever does not read it holds it up.
    let reading = tokio::spawn(async move { while lines.next_line().await.is_ok_and(|line| line.is_some()) {} });
    let answer = Caller::connect(address).await.expect("it listens").get("/v1/discover?service=orders").await;
    child.kill().await.expect("killed");
    reading.abort();
    answer
}

#[tokio::test]
async fn a_node_that_may_answers_from_its_copy_while_the_log_is_away() {
    let answer = answered(&with_copy().await, true).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    assert_eq!(answer.headers.get("x-thuban-stale").map(|mark| mark.as_bytes()), Some(&b"true"[..]));
    assert_eq!(answer.body["items"].as_array().map(Vec::len), Some(1), "{}", answer.body);
}

#[tokio::test]
async fn a_node_that_may_not_waits_for_its_log() {
    let answer = answered(&with_copy().await, false).await;
    assert_eq!((answer.status.as_u16(), answer.body["code"].as_str()), (503, Some("not_ready")));
}

/// Before anything is opened that others share, and long before it says that it is ready.
#[tokio::test]
async fn a_port_of_the_cluster_in_use_names_door_and_option() {
    let held = (TcpListener::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let (calls, gossip) = (held.0.local_addr().unwrap(), held.1.local_addr().unwrap());
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    for (door, taken, at) in [("peer", calls, [calls, free]), ("gossip", gossip, [free, gossip])] {
        let home = Home::new();
        let mut command = serve_at(&home, false, at);
        let ended = Ended::of(within("a start that fails", command.output()).await.expect("the program runs"));
        let ended = ended.with(3, &[&format!("the {door} door can't listen on {taken}"), &format!("--{door}")]);
        assert_eq!(ended.out, "", "it said that it was ready");
    }
}
