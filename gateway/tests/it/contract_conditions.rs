//! Conditions that a write can't keep are refused, and what is set is kept or refused, never dropped.

use http::Method;
use serde_json::json;

use crate::http_world::{ORDERS, World};

#[tokio::test]
async fn a_condition_that_a_write_does_not_know_is_refused_and_nothing_is_written() {
    let world = World::new().await;
    let etag = world.register("a").await.etag().to_owned();
    let before = world.get(&format!("{ORDERS}/instances")).await.body;
    let at = format!("{ORDERS}/instances/a");
    let items = r#"{"items":[{"service":"orders","id":"a"}]}"#;
    let writes = [
        (Method::PUT, at.clone(), r#"{"host":"other","port":1}"#),
        (Method::DELETE, at.clone(), ""),
        (Method::POST, format!("{at}/renew"), ""),
        (Method::PATCH, format!("{at}/operator"), r#"{"isolated":true}"#),
        (Method::POST, "/v1/batch/deregister".to_owned(), items),
        (Method::POST, "/v1/batch/renew".to_owned(), items),
        (Method::PUT, "/v1/namespaces/other".to_owned(), "{}"),
    ];
    for (method, path, body) in writes {
        for (header, value) in [("if-match", etag.as_str()), ("if-match", "*"), ("if-none-match", "*")] {
            let asking = world.ask(method.clone(), &path).header(header, value);
            let reply = if body.is_empty() { asking } else { asking.json(body) }.send().await;
            assert_eq!((reply.problem().0, reply.field()), (400, header.to_owned()), "{method} {path}");
        }
    }
    assert_eq!(world.get(&format!("{ORDERS}/instances")).await.body, before);
    assert_eq!(world.get("/v1/namespaces/other").await.problem().0, 404);
}

#[tokio::test]
async fn a_condition_of_somebody_elses_does_not_hold() {
    let world = World::new().await;
    let etag = world.put(ORDERS, "{}").await.expect(201).etag().to_owned();
    for foreign in ["\"abc\"", "abc", "\"1.999.0\"", &format!("W/{etag}"), ""] {
        let reply = world.ask(Method::PUT, ORDERS).header("if-match", foreign).json("{}").send().await;
        assert_eq!(reply.problem(), (412, "precondition_failed".to_owned()), "{foreign}");
        assert_eq!(reply.field(), "if-match");
    }
    world.ask(Method::PUT, ORDERS).header("if-match", &etag).json(r#"{"owner":"x"}"#).send().await.expect(200);
}

#[tokio::test]
async fn how_long_an_operators_word_holds_is_kept_by_itself() {
    let world = World::new().await;
    world.register("a").await;
    let at = format!("{ORDERS}/instances/a/operator");
    let set = world.patch(&at, r#"{"keep_ms":60000}"#).await.expect(200).json();
    assert_eq!(set["operator"]["keep_ms"], 60_000, "{set}");
    let set = world.patch(&at, r#"{"expires_at":"2999-01-01T00:00:00Z"}"#).await.expect(200).json();
    assert_eq!(set["operator"]["expires_at"].as_str().map(|at| &at[..4]), Some("2999"), "{set}");
    let set = world.patch(&at, r#"{"isolated":true}"#).await.expect(200).json();
    assert_eq!(set["operator"]["keep_ms"], 60_000, "{set}");
    world.delete(&format!("{ORDERS}/instances/a")).await.expect(204);
    let kept = world.get(&format!("{ORDERS}/overrides/a")).await.expect(200).json();
    assert_eq!(kept["operator"]["isolated"], true, "{kept}");
}

#[tokio::test]
async fn a_patch_that_names_nothing_changes_nothing() {
    let world = World::new().await;
    world.register("a").await;
    let at = format!("{ORDERS}/instances/a/operator");
    let set = world.patch(&at, r#"{"isolated":true}"#).await.expect(200);
    let same = world.patch(&at, "{}").await.expect(200);
    assert_eq!((same.etag(), &same.body), (set.etag(), &set.body));
}

#[tokio::test]
async fn a_threshold_has_one_zero() {
    let world = World::new().await;
    for body in [r#"{"protect_threshold":-0.0}"#, r#"{"protect_threshold":-0}"#] {
        let reply = world.put(ORDERS, body).await;
        assert!(reply.text().contains(r#""protect_threshold":0"#), "{}", reply.text());
        assert!(world.get(ORDERS).await.text().contains(r#""protect_threshold":0"#));
        assert_eq!(reply.json()["protect_threshold"], json!(0));
    }
}
