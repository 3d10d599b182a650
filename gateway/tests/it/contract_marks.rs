//! Every answer from the state says what it rests on: a revision, a tag, and how much of it is not in the log yet.

use compute::model::Revision;
use compute::testing::change_log::Stall;
use compute::testing::store::Fault;
use http::Method;

use crate::grpc_world;
use crate::http_world::{ORDERS, Reply, World};

/// Fails unless it is marked, strongly and at this revision or later.
#[track_caller]
fn marked(reply: &Reply, overlay: bool) {
    let (etag, revision) = (reply.etag(), reply.header("x-thuban-revision"));
    assert!(etag.contains(revision) && !revision.is_empty(), "{reply:?}");
    assert_eq!(etag.starts_with("W/"), overlay, "{reply:?}");
    assert_eq!(reply.header("x-thuban-overlay").is_empty(), !overlay, "{reply:?}");
}

fn revision(text: &str) -> Revision {
    text.parse().expect("a revision")
}

/// Registers `b` while the log is away, so that it is shown before the log has it.
async fn overlay(world: &World) -> Reply {
    world.register("a").await;
    world.log.set_away(true);
    world.until_done(world.put(&format!("{ORDERS}/instances/b"), r#"{"host":"h","port":1}"#)).await
}

#[tokio::test]
async fn whatever_shows_the_overlay_says_so() {
    let world = World::new().await;
    marked(&overlay(&world).await.expect(202), true);
    for path in [
        ORDERS,
        &format!("{ORDERS}/instances"),
        &format!("{ORDERS}/instances/b"),
        "/v1/namespaces/default/services",
        "/v1/sd/prometheus",
        "/v1/sd/prometheus?service=orders",
    ] {
        marked(&world.get(path).await.expect(200), true);
    }
    let status = world
        .until_done(async {
            loop {
                let status = world.get("/v1/status").await.expect(200);
                if status.json()["overlay"] == 1 {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    marked(&status, true);
    let item = r#"{"items":[{"service":"orders","id":"c","host":"h","port":1}]}"#;
    marked(&world.until_done(world.post("/v1/batch/register", item)).await.expect(200), true);
    // What does not show it does not count it.
    for path in ["/v1/namespaces", "/v1/namespaces/default", &format!("{ORDERS}/instances/a")] {
        marked(&world.get(path).await.expect(200), false);
    }
}

#[tokio::test]
async fn what_was_taken_and_not_reached_has_a_weak_tag() {
    let world = World::new().await;
    world.register("a").await;
    world.put("/v1/namespaces/other", "{}").await.expect(201);
    world.put("/v1/namespaces/default/services/empty", "{}").await.expect(201);
    // The log has it, and the store does not land it.
    world.store.stand(Some(Fault::Refuse));
    for (method, path, body) in [
        (Method::PUT, "/v1/namespaces/other", r#"{"description":"x"}"#),
        (Method::PATCH, "/v1/namespaces/default/services/empty", r#"{"owner":"x"}"#),
        (Method::PATCH, &format!("{ORDERS}/instances/a/operator"), r#"{"isolated":true}"#),
        (Method::DELETE, &format!("{ORDERS}/instances/a"), ""),
        (Method::DELETE, "/v1/namespaces/default/services/empty", ""),
        (Method::DELETE, "/v1/namespaces/other", ""),
    ] {
        let asking = world.ask(method.clone(), &format!("{path}?ack=store"));
        let asking = if body.is_empty() { asking } else { asking.json(body) };
        let reply = world.until_done(asking.send()).await.expect(202);
        assert_eq!(reply.json()["ack"], "log", "{method} {path}");
        let revision = reply.json()["revision"].as_str().unwrap().to_owned();
        assert_eq!(reply.etag(), format!("W/\"{revision}\""), "{method} {path}");
        assert_eq!((reply.header("x-thuban-revision"), reply.header("x-thuban-overlay")), (revision.as_str(), ""));
    }
    // What the log does not have is counted too.
    world.log.set_away(true);
    let reply = world.until_done(world.put(&format!("{ORDERS}/instances/b"), r#"{"host":"h","port":1}"#)).await;
    marked(&reply.expect(202), true);
}

#[tokio::test]
async fn writes_say_behind_which_revision_they_are_seen() {
    let world = World::new().await;
    marked(&world.register("a").await, false);
    marked(&world.ask(Method::POST, &format!("{ORDERS}/instances/a/renew")).send().await.expect(204), false);
    let item = r#"{"items":[{"service":"orders","id":"c","host":"h","port":1}]}"#;
    let batch = world.post("/v1/batch/register", item).await.expect(200);
    marked(&batch, false);
    let at = batch.header("x-thuban-revision").to_owned();
    let written = batch.json()["items"][0]["instance"]["revision"].as_str().unwrap().to_owned();
    let seen = world.get(&format!("{ORDERS}/instances/c?min_revision={at}")).await.expect(200);
    assert_eq!(seen.json()["revision"], written);
    assert!(revision(&at) >= revision(&written), "{at} {written}");
    marked(&world.post("/v1/batch/renew", item.replace(r#","host":"h","port":1"#, "").as_str()).await, false);
    marked(&world.delete(&format!("{ORDERS}/instances/a")).await.expect(204), false);
}

#[tokio::test]
async fn that_nothing_is_there_is_an_answer_from_the_state() {
    let world = World::new().await;
    world.register("a").await;
    for path in [
        "/v1/namespaces/nobody",
        "/v1/namespaces/nobody/services",
        "/v1/sd/prometheus?namespace=nobody",
        "/v1/namespaces/default/services/nobody",
        "/v1/namespaces/default/services/nobody/instances",
        "/v1/namespaces/default/services/nobody/subscribers",
        "/v1/namespaces/default/services/nobody/overrides",
        "/v1/namespaces/default/services/nobody/overrides/a",
        &format!("{ORDERS}/overrides/a"),
        &format!("{ORDERS}/instances/x"),
    ] {
        let reply = world.get(path).await;
        assert_eq!(reply.problem().0, 404, "{path}");
        marked(&reply, false);
    }
}

#[tokio::test]
async fn grpc_writes_carry_their_revision_and_their_overlay() {
    use grpc_world::{deregister, item, key, register, renew};
    let world = grpc_world::World::new().await;
    let mut client = world.client().await;
    let made = client.register(register([item("orders", "a")])).await.unwrap();
    let at = made.metadata().get("thuban-revision").unwrap().clone();
    assert!(revision(at.to_str().unwrap()) >= revision(&grpc_world::made(&made.get_ref().items[0]).revision));
    assert!(made.metadata().get("thuban-overlay").is_none());
    let renewed = client.renew(renew([key("orders", "a")])).await.unwrap();
    assert_eq!(renewed.metadata().get("thuban-revision").unwrap(), at);
    let gone = client.deregister(deregister([key("orders", "a")])).await.unwrap();
    let at = gone.metadata().get("thuban-revision").unwrap().to_str().unwrap();
    assert!(revision(at) >= revision(&gone.get_ref().items[0].revision), "{at}");
    world.log.stall(Stall::Append);
    let mut in_memory = register([grpc_world::permanent(item("orders", "b"))]);
    in_memory.ack = schemas::thuban::v1::Ack::Memory.into();
    let shown = grpc_world::soon(client.register(in_memory)).await.unwrap();
    assert_eq!(shown.metadata().get("thuban-overlay").unwrap(), "1");
    let listed = world.admin().await.list_services(schemas::thuban::v1::ListServicesRequest::default()).await.unwrap();
    assert_eq!(listed.metadata().get("thuban-overlay").unwrap(), "1");
}
