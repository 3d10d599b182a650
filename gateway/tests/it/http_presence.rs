use http::Method;
use serde_json::json;

use crate::http_world::{ORDERS, World};

const BODY: &str = r#"{"host":"10.0.0.7","port":8080,"ports":{"metrics":9090},"protocol":"http","weight":100,
    "version":"1.4.2","zone":"eu-1a","region":"eu-1","metadata":{"team":"pay\"ments\n"},
    "lease":{"kind":"ttl","ttl_ms":15000,"remove_after_ms":30000}}"#;

#[tokio::test]
async fn a_register_is_answered_with_all_that_is_known() {
    let world = World::new().await;
    let reply = world.put(&format!("{ORDERS}/instances/10.0.0.7:8080"), BODY).await.expect(201);
    let instance = reply.json();
    for (name, value) in [
        ("namespace", json!("default")),
        ("service", json!("orders")),
        ("id", json!("10.0.0.7:8080")),
        ("host", json!("10.0.0.7")),
        ("port", json!(8080)),
        ("ports", json!({ "metrics": 9090 })),
        ("weight", json!(100)),
        ("version", json!("1.4.2")),
        ("zone", json!("eu-1a")),
        ("metadata", json!({ "team": "pay\"ments\n" })),
        ("lease", json!({ "kind": "ttl", "ttl_ms": 15000, "remove_after_ms": 30000 })),
        ("healthy", json!(true)),
        ("health_reason", json!(null)),
        ("isolated", json!(false)),
        ("operator", json!({})),
    ] {
        assert_eq!(instance[name], value, "{name}");
    }
    let revision = instance["revision"].as_str().unwrap();
    assert_eq!(instance["generation"], instance["revision"]);
    assert_eq!(reply.etag(), format!("\"{revision}\""));
    assert_eq!(reply.header("x-thuban-revision"), revision);
    assert_eq!(reply.header("x-thuban-overlay"), "");
    let shown = world.get(&format!("{ORDERS}/instances/10.0.0.7:8080")).await.expect(200);
    assert_eq!(shown.json(), instance);
    assert_eq!(shown.etag(), reply.etag());
}

#[tokio::test]
async fn the_same_again_is_a_renewal_and_another_a_replacement() {
    let world = World::new().await;
    let at = format!("{ORDERS}/instances/a");
    let first = world.put(&at, BODY).await.expect(201).json();
    let again = world.put(&at, BODY).await.expect(200).json();
    assert_eq!(again, first);
    let other = world.put(&at, &BODY.replace("1.4.2", "1.4.3")).await.expect(200).json();
    assert_eq!(other["generation"], first["generation"]);
    assert_ne!(other["revision"], first["revision"]);
    let reborn = BODY.replace(r#""zone""#, r#""incarnation":"b","zone""#);
    let reborn = world.put(&at, &reborn).await.expect(200).json();
    assert_ne!(reborn["generation"], first["generation"]);
    assert_eq!(reborn["incarnation"], "b");
}

#[tokio::test]
async fn names_that_need_encoding_work_in_path_and_query() {
    let world = World::new().await;
    let encoded = "/v1/namespaces/default/services/a%2Fb%40%40c/instances/x%20%2F%20%C3%A4%25";
    let reply = world.put(encoded, BODY).await.expect(201).json();
    assert_eq!((&reply["service"], &reply["id"]), (&json!("a/b@@c"), &json!("x / ä%")));
    for path in [
        "/v1/namespaces/default/services/a%2Fb@@c/instances",
        "/v1/discover?service=a/b@@c",
        "/v1/discover?namespace=default&service=a%2fb%40%40c",
    ] {
        assert_eq!(world.get(path).await.expect(200).ids(), ["x / ä%"], "{path}");
    }
    world.delete(encoded).await.expect(204);
    world.get(encoded).await.expect(404);
}

#[tokio::test]
async fn discover_answers_a_view_and_says_why_it_is_empty() {
    let world = World::new().await;
    let unknown = world.get(&format!("{ORDERS}/instances")).await;
    assert_eq!(unknown.problem(), (404, "service_not_found".to_owned()));
    assert_eq!(unknown.etag(), "\"0.0.0\"");
    world.register("b").await;
    world.register("a").await;
    let found = world.get(&format!("{ORDERS}/instances")).await.expect(200);
    let view = found.json();
    assert_eq!(found.ids(), ["a", "b"]);
    assert_eq!(view["items"][0], world.get(&format!("{ORDERS}/instances/a")).await.json());
    assert_eq!(view["revision"], view["items"][0]["revision"]);
    assert_eq!(found.header("x-thuban-revision"), view["revision"].as_str().unwrap());
    assert_eq!(view["digest"].as_str().unwrap().len(), 32);
    assert_eq!((&view["exists"], &view["protected"]), (&json!(true), &json!(false)));
    assert!(view.get("empty").is_none());
    let filtered = world.get(&format!("{ORDERS}/instances?zone=nowhere")).await.expect(200).json();
    assert_eq!(filtered["items"], json!([]));
    assert_eq!(filtered["empty"]["reason"], "filtered");
    for id in ["a", "b"] {
        world.delete(&format!("{ORDERS}/instances/{id}")).await.expect(204);
    }
    let empty = world.get(&format!("{ORDERS}/instances")).await.expect(200).json();
    assert_eq!((&empty["items"], &empty["empty"]["reason"]), (&json!([]), &json!("deregistered")));
    assert_eq!(empty["empty"]["revision"], empty["revision"]);
    assert_eq!(empty["empty"]["author"], "anonymous");
}

#[tokio::test]
async fn filters_select_and_a_limit_cuts() {
    let world = World::new().await;
    for (id, zone, version, weight, team) in
        [("a", "x", "1", 100, "p"), ("b", "y", "1", 0, "p"), ("c", "x", "2", 100, "q"), ("d", "y", "2", 100, "q")]
    {
        let body = json!({
            "host": "10.0.0.7", "port": 80, "zone": zone, "version": version, "weight": weight,
            "metadata": { "team": team, "a b/c": "1+1" },
        });
        world.put(&format!("{ORDERS}/instances/{id}"), &body.to_string()).await.expect(201);
    }
    world.patch(&format!("{ORDERS}/instances/d/operator"), r#"{"isolated":true}"#).await.expect(200);
    for (query, ids) in [
        ("", &["a", "b", "c", "d"][..]),
        ("zone=x", &["a", "c"]),
        ("zone=x&version=2", &["c"]),
        ("metadata.team=p", &["a", "b"]),
        ("metadata.team=q&isolated=false", &["c"]),
        ("metadata.a+b%2Fc=1%2B1&zone=y", &["b", "d"]),
        ("isolated=true", &["d"]),
        ("usable=true", &["a", "c"]),
        ("usable=false", &["b", "d"]),
        ("healthy=true", &["a", "b", "c", "d"]),
        ("healthy=false", &[]),
        ("zone=", &[]),
        ("limit=3", &["a", "b", "c"]),
        ("limit=1&usable=true", &["a"]),
    ] {
        let found = world.get(&format!("{ORDERS}/instances?{query}")).await.expect(200);
        assert_eq!(found.ids(), ids, "{query}");
        let truncated = &found.json()["truncated"];
        match query.contains("limit") {
            true => assert_eq!(*truncated, json!(true), "{query}"),
            false => assert_eq!(*truncated, json!(null), "{query}"),
        }
    }
    let whole = world.get(&format!("{ORDERS}/instances?limit=4")).await.expect(200).json();
    assert_eq!(whole["truncated"], false);
}

#[tokio::test]
async fn protection_sets_a_demand_for_health_aside() {
    let world = World::new().await;
    world.put(ORDERS, r#"{"protect_threshold":0.9}"#).await.expect(201);
    world.register("a").await;
    world.register("b").await;
    world.until_done(unhealthy_one(&world)).await;
    let view = world.get(&format!("{ORDERS}/instances?healthy=true")).await.expect(200);
    assert_eq!(view.json()["protected"], true);
    assert_eq!(view.ids(), ["a", "b"]);
    assert_eq!(world.get(&format!("{ORDERS}/instances")).await.json()["protected"], false);
}

/// Keeps `a` alive until `b` has lapsed.
async fn unhealthy_one(world: &World) {
    loop {
        world.post(&format!("{ORDERS}/instances/a/renew"), "").await.expect(204);
        let shown = world.get(&format!("{ORDERS}/instances/b")).await.expect(200).json();
        if shown["healthy"] == false {
            assert_eq!(shown["health_reason"], "lease_lapsed");
            assert!(shown["health_changed_at"].is_string());
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_renewal_is_for_ttl_leases_of_the_living() {
    let world = World::new().await;
    let at = format!("{ORDERS}/instances/a/renew");
    assert_eq!(world.post(&at, "").await.problem().0, 404);
    let generation = world.register("a").await.json()["generation"].as_str().unwrap().to_owned();
    let renewed = world.post(&at, "").await.expect(204);
    assert!(renewed.body.is_empty());
    world.post(&at, &json!({ "generation": generation }).to_string()).await.expect(204);
    world.post(&at, r#"{"generation":null}"#).await.expect(204);
    world.ask(Method::POST, &format!("{at}?generation={generation}")).send().await.expect(204);
    let stale = world.post(&at, r#"{"generation":"1.0.0"}"#).await;
    assert_eq!(stale.problem(), (412, "generation_mismatch".to_owned()));
    assert_eq!(stale.field(), "generation");
    let both = world.post(&format!("{at}?generation={generation}"), r#"{"generation":"1.0.0"}"#).await;
    assert_eq!(both.problem(), (400, "invalid_argument".to_owned()));
    let body = r#"{"host":"h","port":1,"lease":{"kind":"permanent"}}"#;
    world.put(&format!("{ORDERS}/instances/p"), body).await.expect(201);
    let other = world.post(&format!("{ORDERS}/instances/p/renew"), "").await;
    assert_eq!(other.problem(), (409, "lease_kind".to_owned()));
}

#[tokio::test]
async fn an_old_generation_removes_nobody() {
    let world = World::new().await;
    let at = format!("{ORDERS}/instances/a");
    let old = world.register("a").await.json()["generation"].as_str().unwrap().to_owned();
    world.delete(&format!("{at}?generation={old}")).await.expect(204);
    assert_eq!(world.delete(&at).await.problem(), (404, "instance_not_found".to_owned()));
    let new = world.register("a").await.json()["generation"].as_str().unwrap().to_owned();
    assert_ne!(old, new);
    let refused = world.delete(&format!("{at}?generation={old}")).await;
    assert_eq!(refused.problem(), (412, "generation_mismatch".to_owned()));
    let body = json!({ "generation": old }).to_string();
    let refused = world.ask(Method::DELETE, &at).json(body).send().await;
    assert_eq!(refused.problem(), (412, "generation_mismatch".to_owned()));
    world.get(&at).await.expect(200);
    let refused = world.put(&format!("{at}?generation={old}"), BODY).await;
    assert_eq!(refused.problem(), (412, "generation_mismatch".to_owned()));
    let removed = world.delete(&format!("{at}?generation={new}")).await.expect(204);
    assert!(removed.header("x-thuban-revision").starts_with("1."), "{removed:?}");
}

#[tokio::test]
async fn an_operator_sets_clears_and_leaves_fields() {
    let world = World::new().await;
    let at = format!("{ORDERS}/instances/a");
    assert_eq!(world.patch(&format!("{at}/operator"), r#"{"isolated":true}"#).await.problem().0, 404);
    let generation = world.register("a").await.json()["generation"].as_str().unwrap().to_owned();
    let patch = r#"{"isolated":true,"weight":7,"note":"disk","expires_at":"2099-01-01T00:00:00+01:00","keep_ms":5000}"#;
    let set = world.patch(&format!("{at}/operator"), patch).await.expect(200).json();
    assert_eq!((&set["isolated"], &set["weight"], &set["provider_weight"]), (&json!(true), &json!(7), &json!(100)));
    let operator = &set["operator"];
    assert_eq!((&operator["note"], &operator["keep_ms"]), (&json!("disk"), &json!(5000)));
    assert_eq!(operator["expires_at"], "2098-12-31T23:00:00.000Z");
    assert_eq!(operator["author"], "anonymous");
    world.put(&at, BODY).await.expect(200);
    let body = json!({ "weight": null, "generation": generation }).to_string();
    let cleared = world.patch(&format!("{at}/operator"), &body).await.expect(200).json();
    assert_eq!((&cleared["isolated"], &cleared["weight"]), (&json!(true), &json!(100)));
    assert_eq!(cleared["operator"].get("weight"), None);
    assert_eq!(cleared["operator"]["note"], "disk");
    let stale = world.patch(&format!("{at}/operator?generation=1.0.0"), r#"{"isolated":false}"#).await;
    assert_eq!(stale.problem(), (412, "generation_mismatch".to_owned()));
    // What is not named stays, how long it holds too.
    world.patch(&format!("{at}/operator"), r#"{"isolated":null,"note":null}"#).await.expect(200);
    assert_eq!(world.get(&at).await.json()["operator"]["keep_ms"], 5000);
    world.patch(&format!("{at}/operator"), r#"{"expires_at":null,"keep_ms":null}"#).await.expect(200);
    assert_eq!(world.get(&at).await.json()["operator"], json!({}));
}

#[tokio::test]
async fn prometheus_finds_what_is_registered() {
    let world = World::new().await;
    let body = r#"{"host":"::1","port":8080,"ports":{"metrics":9090},"zone":"x","metadata":{"team.name":"p"}}"#;
    world.put(&format!("{ORDERS}/instances/a"), body).await.expect(201);
    world.put("/v1/namespaces/default/services/other/instances/b", r#"{"host":"h","port":1}"#).await.expect(201);
    let all = world.get("/v1/sd/prometheus").await.expect(200).json();
    assert_eq!(all[0]["targets"], json!(["[::1]:8080"]));
    assert_eq!(all[0]["labels"]["__meta_thuban_service"], "orders");
    assert_eq!(all[0]["labels"]["__meta_thuban_metadata_team_name"], "p");
    assert_eq!(all[0]["labels"]["__meta_thuban_port_metrics"], "9090");
    assert_eq!(all[1]["targets"], json!(["h:1"]));
    let one = world.get("/v1/sd/prometheus?namespace=default&service=other").await.expect(200);
    assert_eq!(one.json().as_array().unwrap().len(), 1);
    let ports = world.get("/v1/sd/prometheus?port=metrics").await.expect(200).json();
    assert_eq!(ports.as_array().unwrap().len(), 1);
    assert_eq!(ports[0]["targets"], json!(["[::1]:9090"]));
    assert_eq!(world.get("/v1/sd/prometheus?zone=nowhere").await.expect(200).json(), json!([]));
    assert_eq!(world.get("/v1/sd/prometheus?service=nobody").await.expect(200).json(), json!([]));
    let unknown = world.get("/v1/sd/prometheus?namespace=nowhere").await;
    assert_eq!(unknown.problem(), (404, "namespace_not_found".to_owned()));
    let etag = one.etag().to_owned();
    let same = world.ask(Method::GET, "/v1/sd/prometheus?service=other").header("if-none-match", etag).send().await;
    same.expect(304);
}
