use std::time::Duration;

use compute::model::ServiceKey;
use compute::port::Clock;
use http::Method;
use serde_json::json;

use crate::http_world::{ORDERS, Reply, SOON, World};

const INSTANCES: &str = "/v1/namespaces/default/services/orders/instances";

async fn unless(world: &World, path: &str, etag: &str) -> Reply {
    world.ask(Method::GET, path).header("if-none-match", etag).send().await
}

/// Lets every task run that can, so that a read that is to wait waits.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_a_reader_has_is_not_sent_again() {
    let world = World::new().await;
    let unknown = world.get(INSTANCES).await;
    let etag = unknown.etag().to_owned();
    let same = unless(&world, INSTANCES, &etag).await.expect(304);
    assert_eq!((same.etag(), same.header("x-thuban-revision")), ("\"0.0.0\"", "0.0.0"));
    world.register("a").await;
    let first = unless(&world, INSTANCES, &etag).await.expect(200);
    let same = unless(&world, INSTANCES, first.etag()).await.expect(304);
    assert_eq!(same.etag(), first.etag());
    unless(&world, INSTANCES, &format!("\"x\", W/{}", first.etag())).await.expect(304);
    unless(&world, INSTANCES, "*").await.expect(304);
    unless(&world, INSTANCES, "\"x\"").await.expect(200);
    world.post(&format!("{INSTANCES}/a/renew"), "").await.expect(204);
    unless(&world, INSTANCES, first.etag()).await.expect(304);
    world.register("b").await;
    unless(&world, INSTANCES, first.etag()).await.expect(200);
}

#[tokio::test]
async fn a_selection_is_new_only_when_what_it_shows_is() {
    let world = World::new().await;
    let in_zone = |zone: &str| format!(r#"{{"host":"h","port":1,"zone":"{zone}"}}"#);
    world.put(&format!("{INSTANCES}/a"), &in_zone("x")).await.expect(201);
    let path = format!("{INSTANCES}?zone=x");
    let first = world.get(&path).await.expect(200);
    world.put(&format!("{INSTANCES}/b"), &in_zone("y")).await.expect(201);
    world.put(ORDERS, r#"{"description":"new"}"#).await.expect(200);
    let same = unless(&world, &path, first.etag()).await.expect(304);
    assert_ne!(same.header("x-thuban-revision"), first.header("x-thuban-revision"));
    world.put(&format!("{INSTANCES}/c"), &in_zone("x")).await.expect(201);
    assert_eq!(unless(&world, &path, first.etag()).await.expect(200).ids(), ["a", "c"]);
    let empty = world.get(&format!("{INSTANCES}?zone=z")).await.expect(200);
    unless(&world, &format!("{INSTANCES}?zone=z"), empty.etag()).await.expect(304);
}

#[tokio::test]
async fn a_wait_needs_something_to_compare_with() {
    let world = World::new().await;
    let refused = world.get(&format!("{INSTANCES}?wait_ms=1000")).await;
    assert_eq!(refused.problem(), (400, "invalid_argument".to_owned()));
    assert_eq!(refused.field(), "wait_ms");
    unless(&world, &format!("{INSTANCES}?wait_ms=0"), "\"0.0.0\"").await.expect(304);
    unless(&world, &format!("{INSTANCES}?wait_ms=60000"), "\"x\"").await.expect(404);
}

#[tokio::test]
async fn a_waiting_read_ends_with_the_first_change() {
    let world = World::new().await;
    let path = format!("{INSTANCES}?wait_ms=60000");
    let waiting = unless(&world, &path, "\"0.0.0\"");
    let registering = async {
        settle().await;
        world.register("a").await
    };
    let (found, registered) = tokio::time::timeout(SOON, async { tokio::join!(waiting, registering) }).await.unwrap();
    assert_eq!(found.expect(200).json()["items"][0]["revision"], registered.json()["revision"]);
    let etag = world.get(INSTANCES).await.etag().to_owned();
    let waiting = unless(&world, &path, &etag);
    let changing = async {
        settle().await;
        // Not in this service: it must not be woken for it.
        world.put("/v1/namespaces/default/services/other/instances/x", r#"{"host":"h","port":1}"#).await.expect(201);
        settle().await;
        world.delete(&format!("{INSTANCES}/a")).await.expect(204)
    };
    let (found, _) = tokio::time::timeout(SOON, async { tokio::join!(waiting, changing) }).await.unwrap();
    assert_eq!(found.expect(200).json()["items"], json!([]));
}

#[tokio::test]
async fn who_waits_is_among_the_subscribers_until_it_is_answered() {
    let world = World::new().await;
    world.register("a").await;
    let etag = world.get(INSTANCES).await.etag().to_owned();
    let path = format!("{INSTANCES}?wait_ms=60000");
    let ask = |name: &'static str| {
        world.ask(Method::GET, &path).header("if-none-match", &etag).header("x-thuban-client", name)
    };
    let service = ServiceKey::new("default", "orders").unwrap();
    let names = || -> Vec<String> {
        world.registry.subscribers(&service).into_iter().map(|one| one.subscriber.name.to_string()).collect()
    };
    let seen = async {
        settle().await;
        let seen = names();
        world.delete(&format!("{INSTANCES}/a")).await.expect(204);
        seen
    };
    let (found, seen) = tokio::time::timeout(SOON, async { tokio::join!(ask("reader").send(), seen) }).await.unwrap();
    found.expect(200);
    assert_eq!(seen, ["reader"]);
    assert_eq!(names(), [""; 0]);
}

#[tokio::test]
async fn a_wait_over_nothing_new_ends_in_time() {
    let world = World::new().await;
    world.put(&format!("{INSTANCES}/a"), r#"{"host":"h","port":1,"lease":{"kind":"permanent"}}"#).await.expect(201);
    let path = format!("{INSTANCES}?wait_ms=30000");
    let etag = world.get(INSTANCES).await.etag().to_owned();
    let before = world.clock.mono_ms();
    world.until_done(unless(&world, &path, &etag)).await.expect(304);
    let waited = world.clock.mono_ms() - before;
    assert!((30_000..32_000).contains(&waited), "{waited}");
}

#[tokio::test]
async fn one_instance_and_the_settings_can_be_waited_for() {
    let world = World::new().await;
    world.register("a").await;
    for path in [format!("{INSTANCES}/a"), ORDERS.to_owned()] {
        let etag = world.get(&path).await.etag().to_owned();
        unless(&world, &path, &etag).await.expect(304);
        let path = format!("{path}?wait_ms=60000");
        let waiting = unless(&world, &path, &etag);
        let changing = async {
            settle().await;
            let description = json!({ "description": path });
            world.put(ORDERS, &description.to_string()).await.expect(200);
            let patch = json!({ "note": path });
            world.patch(&format!("{INSTANCES}/a/operator"), &patch.to_string()).await.expect(200);
        };
        let (found, ()) = tokio::time::timeout(SOON, async { tokio::join!(waiting, changing) }).await.unwrap();
        found.expect(200);
    }
    let absent = world.get(&format!("{INSTANCES}/z")).await;
    assert_eq!(absent.problem(), (404, "instance_not_found".to_owned()));
    unless(&world, &format!("{INSTANCES}/z"), absent.etag()).await.expect(304);
}

#[tokio::test]
async fn a_reader_never_reads_backwards() {
    let world = World::new().await;
    let seen = world.register("a").await;
    for token in [seen.header("x-thuban-revision"), seen.etag(), world.get(INSTANCES).await.etag()] {
        let token = token.replace('"', "%22");
        world.get(&format!("{INSTANCES}?min_revision={token}")).await.expect(200);
        world.get(&format!("/v1/namespaces?min_revision={token}")).await.expect(200);
        world.get(&format!("{ORDERS}?min_revision={token}")).await.expect(200);
    }
    let before = world.clock.mono_ms();
    let behind = world.until_done(world.get(&format!("{INSTANCES}?min_revision=1.999999.0"))).await;
    assert_eq!(behind.problem(), (503, "behind".to_owned()));
    assert!(!behind.header("retry-after").is_empty());
    assert!(world.clock.mono_ms() - before >= 5_000);
    let path = format!("{INSTANCES}?min_revision=1.{}.0", offset(&seen) + 1);
    let waiting = world.get(&path);
    let registering = async {
        settle().await;
        world.register("b").await
    };
    let (found, _) = tokio::time::timeout(SOON, async { tokio::join!(waiting, registering) }).await.unwrap();
    assert_eq!(found.expect(200).ids(), ["a", "b"]);
}

fn offset(reply: &Reply) -> u64 {
    reply.header("x-thuban-revision").split('.').nth(1).and_then(|part| part.parse().ok()).expect("an offset")
}

#[tokio::test]
async fn what_is_not_in_the_log_is_shown_as_such() {
    let world = World::new().await;
    world.register("a").await;
    world.log.set_away(true);
    let path = format!("{INSTANCES}/b?ack=memory");
    let reply = world.until_done(world.put(&path, r#"{"host":"h","port":1}"#)).await;
    assert!(matches!(reply.status.as_u16(), 201 | 202), "{reply:?}");
    let shown = reply.json();
    assert_eq!((&shown["revision"], &shown["generation"]), (&json!(null), &json!(null)));
    assert!(reply.etag().starts_with("W/\""), "{reply:?}");
    assert_eq!(reply.header("x-thuban-overlay"), "1");
    let view = world.get(INSTANCES).await.expect(200);
    assert_eq!(view.ids(), ["a", "b"]);
    assert!(view.etag().starts_with("W/\""), "{view:?}");
    assert_eq!(view.header("x-thuban-overlay"), "1");
    unless(&world, INSTANCES, view.etag()).await.expect(304);
    world.put(&format!("{INSTANCES}/b?ack=memory"), r#"{"host":"h","port":2}"#).await;
    unless(&world, INSTANCES, view.etag()).await.expect(200);
    let removal = world.until_done(world.delete(&format!("{INSTANCES}/a"))).await;
    assert_eq!(removal.problem().0, 503);
    world.log.set_away(false);
    world
        .until_done(async {
            loop {
                let view = world.get(INSTANCES).await.expect(200);
                if view.header("x-thuban-overlay").is_empty() {
                    assert!(view.etag().starts_with('"'));
                    assert!(view.json()["items"][1]["revision"].is_string());
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_drain_lets_go_of_who_waits() {
    let world = World::new().await;
    world.register("a").await;
    let etag = world.get(INSTANCES).await.etag().to_owned();
    let path = format!("{INSTANCES}?wait_ms=60000");
    let waiting = unless(&world, &path, &etag);
    let draining = async {
        settle().await;
        world.registry.drain();
    };
    let before = world.clock.mono_ms();
    let (ended, ()) = world.until_done(async { tokio::join!(waiting, draining) }).await;
    ended.expect(304);
    assert!(world.clock.mono_ms() - before < 10_000);
    world
        .until_done(async {
            while world.get("/readyz").await.status != 503 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    let refused = unless(&world, &path, &etag).await;
    assert_eq!(refused.problem(), (503, "not_ready".to_owned()));
}
