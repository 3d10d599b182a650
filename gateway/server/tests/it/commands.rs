//! The client commands against a live node.

use std::collections::BTreeSet;
use std::process::Stdio;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::caller::instance;
use crate::process::{Ended, Home, Node, run, thuban, until, within};

/// A command that talks to `node`.
async fn ask(node: &Node, arguments: &[&str]) -> Ended {
    run(&[arguments, &["--server", &node.url()]].concat()).await
}

async fn ask_json(node: &Node, arguments: &[&str]) -> Value {
    let out = ask(node, &[arguments, &["--output", "json"]].concat()).await.with(0, &[]).out;
    serde_json::from_str(&out).expect("one document")
}

/// The words of each line, without the heads.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

#[tokio::test]
async fn an_instance_is_registered_found_operated_on_and_removed() {
    let home = Home::new();
    let node = home.start().await;
    let register = [
        "register",
        "orders",
        "--host",
        "10.0.0.7",
        "--port",
        "8080",
        "--zone",
        "eu-1a",
        "--version",
        "1.4.2",
        "--metadata",
        "team=payments",
        "--metadata",
        "a=b=c",
        "--named-port",
        "metrics=9090",
        "--ttl-ms",
        "60000",
    ];
    let registered = ask_json(&node, &register).await;
    assert_eq!(registered["id"], "10.0.0.7:8080");
    let found = ask_json(&node, &["instances", "orders"]).await;
    let found = &found["items"][0];
    assert_eq!(found["metadata"], json!({"team": "payments", "a": "b=c"}));
    assert_eq!((&found["ports"], &found["lease"]["ttl_ms"]), (&json!({"metrics": 9090}), &json!(60_000)));
    assert_eq!(found["revision"], registered["revision"]);
    let table = ask(&node, &["instances", "orders", "--zone", "eu-1a", "--metadata", "a=b=c"]).await.with(0, &[]).out;
    assert_eq!(rows(&table)[0][..4], ["10.0.0.7:8080", "10.0.0.7", "8080", "true"]);
    let none = ask(&node, &["instances", "orders", "--zone", "other"]).await.with(0, &[]).out;
    assert_eq!(rows(&none).len(), 0);
    let services = ask(&node, &["services", "--prefix", "or"]).await.with(0, &[]).out;
    assert_eq!(rows(&services)[0][..3], ["orders", "1", "1"]);

    let isolated = ask_json(&node, &["isolate", "orders", "10.0.0.7:8080", "--note", "look into it"]).await;
    assert_eq!((&isolated["isolated"], &isolated["operator"]["note"]), (&json!(true), &json!("look into it")));
    assert_eq!(ask_json(&node, &["weight", "orders", "10.0.0.7:8080", "7"]).await["weight"], 7);
    assert_eq!(ask_json(&node, &["isolate", "orders", "10.0.0.7:8080", "--undo"]).await["isolated"], false);
    let given_back = ask_json(&node, &["weight", "orders", "10.0.0.7:8080", "--undo"]).await;
    assert_eq!(given_back["weight"], 100);

    let again = ask_json(&node, &[&register[..], &["--incarnation", "2"]].concat()).await;
    let (old, new) = (registered["generation"].as_str().expect("one"), again["generation"].as_str().expect("one"));
    let deregister = ["deregister", "orders", "10.0.0.7:8080", "--generation"];
    ask(&node, &[&deregister[..], &[old]].concat()).await.with(1, &["412 generation_mismatch"]);
    let removed = ask(&node, &[&deregister[..], &[new]].concat()).await.with(0, &[]).out;
    assert_eq!(removed, "removed default/orders 10.0.0.7:8080\n");
    ask(&node, &["deregister", "orders", "10.0.0.7:8080"]).await.with(1, &["404 instance_not_found"]);
    ask(&node, &["instances", "orders"]).await.with(0, &["no instances; the last one went at", "deregistered"]);
    ask(&node, &["instances", "nobody"]).await.with(1, &["404 service_not_found", "nobody"]);
    node.stop().await;
}

#[tokio::test]
async fn leases_of_each_kind_can_be_asked_for() {
    let home = Home::new();
    let node = home.start().await;
    let at = |more: &[&'static str]| [&["register", "s", "--host", "127.0.0.1", "--port", "1"], more].concat();
    let lease = async |more: &[&'static str]| ask_json(&node, &at(more)).await["lease"].clone();
    assert_eq!(lease(&["--permanent"]).await["kind"], "permanent");
    let tcp = lease(&["--check-tcp", "--check-interval-ms", "60000"]).await;
    assert_eq!((&tcp["kind"], &tcp["check"]["tcp"]), (&json!("checked"), &json!(true)));
    assert_eq!(tcp["check"]["interval_ms"], 60_000);
    let tuned = ["--check-http", "/health", "--check-failures", "5", "--check-successes", "4", "--check-port", "81"];
    let tuned = lease(&tuned).await["check"].clone();
    assert_eq!((&tuned["failures"], &tuned["successes"], &tuned["port"]), (&json!(5), &json!(4), &json!(81)));
    assert_eq!(lease(&["--check-http", "/health"]).await["check"]["http"], "/health");
    assert_eq!(lease(&["--check-grpc"]).await["check"]["grpc"], "");
    assert_eq!(lease(&["--check-grpc", "a.B"]).await["check"]["grpc"], "a.B");
    ask(&node, &at(&["--permanent", "--ttl-ms", "1000"])).await.with(2, &["--permanent", "--ttl-ms"]);
    ask(&node, &at(&["--ttl-ms", "10"])).await.with(1, &["400 invalid_argument", "ttl_ms"]);
    ask(&node, &at(&["--metadata", "novalue"])).await.with(2, &["KEY=VALUE"]);
    node.stop().await;
}

#[tokio::test]
async fn names_and_namespaces_may_hold_what_they_may_hold() {
    let home = Home::new();
    let node = home.start().await;
    ask(&node, &["namespaces", "put", "a/b:c$#", "--description", "odd"]).await.with(0, &[]);
    let register =
        ["register", "g@@svc/x", "--host", "h", "--port", "1", "--id", "ü 1/2?#%", "--permanent", "-n", "a/b:c$#"];
    ask(&node, &register).await.with(0, &[]);
    let found = ask_json(&node, &["instances", "g@@svc/x", "ü 1/2?#%", "-n", "a/b:c$#"]).await;
    assert_eq!((&found["id"], &found["namespace"]), (&json!("ü 1/2?#%"), &json!("a/b:c$#")));
    let listed = ask(&node, &["namespaces"]).await.with(0, &[]).out;
    assert_eq!(rows(&listed).iter().map(|row| row[0]).collect::<Vec<_>>(), ["a/b:c$#", "default"]);
    ask(&node, &["namespaces", "delete", "a/b:c$#"]).await.with(1, &["409 conflict"]);
    ask(&node, &["services", "delete", "g@@svc/x", "-n", "a/b:c$#"]).await.with(1, &["409 conflict"]);
    ask(&node, &["deregister", "g@@svc/x", "ü 1/2?#%", "-n", "a/b:c$#"]).await.with(0, &[]);
    ask(&node, &["-n", "a/b:c$#", "services", "delete", "g@@svc/x"]).await.with(0, &[]);
    let deleted = ask(&node, &["namespaces", "delete", "a/b:c$#"]).await.with(0, &[]).out;
    assert_eq!(deleted, "removed a/b:c$#\n");
    ask(&node, &["register", "s", "--host", "h", "--port", "1", "-n", "none"]).await.with(1, &["namespace_not_found"]);
    node.stop().await;
}

#[tokio::test]
async fn which_node_to_ask_may_stand_anywhere() {
    let home = Home::new();
    let node = home.start().await;
    let url = node.url();
    let lines: [&[&str]; 4] = [
        &["--server", &url, "--output", "json", "namespaces", "put", "team"],
        &["namespaces", "--server", &url, "put", "team", "--output", "json"],
        &["namespaces", "put", "--output=json", "--server", &url, "team"],
        &["--output=json", "namespaces", "put", "team", "--server", &url],
    ];
    for line in lines {
        let out = run(line).await.with(0, &[]).out;
        assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON")["namespace"], "team", "{line:?}");
    }
    run(&["--server", &url, "-n", "team", "services"]).await.with(0, &[]);
    run(&["--server", &url, "-n", "none", "services"]).await.with(1, &["namespace_not_found", "none"]);
    run(&["--server", &url, "serve"]).await.with(2, &["--server", "thuban serve"]);
    run(&["--server", &url]).await.with(2, &["a command must follow"]);
    run(&["--server", &url, "watch", "orders", "--from", "zz"]).await.with(1, &["400 invalid_argument: from is", "zz"]);
    for command in [&["watch"][..], &["namespaces"], &["namespaces", "put"], &["status"], &["import"]] {
        let help = run(&[command, &["--help"]].concat()).await.with(0, &[]).out;
        for option in ["--server <URL>", "--token-file <FILE>", "--ca-file <FILE>", "--output <FORMAT>"] {
            assert!(help.contains(option), "{option} is not in the help of {command:?}");
        }
    }
    let help = run(&["--help"]).await.with(0, &[]).out;
    assert!(help.contains("--server URL") && help.contains("--output table|json"), "{help}");
    node.stop().await;
}

#[tokio::test]
async fn a_node_tells_of_itself_and_drains() {
    let home = Home::new();
    let node = home.start().await;
    let status = ask_json(&node, &["status"]).await;
    let name = status["node"].as_str().expect("a name");
    let nodes = ask(&node, &["nodes"]).await.with(0, &[]).out;
    assert_eq!(rows(&nodes)[0][..2], [name, "ready"]);
    ask(&node, &["drain", "somebody-else"]).await.with(1, &["404 node_not_found"]);
    ask(&node, &["drain"]).await.with(0, &[]);
    until("it drains", async || {
        let nodes = ask(&node, &["nodes"]).await.with(0, &[]).out;
        (rows(&nodes)[0][1] == "draining").then_some(())
    })
    .await;
    ask(&node, &["register", "s", "--host", "h", "--port", "1"]).await.with(1, &["503 not_ready"]);
    node.stop().await;
}

struct Running {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(node: &Node, arguments: &[&str]) -> Self {
        let mut command = thuban();
        command.args(arguments).args(["--server", &node.url()]).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the program runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        within("a line", self.lines.next_line()).await.expect("UTF-8").expect("it goes on")
    }

    /// The first line that holds `word`.
    async fn line_with(&mut self, word: &str) -> String {
        within(word, async {
            loop {
                let line = self.line().await;
                if line.contains(word) {
                    return line;
                }
            }
        })
        .await
    }

    async fn interrupt(mut self) -> Option<i32> {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = tokio::process::Command::new("kill").args(["-INT", &pid]).status().await.expect("kill runs");
        assert!(sent.success());
        within("its end", self.child.wait()).await.expect("its end").code()
    }
}

#[tokio::test]
async fn what_is_watched_is_told_line_by_line() {
    let home = Home::new();
    let node = home.start().await;
    let mut table = Running::start(&node, &["watch", "orders"]);
    assert!(table.line().await.contains("unknown"), "nobody has registered it yet");
    let mut json = Running::start(&node, &["watch", "--output", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&json.line().await).expect("JSON")["event"], "snapshot");
    ask(&node, &["register", "orders", "--host", "h", "--port", "1", "--permanent"]).await.with(0, &[]);
    assert!(table.line_with("change").await.contains("put: h:1(healthy)"));
    let change: Value = serde_json::from_str(&json.line_with("change").await).expect("JSON");
    assert_eq!((&change["data"]["put"][0]["id"], change["id"].is_string()), (&json!("h:1"), true));
    ask(&node, &["deregister", "orders", "h:1"]).await.with(0, &[]);
    let removed = table.line_with("h:1(deregistered)").await;
    assert!(removed.starts_with("change default/orders @"), "{removed}");
    json.line_with("\"removed\":[{").await;
    assert_eq!((table.interrupt().await, json.interrupt().await), (Some(0), Some(0)));
    node.stop().await;
}

/// What a reader of `thuban watch --output json` knows: the state, and where a change may begin.
#[derive(Default)]
struct Known {
    ids: BTreeSet<String>,
    /// The ids since the last change: of that itself and of progress, between which nothing has happened.
    ends: Vec<String>,
}

impl Known {
    /// Takes a line, which must begin where the one before it has ended, or be announced as a new beginning.
    fn take(&mut self, line: &str) {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let data = &event["data"];
        let id = |item: &Value| item["id"].as_str().expect("an id").to_owned();
        match event["event"].as_str().expect("a kind") {
            "snapshot" => {
                self.ids = data["items"].as_array().expect("items").iter().map(id).collect();
                self.ends.clear();
            }
            "change" => {
                let from = data["from"].as_str().expect("a revision");
                assert!(self.ends.iter().any(|end| end == from), "a gap after {:?}: {line}", self.ends);
                let removed = data["removed"].as_array().expect("removed").iter().map(id);
                removed.for_each(|id| assert!(self.ids.remove(&id), "removed, and never there: {line}"));
                self.ids.extend(data["put"].as_array().expect("put").iter().map(id));
                self.ends.clear();
            }
            "progress" | "compacted" => {}
            other => panic!("{other}: {line}"),
        }
        self.ends.extend(event["id"].as_str().map(str::to_owned));
    }
}

/// Stopped well and killed, with changes before, while and after the watcher comes back: it misses none of them.
#[tokio::test]
async fn a_watch_goes_on_over_restarts_of_its_node() {
    let home = Home::new();
    let mut node = home.start().await;
    let address = node.http;
    let mut watch = Running::start(&node, &["watch", "orders", "--output", "json"]);
    let mut table = Running::start(&node, &["watch", "orders"]);
    let mut known = Known::default();
    let mut wanted = BTreeSet::new();
    for turn in 0..3 {
        let id = format!("i{turn}");
        let register = ["register", "orders", "--host", "h", "--port", "1", "--permanent", "--id", &id];
        ask(&node, &register).await.with(0, &[]);
        wanted.insert(id.clone());
        // Of the turn before: it may be told as a change or be missing in a snapshot, for no history outlives its node.
        if turn > 0 {
            let before = format!("i{}", turn - 1);
            ask(&node, &["deregister", "orders", &before]).await.with(0, &[]);
            wanted.remove(&before);
        }
        within("the state", async {
            while known.ids != wanted {
                known.take(&watch.line().await);
            }
        })
        .await;
        table.line_with(&format!("{id}(healthy)")).await;
        if turn % 2 == 0 {
            node.stop().await;
        } else {
            node.kill().await;
        }
        node = Node::start(home.serve_at(address)).await;
    }
    ask(&node, &["deregister", "orders", "i2"]).await.with(0, &[]);
    within("the last state", async {
        while !known.ids.is_empty() {
            known.take(&watch.line().await);
        }
    })
    .await;
    assert_eq!((watch.interrupt().await, table.interrupt().await), (Some(0), Some(0)));
    node.stop().await;
}

#[tokio::test]
async fn kept_means_renewed_until_interrupted() {
    let home = Home::new();
    let node = home.start().await;
    let register =
        ["register", "orders", "--host", "h", "--port", "1", "--ttl-ms", "1000", "--remove-after-ms", "1000"];
    let mut keeping = Running::start(&node, &[&register[..], &["--keep"]].concat());
    keeping.line_with("revision").await;
    let first = ask_json(&node, &["instances", "orders", "h:1"]).await;
    // One that nobody keeps goes meanwhile: three times its TTL have passed then.
    ask(&node, &[&register[..], &["--id", "left"]].concat()).await.with(0, &[]);
    until("the other one is gone", async || {
        (ask(&node, &["instances", "orders", "left"]).await.code == Some(1)).then_some(())
    })
    .await;
    let kept = ask_json(&node, &["instances", "orders", "h:1"]).await;
    assert_eq!((&kept["healthy"], &kept["generation"]), (&json!(true), &first["generation"]));
    // Removed behind its back it comes again.
    ask(&node, &["deregister", "orders", "h:1"]).await.with(0, &[]);
    let again = until("it is back", async || {
        let found = ask(&node, &["instances", "orders", "h:1", "--output", "json"]).await;
        (found.code == Some(0)).then(|| serde_json::from_str::<Value>(&found.out).expect("JSON"))
    })
    .await;
    assert_ne!(again["generation"], first["generation"]);
    assert_eq!(keeping.interrupt().await, Some(0));
    let gone = ask_json(&node, &["instances", "orders"]).await;
    assert_eq!((&gone["items"], &gone["empty"]["reason"]), (&json!([]), &json!("deregistered")));
    node.stop().await;
}

#[tokio::test]
async fn what_is_exported_can_be_imported_elsewhere() {
    let (home, other) = (Home::new(), Home::new());
    let (node, empty) = (home.start().await, other.start().await);
    let mut caller = node.caller().await;
    caller.put("/v1/namespaces/team", &json!({"description": "ours", "metadata": {"a": "b"}})).await.expect(201);
    let settings = json!({"owner": "me", "protect_threshold": 0.25});
    caller.put("/v1/namespaces/team/services/db", &settings).await.expect(201);
    for n in 0..1_200 {
        let lease =
            if n % 2 == 0 { json!({"kind": "permanent"}) } else { json!({"kind": "ttl", "ttl_ms": 86_400_000}) };
        let body = json!({"host": "h", "port": n, "metadata": {"n": n.to_string()}, "lease": lease, "weight": 5});
        caller.put(&instance("orders", &format!("i/{n}").replace('/', "%2F")), &body).await.expect(201);
    }
    let operator = format!("{}/operator", instance("orders", "i%2F7"));
    let word = json!({"weight": 9, "note": "hm", "keep_ms": 1000});
    caller.call(Method::PATCH, &operator, Some(&word)).await.expect("an answer").expect(200);

    let exported = ask(&node, &["export"]).await.with(0, &["1204 lines"]).out;
    let file = home.path().join("export.jsonl");
    std::fs::write(&file, &exported).unwrap();
    ask(&empty, &["import", file.to_str().unwrap()]).await.with(0, &["1200 instances registered", "0 lines refused"]);
    assert_eq!(ask(&empty, &["export"]).await.with(0, &[]).out, exported, "it is not the same");
    let moved = ask_json(&empty, &["instances", "orders", "i/7"]).await;
    assert_eq!((&moved["weight"], &moved["provider_weight"]), (&json!(9), &json!(5)));

    // What is not whole is said to be so, and what is refused is named.
    let cut = exported.rsplit_once("\n{").expect("lines").0;
    std::fs::write(&file, cut).unwrap();
    ask(&empty, &["import", file.to_str().unwrap()]).await.with(2, &["cut off"]);
    let wrong = exported.replacen("\"port\":3,", "\"port\":70000,", 1);
    std::fs::write(&file, wrong).unwrap();
    ask(&empty, &["import", file.to_str().unwrap()]).await.with(1, &["port", "70000", "1 lines refused"]);
    std::fs::write(&file, "{}\n").unwrap();
    ask(&empty, &["import", file.to_str().unwrap()]).await.with(2, &["line 1", "not what export wrote"]);
    node.stop().await;
    empty.stop().await;
}

#[tokio::test]
async fn who_cannot_be_reached_and_what_makes_no_sense() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = format!("http://{free}");
    run(&["services", "--server", &server]).await.with(5, &["can't be reached", &server]);
    run(&["services", "--server", "ftp://h"]).await.with(2, &["--server", "http://127.0.0.1:7800"]);
    run(&["services", "--server", "http://user:pw@h"]).await.with(2, &["--server"]);
    run(&["services", "--output", "xml"]).await.with(2, &["table", "json"]);
    run(&["services", "--token-file", "/nowhere/token"]).await.with(2, &["/nowhere/token"]);
    run(&["weight", "s", "i"]).await.with(2, &["WEIGHT"]);
    // Somebody else's server.
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap().to_string();
    let answering = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = other.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4_096]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<html").await.unwrap();
    });
    run(&["services", "--server", &address]).await.with(5, &["is it a Thuban node?"]);
    answering.await.unwrap();
}

/// As in a pipe to `head`: that nobody reads on is no error.
#[tokio::test]
async fn a_closed_pipe_ends_it_quietly() {
    let home = Home::new();
    let node = home.start().await;
    let mut command = thuban();
    command.args(["status", "--server", &node.url()]);
    let mut child = command.spawn().expect("the program runs");
    drop(child.stdout.take());
    let ended = Ended::of(within("its end", child.wait_with_output()).await.expect("its end"));
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    node.stop().await;
}
