//! Whatever a request says in its path, query, headers and body: an answer that the reference has, never a fault of the
//! node, and what is refused as a value names the field and what is allowed.

use std::collections::BTreeSet;

use http::{HeaderValue, Method, Uri};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;
use serde_json::Value;

use crate::fuzz::{SHORT, hold, in_no_time, number, runtime, spoilt, text};
use crate::http_world::{Reply, World};

const PATHS: &[&str] = &[
    "/v1/namespaces",
    "/v1/namespaces/{}",
    "/v1/namespaces/{}/services",
    "/v1/namespaces/{}/services/{}",
    "/v1/namespaces/{}/services/{}/instances",
    "/v1/namespaces/{}/services/{}/instances/{}",
    "/v1/namespaces/{}/services/{}/instances/{}/renew",
    "/v1/namespaces/{}/services/{}/instances/{}/operator",
    "/v1/namespaces/{}/services/{}/overrides",
    "/v1/namespaces/{}/services/{}/overrides/{}",
    "/v1/namespaces/{}/services/{}/subscribers",
    "/v1/namespaces/{}/services/{}/watch",
    "/v1/namespaces/{}/watch",
    "/v1/batch/register",
    "/v1/batch/renew",
    "/v1/batch/deregister",
    "/v1/discover",
    "/v1/watch",
    "/v1/sd/prometheus",
    "/v1/nodes",
    "/v1/nodes/{}/drain",
    "/v1/nodes/{}/freeze/release",
    "/v1/status",
    "/{}/{}",
];
const PARAMETERS: &[&str] = &[
    "ack",
    "cursor",
    "limit",
    "prefix",
    "generation",
    "min_revision",
    "wait_ms",
    "from",
    "usable",
    "healthy",
    "isolated",
    "zone",
    "version",
    "metadata.team",
    "metadata.",
    "namespace",
    "service",
    "nonsense",
    "",
];
const HEADERS: &[&str] = &[
    "if-match",
    "if-none-match",
    "last-event-id",
    "x-thuban-client",
    "content-type",
    "authorization",
    "origin",
    "host",
    "sec-fetch-site",
    "accept",
    "content-length",
    "expect",
];
const FIELDS: &[&str] = &[
    "host",
    "port",
    "ports",
    "protocol",
    "weight",
    "version",
    "zone",
    "region",
    "metadata",
    "lease",
    "incarnation",
    "kind",
    "ttl_ms",
    "remove_after_ms",
    "check",
    "http",
    "tcp",
    "grpc",
    "interval_ms",
    "timeout_ms",
    "failures",
    "successes",
    "isolated",
    "note",
    "expires_at",
    "keep_ms",
    "description",
    "owner",
    "protect_threshold",
    "namespace",
    "service",
    "id",
    "generation",
    "items",
    "nonsense",
];

#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    uri: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A segment or a value in a query: encoded as it should be, or not at all.
fn piece() -> BoxedStrategy<String> {
    prop_oneof![
        8 => text().prop_map(|text| encoded(&text)),
        1 => text(),
        1 => select(vec!["%", "%f", "%zz", "%ff", "%c3%28", "%00", "%2e%2e", "%2F", "+", "a%", "%ED%A0%80"]).prop_map(str::to_owned),
    ].boxed()
}

fn uri() -> BoxedStrategy<String> {
    let parameter = (select(PARAMETERS), piece()).prop_map(|(name, value)| format!("{name}={value}"));
    let parameter = prop_oneof![9 => parameter, 1 => piece()];
    (select(PATHS), vec(piece(), 3), vec(parameter, 0..4))
        .prop_map(|(path, names, parameters)| {
            let path = names.iter().fold(path.to_owned(), |path, name| path.replacen("{}", name, 1));
            if parameters.is_empty() { path } else { format!("{path}?{}", parameters.join("&")) }
        })
        .boxed()
}

fn json() -> BoxedStrategy<String> {
    let literal =
        select(vec!["null", "true", "false", "-0", "1.5", "1e2", "1e400", "-1", "18446744073709551616", "[]", "{}"]);
    let leaf = prop_oneof![
        text().prop_map(|text| Value::from(text).to_string()),
        number().prop_map(|number| number.to_string()),
        literal.prop_map(str::to_owned),
        select(vec!["\"ttl\"", "\"checked\"", "\"permanent\"", "\"stream\"", "\"\\ud800\""]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let field = (select(FIELDS), inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            3 => vec(field, 0..7).prop_map(|fields| format!("{{{}}}", fields.join(","))),
            1 => vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
        ]
    })
    .boxed()
}

/// A registration in which little is wrong, or nothing; alone, and as an item.
fn near() -> BoxedStrategy<String> {
    (vec((select(FIELDS), json()), 0..2), any::<bool>())
        .prop_map(|(more, is_item)| {
            let more: Vec<_> = more.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
            let one = format!("\"host\":\"10.0.0.7\",\"port\":8080{}", more.concat());
            let item =
                format!("{{\"items\":[{{\"namespace\":\"default\",\"service\":\"orders\",\"id\":\"a\",{one}}}]}}");
            if is_item { item } else { format!("{{{one}}}") }
        })
        .boxed()
}

fn asked() -> BoxedStrategy<Asked> {
    let methods = ["GET", "GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"];
    let method = select(methods.map(|name| Method::from_bytes(name.as_bytes()).expect("a method")).to_vec());
    let value = prop_oneof![4 => text().prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..20)];
    let body = prop_oneof![
        2 => json().prop_map(String::into_bytes),
        2 => near().prop_map(String::into_bytes),
        2 => spoilt(near().prop_map(String::into_bytes)),
        1 => Just(Vec::new()),
    ];
    (method, uri(), vec((select(HEADERS), value), 0..3), body, any::<bool>())
        .prop_map(|(method, uri, mut headers, body, says_json)| {
            if says_json {
                headers.push(("content-type", b"application/json".to_vec()));
            }
            // Other requests never come as far as a door.
            headers.retain(|(_, value)| HeaderValue::from_bytes(value).is_ok());
            Asked { method, uri, headers, body }
        })
        .boxed()
}

/// The codes of the contract that an argument alone can lead to.
fn codes() -> BTreeSet<&'static str> {
    let faults =
        [gateway::error::Code::Internal, gateway::error::Code::Overloaded, gateway::error::Code::OutcomeUnknown];
    let all = gateway::error::Code::ALL.iter().filter(|code| !faults.contains(code));
    all.map(|code| code.as_str()).collect()
}

fn blames(problem: &Value) -> TestCaseResult {
    let code = problem["code"].as_str().unwrap_or_default();
    prop_assert!(codes().contains(code), "{}", problem);
    if code == "invalid_argument" {
        let field = problem["field"].as_str().unwrap_or_default();
        prop_assert!(!field.is_empty() && field.len() < 2_048, "no field: {}", problem);
        let detail = problem["detail"].as_str().unwrap_or_default();
        let says = detail.contains("allowed") || detail.contains("is not JSON");
        prop_assert!(says && detail.len() < 8_192, "what is allowed? {}", problem);
    }
    Ok(())
}

fn judge(asked: &Asked, reply: &Reply) -> TestCaseResult {
    let status = reply.status.as_u16();
    prop_assert!(status < 500 || status == 503, "{:?}", reply);
    if asked.method == Method::HEAD {
        return Ok(());
    }
    if status >= 400 {
        prop_assert_eq!(reply.header("content-type"), "application/problem+json", "{:?}", reply);
        prop_assert_eq!(reply.json()["status"].as_u64(), Some(u64::from(status)), "{:?}", reply);
        return blames(&reply.json());
    }
    if status == 200 && asked.uri.starts_with("/v1/batch/") {
        for outcome in reply.json()["items"].as_array().expect("items") {
            let status = outcome["status"].as_u64().unwrap_or_default();
            prop_assert!((200..500).contains(&status) || status == 503, "{}", outcome);
            if status >= 400 {
                blames(outcome)?;
            }
        }
    }
    Ok(())
}

async fn answer(world: &World, asked: &Asked) -> Option<Reply> {
    let mut asking = world.ask(asked.method.clone(), &asked.uri).body(&asked.body);
    for (name, value) in &asked.headers {
        asking = asking.header(name, value);
    }
    let is_watch = asked.uri.split('?').next().is_some_and(|path| path.ends_with("/watch"));
    // The reference says nothing of answers without their bodies.
    if !is_watch && asked.method != Method::HEAD {
        return Some(asking.send().await);
    }
    let (status, headers, mut body) = asking.open().await;
    if is_watch && status.is_success() && asked.method != Method::HEAD {
        // Whatever it is, its first piece is there at once, and what follows may never come.
        let first = body.frame().await.expect("the stream is open").expect("never an error");
        assert!(!first.into_data().expect("data").is_empty());
        let _ = tokio::time::timeout(SHORT, body.frame()).await;
        return None;
    }
    let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
    Some(Reply { status, headers, body })
}

#[test]
fn no_request_is_too_strange_for_a_route() {
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    hold(400, asked(), |asked| {
        if asked.uri.parse::<Uri>().is_err() {
            return Ok(());
        }
        runtime.block_on(async {
            match in_no_time(&world.clock, answer(&world, &asked)).await {
                Some(reply) => judge(&asked, &reply),
                None => Ok(()),
            }
        })
    });
    // And nothing of it harmed the node.
    runtime.block_on(async {
        assert_eq!(in_no_time(&world.clock, world.get("/readyz")).await.status.as_u16(), 200);
        in_no_time(&world.clock, world.register("at-the-end")).await;
    });
}
