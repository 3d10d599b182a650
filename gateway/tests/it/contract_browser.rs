//! What a page of somebody else's can't do, and what no request may say of itself.

use gateway::admission;
use gateway::http::{Config, Hosts};
use gateway::listen::Tls;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::grpc_world;
use crate::http_world::{ORDERS, SOON, Wishes, World};

const DRAIN: &str = "/v1/nodes/thuban/drain";

/// Every state-changing route, with a body that is fit for it.
fn writes() -> Vec<(Method, String, &'static str)> {
    let at = |rest: &str| format!("{ORDERS}{rest}");
    let one = r#"{"host":"h","port":1}"#;
    let keys = r#"{"items":[{"service":"orders","id":"a"}]}"#;
    vec![
        (Method::PUT, "/v1/namespaces/other".into(), "{}"),
        (Method::DELETE, "/v1/namespaces/other".into(), ""),
        (Method::PUT, at(""), "{}"),
        (Method::PATCH, at(""), "{}"),
        (Method::DELETE, at(""), ""),
        (Method::PUT, at("/instances/b"), one),
        (Method::DELETE, at("/instances/a"), ""),
        (Method::POST, at("/instances/a/renew"), ""),
        (Method::PATCH, at("/instances/a/operator"), "{}"),
        (Method::PUT, at("/overrides/b"), r#"{"isolated":true,"keep_ms":60000}"#),
        (Method::DELETE, at("/overrides/a"), ""),
        (Method::POST, "/v1/batch/register".into(), r#"{"items":[{"service":"s","id":"a","host":"h","port":1}]}"#),
        (Method::POST, "/v1/batch/renew".into(), keys),
        (Method::POST, "/v1/batch/deregister".into(), keys),
        (Method::POST, DRAIN.into(), ""),
        (Method::POST, "/v1/nodes/thuban/freeze/release".into(), ""),
    ]
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let world = World::new().await;
    world.register("a").await;
    let before = world.get(&format!("{ORDERS}/instances")).await;
    let foreign = [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    for (method, path, body) in writes() {
        for (header, value) in foreign {
            let reply = world.ask(method.clone(), &path).header(header, value).json(body).send().await;
            assert_eq!(reply.problem(), (403, "forbidden".to_owned()), "{method} {path}");
            assert_eq!(reply.field(), header);
        }
        // What a form can send without being asked; and without any type.
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
            let reply = world.ask(method.clone(), &path).header("content-type", kind).body(body).send().await;
            assert_eq!((reply.problem().0, reply.field()), (415, "content-type".to_owned()), "{method} {path}");
        }
        if !body.is_empty() {
            let reply = world.ask(method.clone(), &path).body(body).send().await;
            assert_eq!((reply.problem().0, reply.field()), (415, "content-type".to_owned()), "{method} {path}");
        }
    }
    assert_eq!(world.get(&format!("{ORDERS}/instances")).await.body, before.body);
    world.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn the_nodes_own_pages_may_change_things() {
    let world = World::new().await;
    for (host, origin) in [("127.0.0.1:7800", "http://127.0.0.1:7800"), ("localhost", "http://localhost")] {
        let asking = world.ask(Method::PUT, ORDERS).header("host", host).header("origin", origin);
        let reply = asking.header("sec-fetch-site", "same-origin").json("{}").send().await;
        assert!(reply.status.is_success(), "{reply:?}");
    }
    // A look is answered, and no other page may read it: nothing allows that.
    let look = world.ask(Method::GET, ORDERS).header("origin", "http://evil.example").send().await.expect(200);
    assert_eq!(look.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_page_whose_name_leads_here_gets_nothing() {
    let world = World::new().await;
    world.register("a").await;
    for (method, path, body) in writes().into_iter().chain([
        (Method::GET, format!("{ORDERS}/instances"), ""),
        (Method::GET, "/v1/status".into(), ""),
        (Method::GET, "/metrics".into(), ""),
        (Method::GET, format!("{ORDERS}/watch"), ""),
    ]) {
        let asking = world.ask(method.clone(), &path).header("host", "evil.example:7800");
        let asking = asking.header("origin", "http://evil.example:7800").header("sec-fetch-site", "same-origin");
        let reply = if body.is_empty() { asking } else { asking.json(body) }.send().await;
        assert_eq!(reply.problem(), (403, "forbidden".to_owned()), "{method} {path}");
        assert_eq!(reply.field(), "host");
        assert!(reply.text().contains("--allow-host"), "{}", reply.text());
    }
    // Probes know the node by whatever name they like, and learn nothing.
    world.ask(Method::GET, "/readyz").header("host", "evil.example").send().await.expect(200);
}

#[tokio::test]
async fn a_node_answers_to_the_names_it_was_given_and_with_tokens_to_any() {
    let hosts = Hosts::Named(vec!["thuban.example".into()]);
    let world = World::with(Wishes { config: Config { hosts, ..Config::default() }, ..Wishes::default() }).await;
    let asked = |host: &'static str| world.ask(Method::GET, "/v1/namespaces").header("host", host).send();
    asked("thuban.example:7800").await.expect(200);
    asked("other.example").await.expect(403);
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, grpc_world::token_lines(&[("ops", "secret", "* read")])).unwrap();
    let admission = admission::Config { tokens: Some(tokens), ..admission::Config::default() };
    let world = World::with(Wishes { admission, ..Wishes::default() }).await;
    let asking = world.ask(Method::GET, "/v1/namespaces").header("host", "other.example");
    asking.header("authorization", "Bearer secret").send().await.expect(200);
}

/// What the node says to `request`, until it closes.
async fn told(addr: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it closes").expect("it answers");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_names_exactly_one_host() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    for path in ["/livez", "/docs", "/v1/namespaces", "/nowhere", ORDERS, &format!("{ORDERS}/instances")] {
        for hosts in ["", "host: a\r\nhost: a\r\n", "host: \r\n", "host: a/b\r\n"] {
            let answer =
                told(listening.addr, &format!("GET {path} HTTP/1.1\r\n{hosts}connection: close\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{path} {hosts:?} {answer}");
            assert!(answer.contains("application/problem+json") && answer.contains(r#""field":"host""#), "{answer}");
        }
    }
    let old = told(listening.addr, "GET /v1/namespaces HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200"), "{old}");
}

#[tokio::test]
async fn a_request_is_not_encoded() {
    let world = World::new().await;
    let at = format!("{ORDERS}/instances/a");
    let asking = |kind| world.ask(Method::PUT, &at).header("content-encoding", kind).json(r#"{"host":"h","port":1}"#);
    for kind in ["gzip", "br", "zstd", "identity, gzip"] {
        let reply = asking(kind).send().await;
        assert_eq!((reply.problem().0, reply.field()), (415, "content-encoding".to_owned()), "{kind}");
    }
    asking("identity").send().await.expect(201);
    let read = world.ask(Method::GET, &at).header("content-encoding", "gzip").send().await;
    assert_eq!((read.problem().0, read.field()), (415, "content-encoding".to_owned()));
}

#[tokio::test]
async fn a_parameter_that_nobody_knows_is_named_by_every_page() {
    let world = World::new().await;
    for path in ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/style.css"] {
        let reply = world.get(&format!("{path}?nonsense=1")).await;
        assert_eq!((reply.problem().0, reply.field()), (400, "nonsense".to_owned()), "{path}");
        world.get(path).await.expect(200);
    }
}

/// Only a browser without encryption would come so, at the word of a page whose name leads here.
#[tokio::test]
async fn grpc_is_not_spoken_over_http_1() {
    let world = grpc_world::World::new().await;
    let head = "POST /thuban.v1.Admin/DrainNode HTTP/1.1\r\nhost: evil.example\r\ncontent-type: application/grpc\r\n";
    let answer = told(world.addr, &format!("{head}content-length: 5\r\nconnection: close\r\n\r\n\0\0\0\0\0")).await;
    assert!(answer.starts_with("HTTP/1.1 505"), "{answer}");
    assert_eq!(world.registry.readiness(), compute::node::Readiness::Ready);
}
