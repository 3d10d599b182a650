//! The wall clock jumps by an hour, forth or back, and leases do not care: they lapse in their time and no sooner, and
//! the order of changes goes on, also over a restart with yet another time of day. `clock/jump.c` sets the clock that
//! the program sees.

use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use compute::port::Clock;
use compute::testing::power_loss::library;
use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::caller::{Caller, instance};
use crate::process::{CLOCK, Home, Node, until};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clock/jump.c");
const HOUR_S: i64 = 3_600;
const TTL_MS: u64 = 2_000;
const REMOVE_MS: u64 = 1_000;
/// By the contract, for a TTL below 5 s and for the removal.
const SLACK_MS: u64 = 3_000;
/// For a machine that does something else meanwhile.
const BUSY_MS: u64 = 10_000;

/// A machine whose clock can be set.
struct Machine {
    home: Home,
    library: PathBuf,
    ahead: std::fs::File,
}

impl Machine {
    async fn new() -> Self {
        let home = Home::new();
        let library = library(Path::new(SOURCE), home.path());
        let ahead = std::fs::File::create_new(home.path().join("ahead")).expect("an empty directory");
        let mut machine = Self { home, library, ahead };
        machine.set(0);
        machine
    }

    /// From now on the clock shows so many seconds more than the real one.
    fn set(&mut self, ahead_s: i64) {
        // In one write and without cutting the file: the process reads it from memory.
        let written = self.ahead.rewind().and_then(|()| {
            let nanoseconds = ahead_s * 1_000_000_000;
            self.ahead.write_all(&nanoseconds.to_ne_bytes())
        });
        written.expect("8 bytes");
    }

    fn serve(&self) -> Command {
        let mut command = self.home.serve();
        command.env("LD_PRELOAD", &self.library).env("CLOCK_JUMP", self.home.path().join("ahead"));
        command
    }
}

/// Seconds since 1970 of a time as the contract writes it.
fn seconds(text: &Value) -> i64 {
    let text = text.as_str().expect("a time");
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<i64>().unwrap_or_default());
    let mut next = || numbers.next().expect("year, month, day, hour, minute, second");
    let (year, month, day, hour, minute, second) = (next(), next(), next(), next(), next(), next());
    // March is the first month of this count, so that the leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    (days * 24 + hour) * HOUR_S + minute * 60 + second
}

#[test]
fn clock_times_are_read_right() {
    for (text, wanted) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T12:00:00.250Z", 951_825_600),
        ("2000-03-01T00:00:00Z", 951_868_800),
        ("2026-11-21T15:28:23.952Z", 1_795_274_903),
    ] {
        assert_eq!(seconds(&json!(text)), wanted, "{text}");
    }
}

fn place(revision: &Value) -> Vec<u64> {
    let parts = revision.as_str().expect("a revision").split('.');
    parts.map(|part| part.parse().expect("a number")).collect()
}

fn ttl() -> Value {
    json!({"host": "h", "port": 1, "lease": {"kind": "ttl", "ttl_ms": TTL_MS, "remove_after_ms": REMOVE_MS}})
}

async fn register(node: &Node, id: &str, body: &Value) -> Value {
    node.caller().await.put(&instance("orders", id), body).await.expect(201)
}

/// Renews until it is stopped; the lease must be there each time.
fn renewing(mut caller: Caller, id: &str) -> JoinHandle<()> {
    let renew = format!("{}/renew", instance("orders", id));
    tokio::spawn(async move {
        loop {
            let answer = caller.call(Method::POST, &renew, None).await.expect("an answer");
            assert_eq!(answer.status, 204, "{}", answer.body);
            CLOCK.sleep(std::time::Duration::from_millis(200)).await;
        }
    })
}

/// The lease that was heard last between these two moments, and never again, ends in its time.
async fn ends_in_time(node: &Node, id: &str, heard: [u64; 2]) {
    let mut caller = node.caller().await;
    let at = instance("orders", id);
    let unhealthy = until("the end of what nobody renews", async || {
        let found = caller.get(&at).await.expect(200);
        (found["healthy"] == json!(false)).then(|| CLOCK.mono_ms())
    })
    .await;
    let bounds = heard[0] + TTL_MS..=heard[1] + TTL_MS + SLACK_MS + BUSY_MS;
    assert!(bounds.contains(&unhealthy), "{id} became unhealthy at {unhealthy}, and may have in {bounds:?}");
    until("its removal", async || (caller.get(&at).await.status == 404).then_some(())).await;
    let gone = CLOCK.mono_ms() - unhealthy;
    assert!(gone <= REMOVE_MS + SLACK_MS + BUSY_MS, "{id} was removed {gone} ms later");
}

/// The clock jumps by so many seconds in the middle of leases, and back by an hour while the node is down.
async fn jumps(by_s: i64) {
    let mut machine = Machine::new().await;
    let node = Node::start(machine.serve()).await;
    let permanent = json!({"host": "h", "port": 1, "lease": {"kind": "permanent"}});
    let first = register(&node, "first", &permanent).await;
    let kept = register(&node, "kept", &ttl()).await;
    let renewal = renewing(node.caller().await, "kept");
    let before = CLOCK.mono_ms();
    register(&node, "left", &ttl()).await;
    let heard = [before, CLOCK.mono_ms()];
    machine.set(by_s);
    let second = register(&node, "second", &permanent).await;
    assert!(place(&second["revision"]) > place(&first["revision"]), "{second} came after {first}");
    // The time of the log goes forth with the clock, and never back.
    let stamped_s = seconds(&second["registered_at"]) - seconds(&first["registered_at"]);
    assert!(
        (by_s.max(0)..by_s.max(0) + 60).contains(&stamped_s),
        "the clock jumped by {by_s} s, the log by {stamped_s}"
    );
    ends_in_time(&node, "left", heard).await;
    is_alive(&node, &kept).await;
    register(&node, "later", &ttl()).await;
    renewal.abort();
    node.kill().await;

    machine.set(by_s - HOUR_S);
    let before = CLOCK.mono_ms();
    let node = Node::start(machine.serve()).await;
    let heard = [before, CLOCK.mono_ms()];
    let renewal = renewing(node.caller().await, "kept");
    let third = register(&node, "third", &permanent).await;
    assert!(place(&third["revision"]) > place(&second["revision"]), "{third} came after {second}");
    assert!(seconds(&third["registered_at"]) >= seconds(&second["registered_at"]), "{third} came after {second}");
    // Each lease has a full TTL from the restart.
    ends_in_time(&node, "later", heard).await;
    is_alive(&node, &kept).await;
    assert!(!renewal.is_finished(), "a renewal failed");
    renewal.abort();
    for permanent in [&first, &second, &third] {
        is_alive(&node, permanent).await;
    }
    node.kill().await;
}

/// It is the same life, and nobody has called it unhealthy.
async fn is_alive(node: &Node, registered: &Value) {
    let id = registered["id"].as_str().expect("an id");
    let found = node.caller().await.get(&instance("orders", id)).await.expect(200);
    assert_eq!((&found["healthy"], &found["generation"]), (&json!(true), &registered["generation"]), "{found}");
    assert_eq!(found["health_changed_at"], registered["health_changed_at"], "it was unhealthy meanwhile: {found}");
}

#[tokio::test]
async fn clock_jumps_forth_and_leases_do_not_care() {
    jumps(HOUR_S).await;
}

#[tokio::test]
async fn clock_jumps_back_and_leases_do_not_care() {
    jumps(-HOUR_S).await;
}
