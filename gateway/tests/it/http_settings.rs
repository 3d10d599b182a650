use http::Method;
use serde_json::{Value, json};

use crate::http_world::{ORDERS, World};

#[tokio::test]
async fn namespaces_are_made_described_and_deleted() {
    let world = World::new().await;
    world.get("/v1/namespaces/default").await.expect(200);
    assert_eq!(world.get("/v1/namespaces/team").await.problem(), (404, "namespace_not_found".to_owned()));
    let made = world.put("/v1/namespaces/team", r#"{"description":"ours","metadata":{"a":"b"}}"#).await.expect(201);
    assert_eq!((&made.json()["namespace"], &made.json()["description"]), (&json!("team"), &json!("ours")));
    let shown = world.get("/v1/namespaces/team").await.expect(200);
    assert_eq!((shown.json(), shown.etag()), (made.json(), made.etag()));
    let etag = shown.etag().to_owned();
    world.ask(Method::GET, "/v1/namespaces/team").header("if-none-match", &etag).send().await.expect(304);
    world.ask(Method::PUT, "/v1/namespaces/team").send().await.expect(200);
    assert_eq!(world.get("/v1/namespaces/team").await.json()["description"], "");
    let service = "/v1/namespaces/team/services/s/instances/a";
    world.put(service, r#"{"host":"h","port":1}"#).await.expect(201);
    assert_eq!(world.delete("/v1/namespaces/team").await.problem(), (409, "conflict".to_owned()));
    world.delete(service).await.expect(204);
    world.delete("/v1/namespaces/team/services/s").await.expect(204);
    world.delete("/v1/namespaces/team").await.expect(204);
    assert_eq!(world.delete("/v1/namespaces/team").await.problem().0, 404);
    let refused = world.delete("/v1/namespaces/default").await;
    assert_eq!(refused.problem(), (409, "conflict".to_owned()));
    let nowhere = world.put("/v1/namespaces/team/services/s/instances/a", r#"{"host":"h","port":1}"#).await;
    assert_eq!(nowhere.problem(), (404, "namespace_not_found".to_owned()));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    for n in 0..7 {
        world.put(&format!("/v1/namespaces/n{n}"), "{}").await.expect(201);
        world.put(&format!("/v1/namespaces/default/services/s{n}"), "{}").await.expect(201);
    }
    world.put("/v1/namespaces/default/services/other", "{}").await.expect(201);
    for (path, field, wanted) in [
        ("/v1/namespaces?limit=3", "namespace", vec!["default", "n0", "n1", "n2", "n3", "n4", "n5", "n6"]),
        ("/v1/namespaces/default/services?limit=3", "service", vec!["other", "s0", "s1", "s2", "s3", "s4", "s5", "s6"]),
        ("/v1/namespaces/default/services?limit=7&prefix=s", "service", vec!["s0", "s1", "s2", "s3", "s4", "s5", "s6"]),
    ] {
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..9 {
            let at = cursor.as_ref().map_or_else(|| path.to_owned(), |cursor| format!("{path}&cursor={cursor}"));
            let page = world.get(&at).await.expect(200).json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 7);
            found.extend(items.iter().map(|item| item[field].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(found, wanted, "{path}");
    }
    let unknown = world.get("/v1/namespaces/nowhere/services").await;
    assert_eq!(unknown.problem(), (404, "namespace_not_found".to_owned()));
    let first = world.get("/v1/namespaces").await.expect(200);
    let again = world.ask(Method::GET, "/v1/namespaces").header("if-none-match", first.etag()).send().await;
    again.expect(304);
}

#[tokio::test]
async fn a_service_is_described_and_counted() {
    let world = World::new().await;
    assert_eq!(world.get(ORDERS).await.problem(), (404, "service_not_found".to_owned()));
    assert_eq!(world.patch(ORDERS, r#"{"owner":"a"}"#).await.problem().0, 404);
    world.register("a").await;
    world.register("b").await;
    world.patch(&format!("{ORDERS}/instances/b/operator"), r#"{"isolated":true}"#).await.expect(200);
    let body = r#"{"description":"takes orders","owner":"team-a","metadata":{"tier":"1"},"protect_threshold":0.25}"#;
    let put = world.put(ORDERS, body).await.expect(200);
    let service = put.json();
    assert_eq!(service["instances"], json!({ "all": 2, "healthy": 2, "isolated": 1 }));
    assert_eq!((&service["owner"], &service["protect_threshold"]), (&json!("team-a"), &json!(0.25)));
    let shown = world.get(ORDERS).await.expect(200);
    assert_eq!((shown.json(), shown.etag()), (service.clone(), put.etag()));
    assert_eq!(shown.etag(), format!("\"{}\"", service["settings_revision"].as_str().unwrap()));
    let patched = world.patch(ORDERS, r#"{"owner":null,"description":"takes"}"#).await.expect(200).json();
    assert_eq!((&patched["owner"], &patched["description"]), (&json!(""), &json!("takes")));
    assert_eq!((&patched["metadata"], &patched["protect_threshold"]), (&json!({ "tier": "1" }), &json!(0.25)));
    let cleared = world.patch(ORDERS, r#"{"metadata":null,"protect_threshold":null}"#).await.expect(200).json();
    assert_eq!((&cleared["metadata"], &cleared["protect_threshold"]), (&json!({}), &json!(0)));
    let put = world.put(ORDERS, "{}").await.expect(200).json();
    assert_eq!((&put["owner"], &put["description"]), (&json!(""), &json!("")));
    assert_eq!(world.delete(ORDERS).await.problem(), (409, "conflict".to_owned()));
    let listed = world.get("/v1/namespaces/default/services").await.expect(200).json();
    assert_eq!(listed["items"][0]["instances"]["all"], 2);
}

#[tokio::test]
async fn a_condition_on_the_settings_is_kept() {
    let world = World::new().await;
    let with = |method: Method, tag: &str| world.ask(method, ORDERS).header("if-match", tag.as_bytes()).json("{}");
    let missing = with(Method::PUT, "*").send().await;
    assert_eq!(missing.problem(), (412, "precondition_failed".to_owned()));
    assert_eq!(with(Method::PUT, "\"1.0.0\"").send().await.problem().0, 412);
    let old = world.put(ORDERS, "{}").await.expect(201).etag().to_owned();
    // An instance is no change of the settings.
    world.register("a").await;
    let changing = world.ask(Method::PUT, ORDERS).header("if-match", &old).json(r#"{"owner":"a"}"#);
    let new = changing.send().await.expect(200).etag().to_owned();
    assert_ne!(old, new);
    assert_eq!(with(Method::PATCH, &old).send().await.problem(), (412, "precondition_failed".to_owned()));
    assert_eq!(with(Method::PUT, "\"nonsense\"").send().await.problem().0, 412);
    assert_eq!(with(Method::PUT, &format!("W/{new}")).send().await.problem().0, 412);
    with(Method::PATCH, &new).send().await.expect(200);
    with(Method::PUT, "*").send().await.expect(200);
    world.delete(&format!("{ORDERS}/instances/a")).await.expect(204);
    let refused = world.ask(Method::DELETE, ORDERS).header("if-match", &new).send().await;
    assert_eq!(refused.problem(), (412, "precondition_failed".to_owned()));
    world.ask(Method::DELETE, ORDERS).header("if-match", "*").send().await.expect(204);
}

#[tokio::test]
async fn a_condition_that_can_not_be_kept_is_refused() {
    let world = World::new().await;
    world.register("a").await;
    let at = format!("{ORDERS}/instances/a");
    let body = r#"{"host":"h","port":1}"#;
    for (method, path, header, value) in [
        (Method::PUT, at.as_str(), "if-match", "\"1.0.0\""),
        (Method::PUT, &at, "if-none-match", "*"),
        (Method::DELETE, &at, "if-match", "*"),
        (Method::PUT, "/v1/namespaces/team", "if-match", "\"1.0.0\""),
        (Method::PUT, ORDERS, "if-none-match", "*"),
    ] {
        let asking = world.ask(method.clone(), path).header(header, value);
        let asking = if method == Method::PUT { asking.json(body) } else { asking };
        let refused = asking.send().await;
        assert_eq!(refused.problem(), (400, "invalid_argument".to_owned()), "{method} {path}");
        assert_eq!(refused.field(), header);
    }
    assert_eq!(world.get(&at).await.expect(200).json()["host"], "10.0.0.7");
}

#[tokio::test]
async fn an_override_that_outlived_its_instance_is_shown_and_forgotten() {
    let world = World::new().await;
    let at = format!("{ORDERS}/instances/a");
    let none = world.get(&format!("{ORDERS}/overrides")).await;
    assert_eq!(none.problem(), (404, "service_not_found".to_owned()));
    world.register("a").await;
    world.patch(&format!("{at}/operator"), r#"{"isolated":true,"keep_ms":60000}"#).await.expect(200);
    assert_eq!(world.get(&format!("{ORDERS}/overrides")).await.expect(200).json()["items"], json!([]));
    world.delete(&at).await.expect(204);
    let listed = world.get(&format!("{ORDERS}/overrides")).await.expect(200).json();
    assert_eq!(listed["items"][0]["id"], "a");
    assert_eq!(listed["items"][0]["operator"]["isolated"], true);
    let one = world.get(&format!("{ORDERS}/overrides/a")).await.expect(200);
    assert_eq!(one.json(), listed["items"][0]);
    world.delete(&format!("{ORDERS}/overrides/a")).await.expect(204);
    assert_eq!(world.get(&format!("{ORDERS}/overrides/a")).await.problem(), (404, "override_not_found".to_owned()));
    assert_eq!(world.delete(&format!("{ORDERS}/overrides/a")).await.problem().0, 404);
    assert_eq!(world.register("a").await.json()["isolated"], false);
}

#[tokio::test]
async fn an_operators_word_waits_for_whoever_comes() {
    let world = World::new().await;
    let (at, word) = (format!("{ORDERS}/overrides/a"), r#"{"isolated":true,"note":"bad disk","keep_ms":60000}"#);
    assert_eq!(world.put(&at, word).await.problem(), (404, "service_not_found".to_owned()));
    world.put(ORDERS, "{}").await.expect(201);
    let made = world.put(&at, word).await.expect(201);
    assert_eq!((&made.json()["operator"]["note"], &made.json()["incarnation"]), (&json!("bad disk"), &Value::Null));
    assert_eq!(world.get(&at).await.expect(200).json(), made.json());
    // Whole, and for one process; the same again is no change.
    let until = made.json()["kept_until"].clone();
    let other = json!({"weight": 0, "kept_until": until, "incarnation": "two"}).to_string();
    let replaced = world.put(&at, &other).await.expect(200).json();
    assert_eq!(replaced["operator"]["note"], Value::Null);
    assert_eq!((&replaced["kept_until"], &replaced["incarnation"]), (&until, &json!("two")));
    assert_eq!(world.put(&at, &other).await.expect(200).json(), replaced);
    for (body, field) in [
        ("{}", "body"),
        (r#"{"isolated":true}"#, "kept_until"),
        (r#"{"isolated":true,"kept_until":"2001-01-01T00:00:00Z"}"#, "kept_until"),
        (r#"{"isolated":true,"kept_until":"2999-01-01T00:00:00Z"}"#, "kept_until"),
        (r#"{"isolated":true,"keep_ms":1,"incarnation":""}"#, "incarnation"),
        (r#"{"isolated":true,"keep_ms":1,"generation":"1.2.3"}"#, "generation"),
        (r#"{"weight":10001,"keep_ms":1}"#, "weight"),
    ] {
        let refused = world.put(&at, body).await;
        assert_eq!(refused.problem(), (400, "invalid_argument".to_owned()), "{body}");
        assert_eq!(refused.field(), field, "{body}");
    }
    let body = r#"{"host":"h","port":1,"incarnation":"two"}"#;
    let come = world.put(&format!("{ORDERS}/instances/a"), body).await.expect(201).json();
    assert_eq!((&come["weight"], &come["operator"]["weight"]), (&json!(0), &json!(0)));
    assert_eq!(world.put(&at, word).await.problem(), (409, "conflict".to_owned()));
}

#[tokio::test]
async fn a_node_tells_of_itself() {
    let world = World::new().await;
    world.register("a").await;
    // What it tells of itself is refreshed from time to time, not with each change.
    let counted = async {
        loop {
            let status = world.get("/v1/status").await.expect(200).json();
            if status["instances"] == 1 {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    let status = world.until_done(counted).await;
    assert_eq!((&status["state"], &status["instances"]), (&json!("ready"), &json!(1)));
    assert_eq!((&status["version"], &status["overlay"]), (&json!("0.0.0-test"), &json!(0)));
    assert_eq!(status["doors"][0]["state"], "left_out");
    assert_eq!(status["leases"]["ttl"], 1);
    let nodes = world.get("/v1/nodes").await.expect(200).json();
    let node = &nodes["items"][0];
    assert_eq!((&node["name"], &node["incarnation"]), (&status["node"], &status["incarnation"]));
    let nobody = world.ask(Method::POST, "/v1/nodes/nobody/drain").send().await;
    assert_eq!(nobody.problem(), (404, "node_not_found".to_owned()));
    let name = node["name"].as_str().unwrap();
    let released = world.ask(Method::POST, &format!("/v1/nodes/{name}/freeze/release")).send().await.expect(200);
    assert_eq!(released.json(), json!({ "released": 0 }));
    let incarnation = node["incarnation"].as_str().unwrap();
    world.ask(Method::POST, &format!("/v1/nodes/{incarnation}/drain")).send().await.expect(202);
    world
        .until_done(async {
            while world.get("/readyz").await.status != 503 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    let refused = world.put(&format!("{ORDERS}/instances/b"), r#"{"host":"h","port":1}"#).await;
    assert_eq!(refused.problem(), (503, "not_ready".to_owned()));
    assert!(!refused.header("retry-after").is_empty());
    world.get(&format!("{ORDERS}/instances")).await.expect(200);
    world.post(&format!("{ORDERS}/instances/a/renew"), "").await.expect(204);
}

#[tokio::test]
async fn probes_and_metrics_answer() {
    let world = World::new().await;
    assert_eq!(world.get("/livez").await.expect(200).text(), "alive\n");
    assert_eq!(world.get("/readyz").await.expect(200).text(), "ready\n");
    assert_eq!(world.get("/metrics").await.expect(200).text(), "thuban_up 1\n");
}
