use http::Method;

use crate::http_world::{ORDERS, World};

const AT: &str = "/v1/namespaces/default/services/orders/instances/a";

/// Requests with the status, the code and the field of their answer.
struct Case(Method, String, &'static str, u16, &'static str, &'static str);

fn case(method: Method, path: &str, body: &'static str, status: u16, code: &'static str, field: &'static str) -> Case {
    Case(method, path.to_owned(), body, status, code, field)
}

fn invalid(method: Method, path: &str, body: &'static str, field: &'static str) -> Case {
    case(method, path, body, 400, "invalid_argument", field)
}

async fn run(world: &World, cases: Vec<Case>) {
    let before = world.registry.progress();
    for Case(method, path, body, status, code, field) in cases {
        let asking = world.ask(method.clone(), &path);
        let asking = if body.is_empty() { asking } else { asking.json(body) };
        let reply = asking.send().await;
        let seen = reply.problem();
        let context = format!("{method} {path} {body}: {}", reply.text());
        assert_eq!(seen, (status, code.to_owned()), "{context}");
        assert_eq!(reply.field(), field, "{context}");
        if status == 400 {
            assert!(reply.json()["allowed"].is_string(), "{context}");
        }
    }
    assert_eq!(world.registry.progress().applied, before.applied, "nothing of it was written");
}

#[tokio::test]
async fn names_in_a_path() {
    let world = World::new().await;
    world.register("a").await;
    let long = "x".repeat(256);
    let many = "%C3%A4".repeat(128);
    let mut cases = Vec::new();
    for (bad, field) in [("%2e%2e", "service"), ("a%20b", "service"), ("%C3%A4", "service"), (long.as_str(), "service")]
    {
        let service = format!("/v1/namespaces/default/services/{bad}");
        cases.push(invalid(Method::GET, &format!("{service}/instances"), "", field));
        cases.push(invalid(Method::PUT, &service, "{}", field));
        cases.push(invalid(Method::DELETE, &service, "", field));
        cases.push(invalid(Method::GET, &format!("{service}/watch"), "", field));
        cases.push(invalid(Method::GET, &format!("{service}/overrides"), "", field));
        cases.push(invalid(Method::GET, &format!("{service}/subscribers"), "", field));
        cases.push(invalid(Method::PUT, &format!("{service}/instances/a"), r#"{"host":"h","port":1}"#, field));
        let namespace = format!("/v1/namespaces/{bad}");
        cases.push(invalid(Method::PUT, &namespace, "{}", "namespace"));
        cases.push(invalid(Method::GET, &namespace, "", "namespace"));
        cases.push(invalid(Method::GET, &format!("{namespace}/watch"), "", "namespace"));
    }
    for bad in [".", "..", "%0A", "a%00", long.as_str(), many.as_str()] {
        let instance = format!("{ORDERS}/instances/{}", bad.replace('.', "%2E"));
        cases.push(invalid(Method::GET, &instance, "", "id"));
        cases.push(invalid(Method::DELETE, &instance, "", "id"));
        cases.push(invalid(Method::POST, &format!("{instance}/renew"), "", "id"));
        cases.push(invalid(Method::PATCH, &format!("{instance}/operator"), "{}", "id"));
    }
    for bad in ["%ff", "%C3"] {
        cases.push(invalid(Method::GET, &format!("/v1/namespaces/default/services/{bad}/instances"), "", "service"));
        cases.push(invalid(Method::GET, &format!("{ORDERS}/instances/{bad}"), "", "id"));
    }
    for bad in ["%zz", "%2", "a%"] {
        cases.push(invalid(Method::GET, &format!("{ORDERS}/instances/{bad}"), "", "path"));
    }
    cases.push(invalid(Method::GET, "/v1/namespaces//services", "", "namespace"));
    cases.push(invalid(Method::GET, "/v1/namespaces/default/services//instances", "", "service"));
    run(&world, cases).await;
}

#[tokio::test]
async fn queries() {
    let world = World::new().await;
    world.register("a").await;
    let mut cases = Vec::new();
    for (query, field) in [
        ("nonsense=1", "nonsense"),
        ("usable=yes", "usable"),
        ("usable=", "usable"),
        ("healthy=1", "healthy"),
        ("isolated=TRUE", "isolated"),
        ("zone=%ff", "zone"),
        ("zone=%zz", "zone"),
        ("zone=a&zone=b", "zone"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=1000001", "limit"),
        ("metadata.=x", "metadata"),
        ("metadata=x", "metadata"),
        ("min_revision=x", "min_revision"),
        ("min_revision=", "min_revision"),
        ("min_revision=200.1.1", "min_revision"),
        ("wait_ms=60001", "wait_ms"),
        ("wait_ms=-1", "wait_ms"),
        ("wait_ms=1.5", "wait_ms"),
        ("ack=log", "ack"),
    ] {
        cases.push(invalid(Method::GET, &format!("{ORDERS}/instances?{query}"), "", field));
        cases.push(invalid(Method::GET, &format!("/v1/discover?service=orders&{query}"), "", field));
    }
    for (query, field) in [("", "service"), ("service=", "service"), ("service=a&namespace=", "namespace")] {
        cases.push(invalid(Method::GET, &format!("/v1/discover?{query}"), "", field));
    }
    for (query, field) in
        [("ack=all", "ack"), ("ack=", "ack"), ("generation=x", "generation"), ("wait_ms=1", "wait_ms")]
    {
        cases.push(invalid(Method::PUT, &format!("{AT}?{query}"), r#"{"host":"h","port":1}"#, field));
        cases.push(invalid(Method::DELETE, &format!("{AT}?{query}"), "", field));
        cases.push(invalid(Method::PATCH, &format!("{AT}/operator?{query}"), "{}", field));
    }
    for (query, field) in
        [("limit=1001", "limit"), ("limit=0", "limit"), ("cursor=", "cursor"), ("prefix=a%20b", "prefix")]
    {
        cases.push(invalid(Method::GET, &format!("/v1/namespaces/default/services?{query}"), "", field));
    }
    for (query, field) in
        [("from=x", "from"), ("zone=a&zone=b", "zone"), ("wait_ms=1", "wait_ms"), ("usable=x", "usable")]
    {
        cases.push(invalid(Method::GET, &format!("{ORDERS}/watch?{query}"), "", field));
        cases.push(invalid(Method::GET, &format!("/v1/namespaces/default/watch?{query}"), "", field));
        cases.push(invalid(Method::GET, &format!("/v1/watch?{query}"), "", field));
    }
    cases.push(invalid(Method::GET, "/v1/sd/prometheus?services=a", "", "services"));
    cases.push(invalid(Method::GET, "/v1/nodes?all=1", "", "all"));
    cases.push(invalid(Method::GET, "/v1/status?verbose=1", "", "verbose"));
    cases.push(invalid(Method::POST, &format!("{AT}/renew?ttl=1"), "", "ttl"));
    cases.push(invalid(Method::POST, "/v1/batch/renew?ack=log", r#"{"items":[{"service":"s","id":"a"}]}"#, "ack"));
    cases.push(invalid(Method::GET, &format!("{ORDERS}/subscribers?cursor=x"), "", "cursor"));
    run(&world, cases).await;
}

#[tokio::test]
async fn bodies() {
    let world = World::new().await;
    world.register("a").await;
    let mut cases = Vec::new();
    for body in ["[]", "null", "7", "\"x\"", "{", "{\"a\":}", "{}{}", "nonsense", "\u{feff}{}", "{'a':1}", " "] {
        cases.push(invalid(Method::PUT, AT, body, "body"));
        cases.push(invalid(Method::PUT, ORDERS, body, "body"));
        cases.push(invalid(Method::PATCH, ORDERS, body, "body"));
        cases.push(invalid(Method::PATCH, &format!("{AT}/operator"), body, "body"));
        cases.push(invalid(Method::POST, &format!("{AT}/renew"), body, "body"));
        cases.push(invalid(Method::PUT, "/v1/namespaces/team", body, "body"));
        cases.push(invalid(Method::POST, "/v1/batch/register", body, "body"));
    }
    for (body, field) in [
        (r#"{"host":"h","port":1,"hots":1}"#, "hots"),
        (r#"{"host":"h","port":1,"port":2}"#, "port"),
        (r#"{"host":"h","port":1,"metadata":{"a":{"b":[[[[1]]]]}}}"#, "metadata.a"),
        (r#"{"host":"h","port":1,"lease":{"kind":"ttl","ttl_ms":1}}"#, "lease.ttl_ms"),
        (r#"{"host":"h","port":1,"generation":"1.1.1"}"#, "generation"),
        (r#"{"host":"\ud800","port":1}"#, "host"),
        (r#"{"host":"h","port":1,"revision":null}"#, "revision"),
    ] {
        cases.push(invalid(Method::PUT, AT, body, field));
    }
    for (body, field) in [
        (r#"{"isolated":"yes"}"#, "isolated"),
        (r#"{"weight":10001}"#, "weight"),
        (r#"{"weight":-1}"#, "weight"),
        (r#"{"note":7}"#, "note"),
        (r#"{"note":"\u0007"}"#, "note"),
        (r#"{"expires_at":"tomorrow"}"#, "expires_at"),
        (r#"{"expires_at":1700000000}"#, "expires_at"),
        (r#"{"expires_at":"2001-01-01T00:00:00Z","isolated":true}"#, "expires_at"),
        (r#"{"keep_ms":604800001}"#, "keep_ms"),
        (r#"{"generation":"x"}"#, "generation"),
        (r#"{"isolate":true}"#, "isolate"),
    ] {
        cases.push(invalid(Method::PATCH, &format!("{AT}/operator"), body, field));
    }
    for (body, field) in [
        (r#"{"protect_threshold":1.1}"#, "protect_threshold"),
        (r#"{"protect_threshold":-0.1}"#, "protect_threshold"),
        (r#"{"protect_threshold":"1"}"#, "protect_threshold"),
        (r#"{"owner":"a\nb"}"#, "owner"),
        (r#"{"metadata":{"":"x"}}"#, "metadata"),
        (r#"{"metadata":{"k":null}}"#, "metadata.k"),
        (r#"{"description":[]}"#, "description"),
        (r#"{"name":"x"}"#, "name"),
    ] {
        cases.push(invalid(Method::PUT, ORDERS, body, field));
        cases.push(invalid(Method::PATCH, ORDERS, body, field));
    }
    cases.push(invalid(Method::PUT, ORDERS, r#"{"owner":null}"#, "owner"));
    cases.push(invalid(Method::PUT, "/v1/namespaces/team", r#"{"owner":"x"}"#, "owner"));
    cases.push(invalid(Method::DELETE, ORDERS, "{}", "body"));
    cases.push(invalid(Method::DELETE, "/v1/namespaces/default", r#"{"force":true}"#, "body"));
    cases.push(invalid(Method::DELETE, AT, r#"{"force":true}"#, "force"));
    run(&world, cases).await;
}

#[tokio::test]
async fn what_is_not_json_or_not_text() {
    let world = World::new().await;
    let body = r#"{"host":"h","port":1}"#;
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "nonsense", "\u{80}"]
    {
        let reply = world.ask(Method::PUT, AT).header("content-type", kind).body(body).send().await;
        assert_eq!(reply.problem(), (415, "unsupported_media_type".to_owned()), "{kind}");
        assert_eq!(reply.field(), "content-type");
    }
    for text in [&b"\xff\xff"[..], b"{\"host\":\"\xff\",\"port\":1}", b"{\"\xc3\":1}"] {
        let reply = world.ask(Method::PUT, AT).json(text).send().await;
        assert_eq!((reply.problem().0, reply.field()), (400, "body".to_owned()));
    }
    let untyped = world.ask(Method::PUT, AT).body(body).send().await;
    assert_eq!((untyped.problem().0, untyped.field()), (415, "content-type".to_owned()));
    world
        .ask(Method::PUT, AT)
        .header("content-type", "Application/JSON;charset=\"UTF-8\"")
        .body(body)
        .send()
        .await
        .expect(201);
    let patch = world.ask(Method::PATCH, ORDERS).header("content-type", "application/merge-patch+json").body("{}");
    patch.send().await.expect(200);
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist() {
    let world = World::new().await;
    for path in ["/v1", "/v2/namespaces", "/v1/namespaces/", "//v1/status", "/docs/x", "/admin", "/v1/x%00"] {
        let reply = world.get(path).await;
        assert_eq!(reply.problem(), (404, "path_not_found".to_owned()), "{path}");
    }
    for (method, path) in [
        (Method::POST, "/v1/namespaces"),
        (Method::DELETE, "/v1/namespaces/default/services"),
        (Method::GET, "/v1/batch/register"),
        (Method::PUT, "/livez"),
        (Method::OPTIONS, AT),
        (Method::TRACE, "/v1/status"),
        (Method::POST, "/docs"),
    ] {
        let reply = world.ask(method.clone(), path).send().await;
        assert_eq!(reply.problem(), (405, "method_not_allowed".to_owned()), "{method} {path}");
        assert!(!reply.header("allow").is_empty(), "{method} {path}");
    }
    let allowed = world.ask(Method::POST, AT).send().await;
    for method in ["GET", "PUT", "DELETE"] {
        assert!(allowed.header("allow").contains(method), "{allowed:?}");
    }
}

#[tokio::test]
async fn headers() {
    let world = World::new().await;
    world.register("a").await;
    let many = "x".repeat(300);
    for (header, value) in [
        ("x-thuban-client", &b"\xff"[..]),
        ("x-thuban-client", b" "),
        ("x-thuban-client", many.as_bytes()),
        ("last-event-id", b"x"),
    ] {
        let reply = world.ask(Method::GET, &format!("{ORDERS}/watch")).header(header, value).send().await;
        assert_eq!((reply.problem().0, reply.field()), (400, header.to_owned()));
    }
    let reply =
        world.ask(Method::GET, &format!("{ORDERS}/instances")).header("if-none-match", b"\xff\xfe").send().await;
    assert_eq!((reply.problem().0, reply.field()), (400, "if-none-match".to_owned()));
}

/// Every parameter that the reference has is known, and no other.
#[tokio::test]
async fn each_operation_knows_exactly_the_parameters_it_describes() {
    let world = World::new().await;
    world.register("a").await;
    let mut checked = 0;
    for operation in world.reference().operations() {
        let path = operation.example_path();
        if !path.starts_with("/v1/") {
            continue;
        }
        let required = if operation.details["operationId"] == "discover_by_query" { "&service=orders" } else { "" };
        let body = if operation.details["operationId"] == "register" { r#"{"host":"h","port":1}"# } else { "" };
        let body =
            if path.contains("/batch/") { r#"{"items":[{"service":"s","id":"a","host":"h","port":1}]}"# } else { body };
        let body = if path.ends_with("/operator") || operation.method == Method::PATCH { "{}" } else { body };
        let asking = world.ask(operation.method.clone(), &format!("{path}?nonsense=1{required}"));
        let asking = if body.is_empty() { asking } else { asking.json(body) };
        let reply = asking.send().await;
        assert_eq!((reply.problem().0, reply.field()), (400, "nonsense".to_owned()), "{} {path}", operation.method);
        let document = reply.json();
        let allowed = document["allowed"].as_str().unwrap();
        let known: std::collections::BTreeSet<_> = allowed
            .split(", ")
            .filter(|name| *name != "nothing here")
            .map(|name| if name == "metadata.KEY" { "metadata" } else { name }.to_owned())
            .collect();
        assert_eq!(known, operation.parameters("query"), "{} {path}", operation.method);
        checked += 1;
    }
    assert!(checked > 25, "{checked}");
}
