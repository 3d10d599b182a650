use http::Method;
use serde_json::{Value, json};

use crate::http_world::{ORDERS, World};

fn statuses(document: &Value) -> Vec<u64> {
    document["items"].as_array().expect("items").iter().map(|item| item["status"].as_u64().expect("a status")).collect()
}

#[tokio::test]
async fn items_are_independent_and_in_order() {
    let world = World::new().await;
    let body = json!({ "items": [
        { "service": "orders", "id": "a", "host": "h", "port": 1 },
        { "service": "orders", "host": "h", "port": 2 },
        { "service": "orders", "id": "b", "host": "h", "port": 70000 },
        { "namespace": "nowhere", "service": "orders", "id": "c", "host": "h", "port": 3 },
        { "service": "orders", "id": "a", "host": "h", "port": 4 },
        { "service": "orders", "id": "d", "host": "h", "port": 5, "unknown": 1 },
        "nonsense",
        { "service": "orders", "id": "a", "host": "h", "port": 4, "generation": "1.0.0" },
    ] });
    let answer = world.post("/v1/batch/register", &body.to_string()).await.expect(200).json();
    assert_eq!(statuses(&answer), [201, 201, 400, 404, 200, 400, 400, 412]);
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items[0]["instance"]["port"], 1);
    assert_eq!(items[1]["instance"]["id"], "h:2");
    assert_eq!((&items[2]["code"], &items[2]["field"]), (&json!("invalid_argument"), &json!("port")));
    assert_eq!(items[3]["code"], "namespace_not_found");
    assert_eq!(items[4]["instance"]["port"], 4);
    assert_eq!(items[4]["instance"]["generation"], items[0]["instance"]["generation"]);
    assert_eq!((&items[5]["field"], &items[6]["field"]), (&json!("unknown"), &json!("body")));
    assert_eq!(world.get(&format!("{ORDERS}/instances")).await.ids(), ["a", "h:2"]);
}

#[tokio::test]
async fn many_are_renewed_and_removed() {
    let world = World::new().await;
    let generation = world.register("a").await.json()["generation"].clone();
    world
        .put(&format!("{ORDERS}/instances/p"), r#"{"host":"h","port":1,"lease":{"kind":"permanent"}}"#)
        .await
        .expect(201);
    let body = json!({ "items": [
        { "service": "orders", "id": "a" },
        { "service": "orders", "id": "a", "generation": generation },
        { "service": "orders", "id": "a", "generation": "1.0.0" },
        { "service": "orders", "id": "z" },
        { "service": "orders", "id": "p" },
        { "service": "orders" },
        { "service": "orders", "id": "a", "host": "h" },
    ] });
    let renewal = body.to_string();
    let answer = world.until_done(world.post("/v1/batch/renew", &renewal)).await.expect(200).json();
    assert_eq!(statuses(&answer), [204, 204, 412, 404, 409, 400, 400]);
    assert_eq!(answer["items"][0], json!({ "status": 204 }));
    let body = body.to_string();
    let answer = world.until_done(world.post("/v1/batch/deregister", &body)).await.expect(200).json();
    assert_eq!(statuses(&answer), [204, 404, 404, 404, 204, 400, 400]);
    assert_eq!(world.get(&format!("{ORDERS}/instances")).await.json()["items"], json!([]));
}

#[tokio::test]
async fn only_a_wrong_envelope_fails_as_a_whole() {
    let world = World::new().await;
    for path in ["/v1/batch/register", "/v1/batch/renew", "/v1/batch/deregister"] {
        for (body, field) in [
            ("{}", "items"),
            (r#"{"items":[]}"#, "items"),
            (r#"{"items":{}}"#, "items"),
            (r#"{"items":null}"#, "items"),
            (r#"{"items":[1],"items":[1]}"#, "items"),
            (r#"{"items":[1],"more":1}"#, "more"),
            (r#"{"items":[1"#, "body"),
        ] {
            let reply = world.post(path, body).await;
            assert_eq!(
                (reply.problem(), reply.field()),
                ((400, "invalid_argument".to_owned()), field.to_owned()),
                "{body}"
            );
        }
        let many = json!({ "items": vec![json!({ "service": "s", "id": "a" }); 1_001] }).to_string();
        let reply = world.post(path, &many).await;
        assert_eq!((reply.problem().0, reply.field()), (400, "items".to_owned()));
        let reply = world.post(path, r#"{"items":[[[[[[1]]]]],{},null]}"#).await.expect(200);
        assert_eq!(statuses(&reply.json()), [400, 400, 400]);
    }
}

#[tokio::test]
async fn a_thousand_at_once_and_one_that_is_too_large() {
    let world = World::new().await;
    let mut items: Vec<_> =
        (0..999).map(|n| json!({ "service": "orders", "id": format!("i{n:03}"), "host": "h", "port": 1 })).collect();
    items.push(json!({ "service": "orders", "id": "large", "host": "h", "port": 1, "zone": "z".repeat(70_000) }));
    let answer = world.post("/v1/batch/register", &json!({ "items": items }).to_string()).await.expect(200).json();
    let found = statuses(&answer);
    assert_eq!(found.len(), 1_000);
    assert!(found[..999].iter().all(|status| *status == 201));
    assert_eq!(found[999], 413);
    assert_eq!(world.get(&format!("{ORDERS}/instances")).await.ids().len(), 999);
}

#[tokio::test]
async fn what_was_reached_is_said_of_each() {
    let world = World::new().await;
    world.log.set_away(true);
    let body = json!({ "items": [{ "service": "orders", "id": "a", "host": "h", "port": 1 }] }).to_string();
    let asking = world.ask(Method::POST, "/v1/batch/register").json(body).send();
    let answer = world.until_done(asking).await.expect(200).json();
    let item = &answer["items"][0];
    assert_eq!((&item["status"], &item["ack"]), (&json!(202), &json!("overlay")));
    assert_eq!(item["instance"]["revision"], json!(null));
    world.log.set_away(false);
}
