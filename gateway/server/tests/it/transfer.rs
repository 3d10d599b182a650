//! A registry that moves: from one node to a cluster, within it, and back.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use compute::Registry;
use compute::command::{Ack, Caller, Command};
use compute::model::{Author, Check, InstanceKey, Lease, LogIdentity, Provider, ProviderSpec, ServiceKey};
use compute::node::{self, Parts};
use compute::port::clock::SystemClock;
use compute::port::prober::{Probed, Prober};
use compute::port::{ChangeLog, Clock, PresenceStore};
use compute::registry::Attached;
use compute::testing::SeededChance;
use compute::testing::change_log::MemoryLog;
use compute::testing::peers::MemoryNetwork;
use compute::testing::store::MemoryStore;
use gateway::admission::Admission;
use gateway::http;
use gateway::listen::Tls;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::caller::instance;
use crate::process::{Home, Node, run, until};

struct AllWell;

#[async_trait]
impl Prober for AllWell {
    async fn probe(&self, _: &str, _: u16, _: &Check) -> Probed {
        Probed::Success
    }
}

/// A node of a cluster in this process, with its HTTP door open.
struct Seat {
    registry: Registry,
    url: String,
    _serving: AbortOnDropHandle<()>,
    _node: node::Node,
}

async fn cluster() -> Vec<Seat> {
    let (log, store, network) = (MemoryLog::new(LogIdentity([7; 16])), MemoryStore::new(), MemoryNetwork::new());
    let mut seats = Vec::new();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        let (clock, chance) = (SystemClock::new() as Arc<dyn Clock>, SeededChance::new(seed));
        let parts = Parts {
            snapshot: None,
            store: store.clone() as Arc<dyn PresenceStore>,
            log: log.clone() as Arc<dyn ChangeLog>,
            clock: clock.clone(),
            chance: chance.clone(),
            prober: Arc::new(AllWell),
            peers: Some(network.enter(name)),
            journal: None,
        };
        let config = node::Config { name: name.into(), peer_address: name.into(), ..node::Config::default() };
        let node = node::start(parts, config).await.unwrap();
        let registry = node.registry();
        network.serve(name, Arc::new(registry.clone()));
        let door = http::Door {
            registry: registry.clone(),
            admission: Admission::open(Default::default(), clock.clone()).await.unwrap(),
            clock,
            chance,
            surroundings: http::Surroundings {
                metrics: Arc::new(String::new),
                doors: Arc::new(Vec::new),
                version: "0.0.0-test",
            },
            config: http::Config::default(),
        };
        let bound = door.bind(SocketAddr::from(([127, 0, 0, 1], 0)), &Tls::Off).await.unwrap();
        let url = format!("http://{}", bound.local_addr());
        let serving = AbortOnDropHandle::new(tokio::spawn(bound.serve(std::future::pending())));
        seats.push(Seat { registry, url, _serving: serving, _node: node });
    }
    until("all are members", async || seats.iter().all(|seat| seat.registry.status().members.len() == 3).then_some(()))
        .await;
    seats
}

async fn export(url: &str) -> String {
    run(&["export", "--server", url]).await.with(0, &["lines, digest"]).out
}

async fn import(url: &str, file: &str, words: &[&str]) {
    run(&["import", file, "--server", url]).await.with(0, words);
}

async fn fill(node: &Node) {
    let mut caller = node.caller().await;
    caller.put("/v1/namespaces/team", &json!({"description": "ours", "metadata": {"a": "b"}})).await.expect(201);
    caller.put("/v1/namespaces/empty", &json!({})).await.expect(201);
    let settings = json!({"description": "d", "owner": "me", "metadata": {"k": "v"}, "protect_threshold": 0.25});
    caller.put("/v1/namespaces/team/services/db", &settings).await.expect(201);
    let leases = [
        json!({"kind": "ttl", "ttl_ms": 86_400_000, "remove_after_ms": 60_000}),
        json!({"kind": "permanent"}),
        json!({"kind": "checked", "check": {"tcp": true, "interval_ms": 3_600_000, "timeout_ms": 1_000}}),
    ];
    for (n, lease) in (0..30).zip(leases.iter().cycle()) {
        let body = json!({
            "host": "h", "port": n, "ports": {"metrics": 9}, "protocol": "http", "weight": 5, "version": "1", "zone": "z",
            "region": "r", "metadata": {"n": n.to_string()}, "lease": lease, "incarnation": format!("i{n}"),
        });
        caller.put(&instance("orders", &n.to_string()), &body).await.expect(201);
    }
    let words = [
        json!({"isolated": true, "note": "disk", "expires_at": "2100-01-01T00:00:00Z"}),
        json!({"weight": 0, "keep_ms": 600_000}),
        json!({"isolated": false}),
    ];
    for (n, word) in words.iter().enumerate() {
        let path = format!("{}/operator", instance("orders", &n.to_string()));
        caller.call(::http::Method::PATCH, &path, Some(word)).await.unwrap().expect(200);
    }
}

/// What is kept for whoever comes, and for one process.
async fn leave_words(node: &Node) {
    let mut caller = node.caller().await;
    let operator = |id: &str| format!("{}/operator", instance("orders", id));
    let body = json!({"host": "h", "port": 1, "lease": {"kind": "permanent"}});
    caller.put(&instance("orders", "gone"), &body).await.expect(201);
    let word = json!({"isolated": true, "note": "bad disk", "keep_ms": 600_000});
    caller.call(::http::Method::PATCH, &operator("gone"), Some(&word)).await.unwrap().expect(200);
    caller.call(::http::Method::DELETE, &instance("orders", "gone"), None).await.unwrap().expect(204);
    let word = json!({"weight": 0, "keep_ms": 86_400_000, "incarnation": "pod-7"});
    let at = "/v1/namespaces/default/services/orders/overrides/to-come";
    caller.put(at, &word).await.expect(201);
}

async fn register_on_a_session(seat: &Seat) -> Attached {
    let caller = Caller { author: Author::new("somebody", "test"), is_operator: false };
    let held = seat.registry.open_session(&caller, 300_000, "client").await.unwrap();
    let lease = Lease::stream(held.session, 60_000).unwrap();
    let provider = Provider::new(&ProviderSpec { lease, ..ProviderSpec::at("h", 1) }).unwrap();
    let command = Command::Register {
        instance: InstanceKey::new("default", "orders", "of-a-session").unwrap(),
        provider: Box::new(provider),
        epoch: Some(held.epoch),
        generation: None,
    };
    seat.registry.submit_one(&caller, Ack::Log, command).await.unwrap();
    held
}

/// The newest change of anything that was moved.
fn newest(seat: &Seat) -> Vec<String> {
    let services = [("default", "orders"), ("team", "db")].map(|(ns, name)| ServiceKey::new(ns, name).unwrap());
    let views = services.iter().map(|service| seat.registry.view(service).revision.to_string());
    let team = seat.registry.namespace(&services[1].namespace).unwrap();
    views.chain([team.revision.to_string()]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_moves_to_a_cluster_and_back_and_the_same_again_changes_nothing() {
    let (home, other) = (Home::new(), Home::new());
    let (alone, back) = (home.start().await, other.start().await);
    let cluster = cluster().await;
    let [a, b, c] = &cluster[..] else { panic!("three") };
    fill(&alone).await;
    leave_words(&alone).await;
    let exported = export(&alone.url()).await;
    let end: Value = serde_json::from_str(exported.lines().last().unwrap()).unwrap();
    // Three namespaces, two services, thirty instances, two words for those who come.
    assert_eq!((&end["lines"], end["digest"].as_str().map(str::len)), (&json!(37), Some(64)));
    let file = home.path().join("export.jsonl");
    std::fs::write(&file, &exported).unwrap();
    let file = file.to_str().unwrap();

    let said =
        "30 instances registered, 0 of sessions left out, 2 words of operators kept, 0 words of operators were over";
    import(&a.url, file, &[said, " 0 lines refused"]).await;
    let reached = a.registry.progress().applied.last();
    c.registry.reach(reached).await.unwrap();
    assert_eq!(export(&c.url).await, exported, "another node has the same");
    let before = newest(a);
    import(&b.url, file, &["30 instances registered", " 0 lines refused"]).await;
    assert_eq!(newest(b), before, "the same again is no change");
    assert_eq!(export(&a.url).await, exported);
    // A session registers its own again, wherever it goes.
    let _session = register_on_a_session(a).await;
    let ended = run(&["export", "--server", &a.url]).await.with(0, &["left out: 1 instances of sessions"]);
    assert_eq!(ended.out, exported);

    let moved = home.path().join("moved.jsonl");
    std::fs::write(&moved, export(&b.url).await).unwrap();
    import(&back.url(), moved.to_str().unwrap(), &["30 instances registered", " 0 lines refused"]).await;
    assert_eq!(export(&back.url()).await, exported, "there and back");
    alone.stop().await;
    back.stop().await;
}

#[tokio::test]
async fn an_operators_word_that_is_over_is_left_out_and_another_one_is_replaced_whole() {
    let home = Home::new();
    let node = home.start().await;
    let mut caller = node.caller().await;
    caller
        .put(&instance("orders", "a"), &json!({"host": "h", "port": 1, "lease": {"kind": "permanent"}}))
        .await
        .expect(201);
    let path = format!("{}/operator", instance("orders", "a"));
    let word = json!({"isolated": true, "note": "here"});
    caller.call(::http::Method::PATCH, &path, Some(&word)).await.unwrap().expect(200);
    let lines = |operator: Value| {
        let instance = json!({
            "kind": "instance", "namespace": "default", "service": "orders", "id": "a", "operator": operator,
            "provider": {"host": "h", "port": 1, "lease": {"kind": "permanent"}},
        });
        format!("{{\"kind\":\"export\",\"format\":2}}\n{instance}\n{{\"kind\":\"end\",\"lines\":1}}\n")
    };
    let file = home.path().join("lines");
    let path = file.to_str().unwrap();
    std::fs::write(&file, lines(json!({"weight": 1, "expires_at": "2001-01-01T00:00:00Z"}))).unwrap();
    import(&node.url(), path, &["1 words of operators were over, 0 lines refused"]).await;
    let mut operator = async || caller.get(&instance("orders", "a")).await.expect(200)["operator"].clone();
    assert_eq!(operator().await["note"], "here");
    std::fs::write(&file, lines(json!({"weight": 7, "keep_ms": 0}))).unwrap();
    import(&node.url(), path, &["0 words of operators were over, 0 lines refused"]).await;
    let set = operator().await;
    assert_eq!((&set["weight"], &set["note"], &set["isolated"]), (&json!(7), &Value::Null, &Value::Null));
    // One that ended with its instance is not written.
    run(&["deregister", "orders", "a", "--server", &node.url()]).await.with(0, &[]);
    let said = ["2 lines, digest ", "left out: 0 instances of sessions, 0 words of operators that wait for a session"];
    run(&["export", "--server", &node.url()]).await.with(0, &said);
    node.stop().await;
}

#[tokio::test]
async fn a_word_for_whoever_comes_is_theirs_who_have_come() {
    let home = Home::new();
    let node = home.start().await;
    let mut caller = node.caller().await;
    for (id, incarnation) in [("any", "one"), ("same", "one"), ("another", "two")] {
        let body = json!({"host": "h", "port": 1, "incarnation": incarnation, "lease": {"kind": "permanent"}});
        caller.put(&instance("orders", id), &body).await.expect(201);
    }
    let line = |id: &str, kept: Value| {
        let word = json!({"isolated": true, "note": "moved"});
        let line = json!({
            "kind": "override", "namespace": "default", "service": "orders", "id": id, "operator": word, "kept": kept,
        });
        line.to_string()
    };
    let nobody = "/v1/namespaces/default/services/orders/overrides/nobody";
    let tomorrow =
        caller.put(nobody, &json!({"weight": 1, "keep_ms": 86_400_000})).await.expect(201)["kept_until"].clone();
    let lines = [
        json!({"kind": "export", "format": 3}).to_string(),
        line("any", json!({"kept_until": tomorrow})),
        line("same", json!({"kept_until": tomorrow, "incarnation": "one"})),
        line("another", json!({"kept_until": tomorrow, "incarnation": "one"})),
        line("over", json!({"kept_until": "2001-01-01T00:00:00Z"})),
        line("nobody", json!({"kept_until": tomorrow})),
        json!({"kind": "end", "lines": 5}).to_string(),
    ];
    let file = home.path().join("lines");
    std::fs::write(&file, lines.map(|line| line + "\n").concat()).unwrap();
    let said = "3 words of operators kept, 2 words of operators were over, 0 lines refused";
    for _ in 0..2 {
        import(&node.url(), file.to_str().unwrap(), &[said]).await;
        for (id, isolated) in [("any", true), ("same", true), ("another", false)] {
            assert_eq!(caller.get(&instance("orders", id)).await.expect(200)["isolated"], isolated, "{id}");
        }
        let kept = caller.get("/v1/namespaces/default/services/orders/overrides").await.expect(200);
        let ids: Vec<_> = kept["items"].as_array().unwrap().iter().map(|kept| &kept["id"]).collect();
        assert_eq!(ids, ["nobody"]);
    }
    node.stop().await;
}
