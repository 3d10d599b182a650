//! A node's life: from boot through work to its end.

use std::os::unix::fs::PermissionsExt;

use compute::port::Clock;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::caller::{Caller, instance};
use crate::process::{CLOCK, Home, Node, until, within};
use crate::stream::{Opened, Stream};

const PERMANENT: &str = "permanent";

fn body(port: u16) -> Value {
    json!({"host": "10.0.0.7", "port": port, "lease": {"kind": PERMANENT}})
}

async fn watch(node: &Node, service: &str) -> Stream {
    let path = format!("/v1/namespaces/default/services/{service}/watch");
    match Stream::open(node.http, &path, None).await.expect("the node accepts") {
        Opened::Stream(stream) => stream,
        Opened::Refused(answer) => panic!("no stream: {answer:?}"),
    }
}

#[tokio::test]
async fn the_ready_line_has_the_real_ports() {
    let home = Home::new();
    let node = home.start().await;
    assert!(node.http.port() != 0 && node.grpc.port() != 0 && node.http.port() != node.grpc.port());
    TcpStream::connect(node.grpc).await.expect("the gRPC door is open");
    let status = node.caller().await.get("/v1/status").await.expect(200);
    let doors = [("http", node.http), ("grpc", node.grpc)].map(|(name, address)| (name, address.to_string()));
    for (place, (name, address)) in doors.iter().enumerate() {
        assert_eq!(status["doors"][place]["name"], *name);
        assert_eq!(status["doors"][place]["address"], **address);
    }
    let mode = std::fs::metadata(home.folder()).expect("the data directory").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "others can look into the data directory");
    node.stop().await;
}

/// Whoever asks a node that boots is told so; a connection of that time is good for the ready node too.
#[tokio::test]
async fn while_it_boots_it_says_so() {
    let home = Home::new();
    let first = home.start().await;
    let address = first.http;
    let mut caller = first.caller().await;
    for batch in 0..5 {
        let item = |n: u16| {
            json!({"namespace": "default", "service": "s", "id": format!("{batch}-{n}"), "host": "h",
            "port": n, "lease": {"kind": PERMANENT}})
        };
        let items: Vec<Value> = (0..1_000).map(item).collect();
        let answer = caller.call(Method::POST, "/v1/batch/register", Some(&json!({"items": items}))).await;
        answer.expect("an answer").expect(200);
    }
    first.kill().await;
    let mut command = crate::process::thuban();
    command.arg("serve").arg("--data-dir").arg(home.folder()).args(["--http", &address.to_string()]);
    command.args(["--grpc", "127.0.0.1:0", "--log-format", "json"]).env("THUBAN_CONNECTIONS_MAX", "1000");
    let starting = tokio::spawn(Node::start(command));
    let mut early = until("a connection", async || Caller::connect(address).await.ok()).await;
    let unready = early.get("/readyz").await;
    assert_eq!((unready.status.as_u16(), &unready.body["code"]), (503, &json!("not_ready")), "{unready:?}");
    assert!(unready.body["detail"].as_str().is_some_and(|detail| detail.contains("it boots: ")), "{unready:?}");
    assert_eq!(early.get("/v1/namespaces").await.body["code"], "not_ready");
    assert_eq!(early.get("/livez").await.status, 200);
    until("ready", async || (early.get("/readyz").await.status == 200).then_some(())).await;
    let found = early.get("/v1/namespaces/default/services/s/instances").await.expect(200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(5_000));
    starting.await.expect("the node").stop().await;
}

#[tokio::test]
async fn a_restart_keeps_everything_as_it_was() {
    let home = Home::new();
    let node = home.start().await;
    let mut caller = node.caller().await;
    caller.put(&instance("orders", "a"), &body(1)).await.expect(201);
    caller.put(&instance("orders", "b"), &body(2)).await.expect(201);
    let note = json!({"note": "kept", "isolated": true});
    let operator = format!("{}/operator", instance("orders", "b"));
    caller.call(Method::PATCH, &operator, Some(&note)).await.expect("an answer").expect(200);
    caller.call(Method::DELETE, &instance("orders", "a"), None).await.expect("an answer").expect(204);
    caller.put("/v1/namespaces/team", &json!({"description": "ours"})).await.expect(201);
    let settings = json!({"owner": "me", "protect_threshold": 0.5});
    caller.put("/v1/namespaces/team/services/empty", &settings).await.expect(201);
    let places = [
        "/v1/namespaces/default/services/orders/instances",
        "/v1/namespaces/default/services/orders",
        "/v1/namespaces/team",
        "/v1/namespaces/team/services/empty",
    ];
    let mut before = Vec::new();
    for place in places {
        let answer = caller.get(place).await;
        before.push((answer.headers.get("etag").cloned(), answer.expect(200)));
    }
    node.stop().await;
    let node = home.start().await;
    let mut caller = node.caller().await;
    for (place, (etag, was)) in places.iter().zip(before) {
        let answer = caller.get(place).await;
        assert_eq!(answer.headers.get("etag").cloned(), etag, "{place}");
        assert_eq!(answer.expect(200), was, "{place}");
    }
    node.stop().await;
}

#[tokio::test]
async fn asked_to_stop_it_drains() {
    let home = Home::new();
    let node = home.start().await;
    let mut caller = node.caller().await;
    caller.put(&instance("orders", "a"), &body(1)).await.expect(201);
    let mut stream = watch(&node, "orders").await;
    assert_eq!(stream.next().await.expect("an event").kind, "snapshot");
    let list = "/v1/namespaces/default/services/orders/instances";
    let etag = caller.get(list).await.headers["etag"].clone();
    let waiting = http::Request::builder().uri(format!("{list}?wait_ms=60000")).header("if-none-match", etag);
    let waiting = waiting.header("host", "localhost").body(http_body_util::Full::default()).unwrap();
    let waiting = tokio::spawn(async move { caller.send(waiting).await.map(|answer| answer.status()) });
    node.has_waiting(2).await;
    node.signal("-TERM").await;
    assert!(within("the stream's end", stream.next()).await.is_none(), "the stream went on");
    let answered = within("the waiting read", waiting).await.unwrap();
    assert!(answered.is_ok(), "a request under way was cut off: {answered:?}");
    let ended = node.ended().await.with(0, &["asked to stop", "\"stopped\""]);
    assert_eq!(ended.out, "");
}

#[tokio::test]
async fn a_drained_node_takes_nothing_new_and_goes_on_answering() {
    let home = Home::new();
    let node = home.start().await;
    let mut caller = node.caller().await;
    caller.put(&instance("orders", "a"), &body(1)).await.expect(201);
    let name = caller.get("/v1/status").await.expect(200)["node"].as_str().expect("a name").to_owned();
    let drain = format!("/v1/nodes/{name}/drain");
    caller.call(Method::POST, &drain, None).await.expect("an answer").expect(202);
    until("not ready", async || (caller.get("/readyz").await.status == 503).then_some(())).await;
    assert_eq!(caller.put(&instance("orders", "b"), &body(2)).await.expect(503)["code"], "not_ready");
    caller.get(&instance("orders", "a")).await.expect(200);
    node.signal("-INT").await;
    node.ended().await.with(0, &["SIGINT"]);
}

/// The first signal would wait ten minutes for the request that never comes whole.
#[tokio::test]
async fn asked_twice_it_stops_at_once() {
    let home = Home::new();
    let mut command = home.serve();
    command.args(["--drain-timeout-ms", "600000", "--head-timeout-ms", "600000"]);
    let node = Node::start(command).await;
    let mut caller = node.caller().await;
    caller.put(&instance("orders", "a"), &body(1)).await.expect(201);
    let mut slow = TcpStream::connect(node.http).await.expect("the node accepts");
    let head = format!(
        "PUT {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n",
        instance("orders", "b")
    );
    slow.write_all(head.as_bytes()).await.expect("the node reads");
    until("its request", async || {
        let metrics = caller.get("/metrics").await;
        metrics.body.as_str()?.lines().any(|line| line == "thuban_held{limit=\"unfinished bodies\"} 1").then_some(())
    })
    .await;
    node.signal("-TERM").await;
    until("no new connection", async || TcpStream::connect(node.http).await.err()).await;
    node.signal("-TERM").await;
    node.ended().await.with(1, &["asked again to stop"]);
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest).await;
    let node = home.start().await;
    node.caller().await.get(&instance("orders", "a")).await.expect(200);
    node.stop().await;
}

#[tokio::test]
async fn the_metrics_show_the_process_and_its_work() {
    let home = Home::new();
    let node = home.start().await;
    let mut caller = node.caller().await;
    caller.put(&instance("orders", "a"), &body(1)).await.expect(201);
    let text = caller.get("/metrics").await.expect(200).as_str().expect("text").to_owned();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse::<f64>().expect("a number")
    };
    assert!(value("process_resident_memory_bytes") > 1_000_000.0);
    assert!(value("process_open_fds") > 5.0 && value("process_max_fds") >= value("process_open_fds"));
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!((value("process_start_time_seconds") * 1_000.0 - CLOCK.wall_ms() as f64).abs() < 600_000.0);
    assert!(text.contains(&format!("thuban_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
    assert!(text.contains("thuban_http_request_seconds_bucket{"), "latencies are histograms");
    let named = |head: &str| -> std::collections::BTreeSet<String> {
        let names = text.lines().filter_map(|line| line.strip_prefix(head)?.split(' ').next());
        names.map(str::to_owned).collect()
    };
    let (told, typed) = (named("# HELP "), named("# TYPE "));
    assert!(typed.len() > 50 && typed.is_subset(&told), "without words: {:?}", typed.difference(&told));
    assert!(text.contains("thuban_config_limit{key=\"requests_max\"} 8192"), "the limits are shown");
    assert!(text.contains("thuban_config_limit{key=\"connections_max\"} 1000"), "as they are in force");
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (_, number) = line.rsplit_once(' ').expect("a name and a value");
        assert!(number.parse::<f64>().is_ok(), "{line}");
    }
    node.stop().await;
}

#[tokio::test]
async fn text_logs_are_for_people_and_quiet_if_asked() {
    let home = Home::new();
    let folder = home.folder().display().to_string();
    let mut command = crate::process::thuban();
    command.args(["serve", "--data-dir", &folder, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]);
    command.env("THUBAN_LOG_LEVEL", "warn,thuban=info");
    let node = Node::start(command).await;
    node.signal("-TERM").await;
    let ended = node.ended().await.with(0, &[" INFO thuban::wire: ", "stopped"]);
    assert!(
        !ended.err.contains("compute::") && !ended.err.contains('{') && !ended.err.contains('\u{1b}'),
        "{}",
        ended.err
    );
}
