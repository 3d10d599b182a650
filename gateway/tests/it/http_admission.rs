use http::Method;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::http_world::{ORDERS, Reply, SOON, Wishes, World};

const BODY: &str = r#"{"host":"h","port":1}"#;

struct Tokens(tempfile::NamedTempFile);

impl Tokens {
    fn new(lines: &[(&str, &str, &str)]) -> Self {
        let tokens = Self(tempfile::NamedTempFile::new().expect("a file"));
        tokens.write(lines);
        tokens
    }

    /// Each token is its own name.
    fn write(&self, lines: &[(&str, &str, &str)]) {
        let line = |(name, namespaces, rights): &(&str, &str, &str)| {
            let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{name} {digest} {namespaces} {rights}\n")
        };
        let content: String = lines.iter().map(line).collect();
        std::fs::write(self.0.path(), content).expect("a file");
    }

    async fn world(&self) -> World {
        let mut wishes = Wishes::default();
        wishes.admission.tokens = Some(self.0.path().to_owned());
        World::with(wishes).await
    }
}

async fn ask(world: &World, token: &str, method: Method, path: &str, body: &str) -> Reply {
    let asking = world.ask(method, path).header("authorization", format!("Bearer {token}"));
    let asking = if body.is_empty() { asking } else { asking.json(body) };
    asking.send().await
}

#[tokio::test]
async fn without_a_token_only_what_is_open_answers() {
    let tokens = Tokens::new(&[("all", "*", "read,register,operate")]);
    let world = tokens.world().await;
    for path in ["/livez", "/readyz", "/", "/ui", "/docs", "/docs/reference.js", "/docs/style.css", "/openapi.json"] {
        world.get(path).await.expect(200);
    }
    for operation in world.reference().operations() {
        let path = operation.example_path();
        if matches!(path.as_str(), "/livez" | "/readyz") {
            continue;
        }
        for authorization in ["", "Bearer", "Bearer nobody", "Basic all", "all"] {
            let asking = world.ask(operation.method.clone(), &path);
            let asking = if authorization.is_empty() { asking } else { asking.header("authorization", authorization) };
            let reply = asking.send().await;
            let context = format!("{} {path} {authorization}", operation.method);
            assert_eq!(reply.problem(), (401, "unauthenticated".to_owned()), "{context}");
            assert_eq!(reply.header("www-authenticate"), "Bearer", "{context}");
        }
    }
    assert_eq!(world.get("/v1/nowhere").await.problem().0, 404);
}

#[tokio::test]
async fn a_token_may_what_its_line_says() {
    let tokens = Tokens::new(&[
        ("reader", "default", "read"),
        ("provider", "default", "register"),
        ("operator", "*", "operate"),
        ("elsewhere", "team", "read,register,operate"),
    ]);
    let world = tokens.world().await;
    let at = format!("{ORDERS}/instances/a");
    let (renew, operate, instances) = (format!("{at}/renew"), format!("{at}/operator"), format!("{ORDERS}/instances"));
    for (token, method, path, body, status) in [
        ("reader", Method::PUT, &at, BODY, 403),
        ("operator", Method::PUT, &at, BODY, 403),
        ("elsewhere", Method::PUT, &at, BODY, 403),
        ("provider", Method::PUT, &at, BODY, 201),
        ("provider", Method::GET, &at, "", 403),
        ("provider", Method::GET, &instances, "", 403),
        ("elsewhere", Method::GET, &instances, "", 403),
        ("reader", Method::GET, &instances, "", 200),
        ("reader", Method::POST, &renew, "", 403),
        ("provider", Method::POST, &renew, "", 204),
        ("provider", Method::PATCH, &operate, r#"{"isolated":true}"#, 403),
        ("operator", Method::PATCH, &operate, r#"{"isolated":true}"#, 200),
        ("reader", Method::DELETE, &at, "", 403),
        ("operator", Method::DELETE, &at, "", 204),
        ("provider", Method::PUT, &at, BODY, 201),
        ("provider", Method::DELETE, &at, "", 204),
        ("provider", Method::PUT, &ORDERS.to_owned(), "{}", 403),
        ("operator", Method::PUT, &ORDERS.to_owned(), "{}", 200),
        ("operator", Method::GET, &"/v1/status".to_owned(), "", 403),
        ("reader", Method::GET, &"/v1/status".to_owned(), "", 200),
        ("reader", Method::GET, &"/metrics".to_owned(), "", 200),
        ("elsewhere", Method::POST, &"/v1/nodes/thuban/drain".to_owned(), "", 403),
        ("elsewhere", Method::PUT, &"/v1/namespaces/other".to_owned(), "{}", 403),
        ("elsewhere", Method::PUT, &"/v1/namespaces/team".to_owned(), "{}", 201),
    ] {
        let reply = ask(&world, token, method.clone(), path, body).await;
        assert_eq!(reply.status.as_u16(), status, "{token} {method} {path}: {}", reply.text());
        if status == 403 {
            assert_eq!(reply.problem().1, "forbidden");
        }
    }
    let listed = ask(&world, "reader", Method::GET, "/v1/namespaces", "").await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["namespace"], "default");
}

#[tokio::test]
async fn a_tokens_name_is_the_author_and_an_operators_removal_is_one() {
    let tokens = Tokens::new(&[("provider", "*", "register,read"), ("console", "*", "operate")]);
    let world = tokens.world().await;
    let at = format!("{ORDERS}/instances/a");
    ask(&world, "provider", Method::PUT, &at, BODY).await.expect(201);
    let operated = ask(&world, "console", Method::PATCH, &format!("{at}/operator"), r#"{"weight":1}"#).await.json();
    assert_eq!(operated["operator"]["author"], "console");
    for (token, reason) in [("console", "operator"), ("provider", "deregistered")] {
        ask(&world, "provider", Method::PUT, &at, BODY).await;
        ask(&world, token, Method::DELETE, &at, "").await.expect(204);
        let empty = ask(&world, "provider", Method::GET, &format!("{ORDERS}/instances"), "").await.json();
        assert_eq!((&empty["empty"]["reason"], &empty["empty"]["author"]), (&json!(reason), &json!(token)));
    }
}

#[tokio::test]
async fn a_batch_is_refused_item_by_item() {
    let tokens = Tokens::new(&[("provider", "default", "register")]);
    let world = tokens.world().await;
    let body = json!({ "items": [
        { "service": "orders", "id": "a", "host": "h", "port": 1 },
        { "namespace": "team", "service": "orders", "id": "a", "host": "h", "port": 1 },
    ] });
    let answer =
        ask(&world, "provider", Method::POST, "/v1/batch/register", &body.to_string()).await.expect(200).json();
    assert_eq!((&answer["items"][0]["status"], &answer["items"][1]["status"]), (&json!(201), &json!(403)));
    assert_eq!(answer["items"][1]["code"], "forbidden");
}

#[tokio::test]
async fn a_token_that_is_taken_away_ends_its_streams() {
    use http_body_util::BodyExt;
    let tokens = Tokens::new(&[("reader", "*", "read"), ("provider", "*", "register")]);
    let world = tokens.world().await;
    let asking = world.ask(Method::GET, &format!("{ORDERS}/watch")).header("authorization", "Bearer reader");
    let (status, _, mut body) = asking.open().await;
    assert_eq!(status, 200);
    tokens.write(&[("provider", "*", "register")]);
    let reading = async { while body.frame().await.is_some() {} };
    tokio::time::timeout(SOON, world.until_done(reading)).await.expect("it ends");
    let refused = ask(&world, "reader", Method::GET, &format!("{ORDERS}/watch"), "").await;
    assert_eq!(refused.problem().0, 401);
}

#[tokio::test]
async fn an_overload_sheds_new_work_before_renewals() {
    let mut wishes = Wishes::default();
    wishes.admission.in_flight_max = 0;
    let world = World::with(wishes).await;
    world.get("/livez").await.expect(200);
    world.get("/readyz").await.expect(200);
    for (method, path, body) in [
        (Method::GET, format!("{ORDERS}/instances"), ""),
        (Method::PUT, format!("{ORDERS}/instances/a"), BODY),
        (Method::POST, "/v1/batch/register".to_owned(), r#"{"items":[{}]}"#),
        (Method::GET, format!("{ORDERS}/watch"), ""),
    ] {
        let asking = world.ask(method, &path);
        let asking = if body.is_empty() { asking } else { asking.json(body) };
        let reply = asking.send().await;
        assert_eq!(reply.problem(), (503, "overloaded".to_owned()), "{path}");
        assert_eq!(reply.header("retry-after"), "1", "{path}");
    }
    // Not there, but let in: a renewal has its own lane.
    assert_eq!(world.post(&format!("{ORDERS}/instances/a/renew"), "").await.problem().0, 404);
    world.post("/v1/batch/renew", r#"{"items":[{"service":"orders","id":"a"}]}"#).await.expect(200);
}

#[tokio::test]
async fn only_so_many_wait_and_the_others_are_not_held_up() {
    let mut wishes = Wishes::default();
    wishes.admission.waiting_max = 1;
    wishes.admission.in_flight_max = 1;
    let world = World::with(wishes).await;
    let (status, _, stream) = world.ask(Method::GET, &format!("{ORDERS}/watch")).open().await;
    assert_eq!(status, 200);
    assert_eq!(world.get(&format!("{ORDERS}/watch")).await.problem(), (503, "overloaded".to_owned()));
    let waiting =
        world.ask(Method::GET, &format!("{ORDERS}/instances?wait_ms=1000")).header("if-none-match", "\"0.0.0\"");
    assert_eq!(waiting.send().await.problem(), (503, "overloaded".to_owned()));
    world.register("a").await;
    world.get(&format!("{ORDERS}/instances")).await.expect(200);
    drop(stream);
    let (status, _, _stream) = world.ask(Method::GET, &format!("{ORDERS}/watch")).open().await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_token_has_its_rate() {
    let tokens = Tokens::new(&[("slow", "*", "read,register 2"), ("fast", "*", "read")]);
    let world = tokens.world().await;
    let instances = "/v1/status";
    ask(&world, "slow", Method::GET, instances, "").await.expect(200);
    ask(&world, "slow", Method::GET, instances, "").await.expect(200);
    let refused = ask(&world, "slow", Method::GET, instances, "").await;
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
    assert!(!refused.header("retry-after").is_empty());
    ask(&world, "fast", Method::GET, instances, "").await.expect(200);
    let renewal = ask(&world, "slow", Method::POST, &format!("{ORDERS}/instances/a/renew"), "").await;
    assert_eq!(renewal.problem().0, 404);
    world.clock.advance(1_000);
    ask(&world, "slow", Method::GET, instances, "").await.expect(200);
}
