//! `kill -9` at random moments, under load: what was acknowledged is there afterwards, what was removed stays away, and
//! whoever watches misses nothing.
//!
//! The environment may say `CRASH_KILLS` (how often, 30 by default) and `CRASH_SEED` (to see one run again; only the
//! choices come from it, not the timing).

use std::collections::BTreeMap;
use std::time::Duration;

use compute::port::Clock;
use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::watch;

use crate::caller::{Caller, instance};
use crate::process::{CLOCK, Home, Node, until, within};

pub(crate) mod chance;
mod ledger;
mod watcher;
pub(crate) mod writer;

use chance::Seeded;
use ledger::Seen;
use watcher::{Shown, Watcher};
use writer::Writer;

pub(crate) const WRITERS: u64 = 8;
const SERVICES: [&str; 3] = ["alpha", "beta", "gamma"];
/// A start takes a moment even on a busy machine; it must not grow with what happened before.
const READY_MAX: Duration = Duration::from_secs(20);

pub(crate) fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What a run came to, for those who read its output.
#[derive(Default)]
struct Tally {
    kills: u64,
    kills_in_boot: u64,
    acknowledged: u64,
    unknown: u64,
    ready_ms_max: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_loses_nothing_that_was_acknowledged() {
    let kills = from_environment("CRASH_KILLS", 30);
    let seed = from_environment("CRASH_SEED", CLOCK.wall_ms());
    println!("CRASH_SEED={seed} CRASH_KILLS={kills}");
    let home = Home::new();
    killed_again_and_again(kills, seed, || home.serve(), || {}).await;
}

/// Kills a node wherever it is, `kills` times, and compares what the next one has with what was acknowledged and what
/// watchers were shown. `serve` starts one; `killed` is told after each kill.
pub(crate) async fn killed_again_and_again(kills: u64, seed: u64, serve: impl Fn() -> Command, killed: impl Fn()) {
    let mut chance = Seeded::new(seed);
    let (address, addresses) = watch::channel(None);
    let watchers = [
        Watcher::start("/v1/namespaces/default/services/alpha/watch", addresses.clone()),
        Watcher::start("/v1/namespaces/default/watch", addresses),
    ];
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(number, chance.fork())).collect();
    let mut tally = Tally::default();
    while tally.kills < kills {
        if chance.one_in(5) {
            killed_in_boot(serve(), &mut chance).await;
            tally.kills_in_boot += 1;
        } else {
            let node = started(serve(), &mut tally).await;
            verify(&node, &mut writers).await;
            address.send_replace(Some(node.http));
            writers = under_load(node, writers, Duration::from_millis(20 + chance.below(400))).await;
        }
        killed();
        tally.kills += 1;
    }
    let node = started(serve(), &mut tally).await;
    verify(&node, &mut writers).await;
    address.send_replace(Some(node.http));
    for watcher in &watchers {
        agrees(&node, watcher).await;
    }
    for writer in &writers {
        tally.acknowledged += writer.acknowledged;
        tally.unknown += writer.unknown;
    }
    let shown: Vec<String> = watchers.iter().map(Watcher::told).collect();
    println!(
        "{} kills ({} of them during a boot), {} writes acknowledged, {} of unknown outcome, ready within {} ms; {}",
        tally.kills,
        tally.kills_in_boot,
        tally.acknowledged,
        tally.unknown,
        tally.ready_ms_max,
        shown.join("; ")
    );
    assert!(tally.acknowledged > kills * WRITERS, "too little was written for this to mean anything");
    for watcher in watchers {
        watcher.stop().await;
    }
    node.stop().await;
}

async fn started(serve: Command, tally: &mut Tally) -> Node {
    let before = CLOCK.mono_ms();
    let node = Node::start(serve).await;
    let took = CLOCK.mono_ms() - before;
    tally.ready_ms_max = tally.ready_ms_max.max(took);
    assert!(u128::from(took) < READY_MAX.as_millis(), "ready after {took} ms");
    node
}

/// Lets it run for a moment that is too short, as a rule, and kills it wherever it is.
async fn killed_in_boot(mut serve: Command, chance: &mut Seeded) {
    let mut child = serve.spawn().expect("the program runs");
    CLOCK.sleep(Duration::from_millis(chance.below(600))).await;
    child.start_kill().expect("it can be killed");
    within("a killed process", child.wait()).await.expect("its end");
}

/// Everybody writes until the node is killed in the middle of it.
pub(crate) async fn under_load(node: Node, writers: Vec<Writer>, span: Duration) -> Vec<Writer> {
    let address = node.http;
    let tasks: Vec<_> = writers.into_iter().map(|writer| tokio::spawn(writer.run(address))).collect();
    CLOCK.sleep(span).await;
    let log = node.kill().await;
    let complaint = log.lines().find(|line| line.contains("\"ERROR\"") || line.contains("\"WARN\""));
    assert_eq!(complaint, None, "the node complained");
    let mut writers = Vec::new();
    for task in tasks {
        writers.push(within("a writer", task).await.expect("no writer found fault"));
    }
    writers
}

/// All instances of a service, as the node lists them, with the digest of the list.
async fn listed(caller: &mut Caller, service: &str) -> (BTreeMap<String, Seen>, Value) {
    let list = format!("/v1/namespaces/default/services/{service}/instances");
    let answer = caller.get(&list).await;
    if answer.status == 404 {
        return (BTreeMap::new(), Value::Null);
    }
    let body = answer.expect(200);
    let items = body["items"].as_array().expect("items");
    let seen = items.iter().map(|item| (item["id"].as_str().expect("an id").to_owned(), Seen::of(item)));
    (seen.collect(), body["digest"].clone())
}

/// Every instance is in a state that its writer knows to be possible.
async fn verify(node: &Node, writers: &mut [Writer]) {
    if let Err(wrong) = compare(node, writers).await {
        panic!("{wrong}");
    }
}

/// The same, for those who expect to find something wrong.
pub(crate) async fn compare(node: &Node, writers: &mut [Writer]) -> Result<(), String> {
    let mut caller = node.caller().await;
    let mut all = BTreeMap::new();
    for service in SERVICES {
        let (seen, _) = listed(&mut caller, service).await;
        all.extend(seen.into_iter().map(|(id, seen)| ((service, id), seen)));
    }
    for writer in writers {
        for (key, ledger) in &mut writer.ledgers {
            let seen = all.remove(key);
            ledger.settle(seen.as_ref()).map_err(|wrong| format!("{key:?}: {wrong}"))?;
        }
    }
    if all.is_empty() { Ok(()) } else { Err(format!("nobody has written these: {all:?}")) }
}

/// What a watcher was told comes to what the node has.
async fn agrees(node: &Node, watcher: &Watcher) {
    until("a watcher that has everything", async || {
        watcher.is_well();
        let mut caller = node.caller().await;
        let mut truth = Shown::new();
        for service in SERVICES.iter().filter(|service| watcher.follows(service)) {
            let (seen, digest) = listed(&mut caller, service).await;
            truth.add(service, seen.into_iter().map(|(id, seen)| (id, seen.revision)).collect(), &digest);
        }
        (watcher.shown() == truth).then_some(())
    })
    .await;
}

/// A lease that was short when the node died gets a full TTL from the next one, however long that took to come.
#[tokio::test]
async fn crash_gives_short_leases_a_full_ttl() {
    const TTL_MS: u64 = 3_000;
    let home = Home::new();
    let node = home.start().await;
    let mut caller = node.caller().await;
    let body = json!({"host": "h", "port": 1, "lease": {"kind": "ttl", "ttl_ms": TTL_MS, "remove_after_ms": 2_000}});
    let kept = caller.put(&instance("orders", "kept"), &body).await.expect(201);
    caller.put(&instance("orders", "left"), &body).await.expect(201);
    node.kill().await;
    CLOCK.sleep(Duration::from_millis(TTL_MS + 1_000)).await;
    let before = CLOCK.mono_ms();
    let node = home.start().await;
    let ready = CLOCK.mono_ms();
    let renewing = tokio::spawn(renew(node.caller().await, format!("{}/renew", instance("orders", "kept"))));
    let mut caller = node.caller().await;
    let unhealthy = until("the end of what nobody renews", async || {
        let left = caller.get(&instance("orders", "left")).await.expect(200);
        (left["healthy"] == json!(false)).then(|| CLOCK.mono_ms())
    })
    .await;
    assert!(unhealthy - before >= TTL_MS, "its TTL was over after {} ms already", unhealthy - before);
    // TTL and 2 s by the contract; what is more is for a machine that does something else meanwhile.
    assert!(unhealthy - ready <= TTL_MS + 2_000 + 5_000, "it took {} ms", unhealthy - ready);
    until("its removal", async || (caller.get(&instance("orders", "left")).await.status == 404).then_some(())).await;
    let still = caller.get(&instance("orders", "kept")).await.expect(200);
    assert_eq!((&still["healthy"], &still["generation"]), (&json!(true), &kept["generation"]));
    renewing.abort();
    node.stop().await;
}

async fn renew(mut caller: Caller, path: String) {
    loop {
        let answer = caller.call(Method::POST, &path, None).await.expect("an answer");
        assert_eq!(answer.status, 204, "{}", answer.body);
        CLOCK.sleep(Duration::from_millis(500)).await;
    }
}
