//! The change log is gone and the store is not: nothing is made up silently, and on somebody's word what had landed goes
//! on, at revisions above all that were.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::caller::{Caller, instance};
use crate::process::{Ended, Home, Node, within};
use crate::stream::{Opened, Stream};

const INSTANCES: usize = 20;
const WATCH: &str = "/v1/namespaces/default/services/orders/watch";
const ADVICE: &[&str] = &["log.sqlite", "move what is left of it", "--adopt-store", "what had not landed is lost"];

/// The generation and the offset of a revision.
fn place(revision: &str) -> (u64, u64) {
    let numbers: Vec<u64> = revision.split('.').map(|number| number.parse().expect("a number")).collect();
    (numbers[0], numbers[1])
}

async fn register(caller: &mut Caller, id: &str, ack: &str) -> String {
    let body = json!({ "host": "127.0.0.1", "port": 80, "lease": { "kind": "permanent" } });
    let answer = caller.put(&format!("{}?ack={ack}", instance("orders", id)), &body).await;
    assert!(answer.status.is_success(), "{}", answer.body);
    answer.body["revision"].as_str().expect("a revision").to_owned()
}

async fn listed(caller: &mut Caller) -> usize {
    let found = caller.get("/v1/namespaces/default/services/orders/instances").await.expect(200);
    found["items"].as_array().expect("a list").len()
}

/// A node with something landed, stopped; and the last revision that it gave.
async fn used(home: &Home) -> String {
    let node = home.start().await;
    let mut caller = node.caller().await;
    let mut last = String::new();
    for id in 0..INSTANCES {
        last = register(&mut caller, &format!("i{id}"), "store").await;
    }
    node.stop().await;
    last
}

fn wal(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", path.display()))
}

fn lose(home: &Home) {
    let log = home.file("log.sqlite");
    std::fs::remove_file(&log).expect("a log");
    // A clean stop leaves none.
    let _ = std::fs::remove_file(wal(&log));
}

async fn adopt_fails(home: &Home) -> Ended {
    let output = home.serve().arg("--adopt-store").output();
    Ended::of(within("a start that fails", output).await.expect("the program runs"))
}

async fn adopt(home: &Home) -> Node {
    let mut command = home.serve();
    command.arg("--adopt-store");
    Node::start(command).await
}

/// It has everything that landed, and goes on above `before`.
async fn goes_on(node: &Node, before: &str, extra: usize) -> String {
    let mut caller = node.caller().await;
    assert_eq!(listed(&mut caller).await, INSTANCES + extra);
    let Opened::Stream(mut stream) = Stream::open(node.http, WATCH, Some(before)).await.expect("it answers") else {
        panic!("a watcher from before is refused")
    };
    let first = within("an event", stream.next()).await.expect("an event");
    assert_eq!(first.kind, "compacted", "the snapshot is not announced: {first:?}");
    let then = within("an event", stream.next()).await.expect("an event");
    assert_eq!(then.kind, "snapshot", "{then:?}");
    assert_eq!(then.body["items"].as_array().expect("a list").len(), INSTANCES + extra);
    let revision = register(&mut caller, &format!("more{extra}"), "store").await;
    assert!(place(&revision) > place(before), "{revision} after {before}");
    let event = within("the change", stream.next()).await.expect("the change");
    assert_eq!(event.kind, "change", "{event:?}");
    revision
}

#[tokio::test]
async fn a_lost_log_is_told_and_what_landed_goes_on_when_somebody_says_so() {
    let home = Home::new();
    let before = used(&home).await;
    lose(&home);
    home.start_fails().await.with(4, &["there is no change log"]).with(4, ADVICE);
    assert!(!home.file("log.sqlite").exists(), "a new log was begun in place of a lost one");

    let node = adopt(&home).await;
    let after = goes_on(&node, &before, 0).await;
    assert!(place(&after).0 > place(&before).0, "{after} after {before}: the generation was not raised");
    // As after a crash: the new log and the store are a pair.
    node.kill().await;
    let node = home.start().await;
    let mut caller = node.caller().await;
    assert_eq!(listed(&mut caller).await, INSTANCES + 1);
    node.stop().await;

    // Again: once more above.
    lose(&home);
    let node = adopt(&home).await;
    let again = goes_on(&node, &after, 1).await;
    assert!(place(&again).0 > place(&after).0, "{again} after {after}");
    assert!(node.log().contains("a new change log takes the place of a lost one"));
    node.kill().await;
}

#[tokio::test]
async fn the_advice_about_a_damaged_log_works() {
    let home = Home::new();
    let before = used(&home).await;
    let log = home.file("log.sqlite");
    let mut bytes = std::fs::read(&log).expect("a log");
    bytes[8_192..].fill(0);
    std::fs::write(&log, bytes).expect("a damaged log");
    home.start_fails().await.with(4, ADVICE);
    // It is not thrown away for a word.
    adopt_fails(&home).await.with(4, ADVICE);
    assert!(log.exists());
    lose(&home);
    goes_on(&adopt(&home).await, &before, 0).await;
}

#[tokio::test]
async fn another_nodes_log_is_not_taken() {
    let (home, other) = (Home::new(), Home::new());
    let before = used(&home).await;
    used(&other).await;
    std::fs::copy(other.file("log.sqlite"), home.file("log.sqlite")).expect("a copy");
    home.start_fails().await.with(4, &["and not log"]).with(4, ADVICE);
    adopt_fails(&home).await.with(4, &["they are not a pair"]);
    lose(&home);
    goes_on(&adopt(&home).await, &before, 0).await;
}

/// The process ended between the two files: the log is there, and the store does not know it yet.
#[tokio::test]
async fn an_adoption_that_was_cut_short_is_done_again() {
    let home = Home::new();
    let before = used(&home).await;
    lose(&home);
    let saved = std::fs::read(home.file("store.sqlite")).expect("a store");
    let node = adopt(&home).await;
    node.signal("-TERM").await;
    node.ended().await.with(0, &[]);
    std::fs::write(home.file("store.sqlite"), saved).expect("a store");
    home.start_fails().await.with(4, &["and not log"]).with(4, ADVICE);
    goes_on(&adopt(&home).await, &before, 0).await;
}

#[tokio::test]
async fn without_need_the_word_changes_nothing() {
    let home = Home::new();
    let before = used(&home).await;
    let node = adopt(&home).await;
    let mut caller = node.caller().await;
    assert_eq!(listed(&mut caller).await, INSTANCES);
    let after = register(&mut caller, "more", "store").await;
    assert_eq!(place(&after).0, place(&before).0);
    assert!(place(&after).1 > place(&before).1);
    assert!(node.log().contains("--adopt-store does nothing"));
    node.kill().await;
}
