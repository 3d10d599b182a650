//! The calls of one message each.

use std::time::Duration;

use schemas::thuban::v1 as pb;
use tonic::Code;

use crate::grpc_world::{
    World, ask, deregister, field, ids, item, key, made, must_register, permanent, problem, reason, register, renew,
    soon,
};

#[tokio::test]
async fn a_register_is_answered_with_what_it_made() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut asked = item("orders", "");
    asked.metadata.insert("team".into(), "payments".into());
    asked.zone = "eu-1a".into();
    let reply = client.register(register([asked.clone()])).await.unwrap().into_inner();
    assert!(reply.items[0].created);
    assert_eq!(reply.items[0].ack(), pb::Ack::Log);
    let first = made(&reply.items[0]).clone();
    assert_eq!((first.namespace.as_str(), first.id.as_str()), ("default", "10.0.0.7:8080"));
    assert_eq!((first.weight, first.zone.as_str(), first.healthy), (100, "eu-1a", true));
    assert_eq!(first.metadata["team"], "payments");
    let lease = first.lease.as_ref().unwrap();
    assert_eq!((lease.kind(), lease.ttl_ms, lease.remove_after_ms), (pb::lease::Kind::Ttl, Some(15_000), Some(30_000)));
    assert!(!first.generation.is_empty() && first.generation == first.revision && !first.overlay);

    // The same again is a heartbeat: no new revision.
    let again = client.register(register([asked.clone()])).await.unwrap().into_inner();
    assert!(!again.items[0].created);
    assert_eq!(made(&again.items[0]), &first);

    // Something else replaces it: the same life, another revision.
    asked.weight = Some(7);
    let replaced = client.register(register([asked])).await.unwrap().into_inner();
    assert!(!replaced.items[0].created);
    let replaced = made(&replaced.items[0]);
    assert_eq!((replaced.weight, &replaced.generation), (7, &first.generation));
    assert_ne!(replaced.revision, first.revision);
}

#[tokio::test]
async fn another_incarnation_is_another_life() {
    let world = World::new().await;
    let mut client = world.client().await;
    let life = |name: &str| pb::RegisterItem { incarnation: Some(name.into()), ..item("orders", "a") };
    let first = must_register(&mut client, [life("1")]).await.remove(0);
    let reply = client.register(register([life("2")])).await.unwrap().into_inner();
    // It was there: replaced, by another.
    assert!(!reply.items[0].created);
    assert_ne!(made(&reply.items[0]).generation, first.generation);
}

#[tokio::test]
async fn a_brief_answer_names_it_and_no_more() {
    let world = World::new().await;
    let mut client = world.client().await;
    let asked = pb::RegisterRequest { brief: true, ..register([item("orders", "a")]) };
    let reply = client.register(asked).await.unwrap().into_inner();
    let brief = made(&reply.items[0]);
    assert_eq!((brief.service.as_str(), brief.id.as_str()), ("orders", "a"));
    assert!(!brief.generation.is_empty() && !brief.revision.is_empty());
    assert!(brief.host.is_empty() && brief.lease.is_none());
}

#[tokio::test]
async fn items_are_independent_and_answered_in_their_places() {
    let world = World::new().await;
    let mut client = world.client().await;
    let items = [
        item("orders", "a"),
        pb::RegisterItem { port: Some(70_000), ..item("orders", "b") },
        pb::RegisterItem { namespace: "nowhere".into(), ..item("orders", "c") },
        item("orders", "d"),
        pb::RegisterItem { weight: Some(3), ..item("orders", "d") },
    ];
    let reply = client.register(register(items)).await.unwrap().into_inner();
    assert_eq!(reply.items.len(), 5);
    assert_eq!(made(&reply.items[0]).id, "a");
    let wrong = problem(&reply.items[1]);
    assert_eq!((wrong.code.as_str(), wrong.field.as_str(), wrong.status), ("invalid_argument", "items[1].port", 400));
    assert!(wrong.detail.contains("70000") && wrong.detail.contains("0 to 65535"), "{}", wrong.detail);
    let unknown = problem(&reply.items[2]);
    assert_eq!((unknown.code.as_str(), unknown.status), ("namespace_not_found", 404));
    // The same key twice, in order.
    assert!(reply.items[3].created && !reply.items[4].created);
    assert_eq!(made(&reply.items[4]).weight, 3);
    assert_eq!(ids(&mut client, "orders").await, ["a", "d"]);
}

#[tokio::test]
async fn an_envelope_holds_1_to_1000_items() {
    let world = World::new().await;
    let mut client = world.client().await;
    let none = client.register(register([])).await.unwrap_err();
    assert_eq!((none.code(), field(&none)), (Code::InvalidArgument, "items".to_owned()));
    assert_eq!(reason(&none), "invalid_argument");
    let many = (0..1_001).map(|n| item("orders", &n.to_string()));
    let many = client.register(register(many)).await.unwrap_err();
    assert_eq!((many.code(), field(&many)), (Code::InvalidArgument, "items".to_owned()));
    assert_eq!(client.deregister(deregister([])).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.renew(renew([])).await.unwrap_err().code(), Code::InvalidArgument);
    let most = (0..1_000).map(|n| item("orders", &n.to_string()));
    let reply = client.register(register(most)).await.unwrap().into_inner();
    assert_eq!(reply.items.iter().filter(|outcome| outcome.created).count(), 1_000);
}

#[tokio::test]
async fn an_ack_that_is_none_is_refused() {
    let world = World::new().await;
    let mut client = world.client().await;
    let asked = pb::RegisterRequest { ack: pb::Ack::Overlay.into(), ..register([item("orders", "a")]) };
    let refused = client.register(asked).await.unwrap_err();
    assert_eq!((refused.code(), field(&refused)), (Code::InvalidArgument, "ack".to_owned()));
    let asked = pb::RegisterRequest { ack: pb::Ack::Store.into(), ..register([item("orders", "a")]) };
    let reply = soon(client.register(asked)).await.unwrap().into_inner();
    assert_eq!(reply.items[0].ack(), pb::Ack::Store);
}

#[tokio::test]
async fn what_is_deregistered_is_gone_and_its_successor_is_not() {
    let world = World::new().await;
    let mut client = world.client().await;
    let first = must_register(&mut client, [item("orders", "a")]).await.remove(0);
    let reply = client.deregister(deregister([key("orders", "a"), key("orders", "b")])).await.unwrap().into_inner();
    assert!(reply.items[0].problem.is_none() && !reply.items[0].revision.is_empty());
    assert_eq!(reply.items[0].ack(), pb::Ack::Log);
    assert_eq!(reply.items[1].problem.as_ref().unwrap().code, "instance_not_found");
    let found = client.discover(ask("orders")).await.unwrap().into_inner();
    assert!(found.exists && found.items.is_empty());
    let empty = found.empty.unwrap();
    assert_eq!(
        (empty.reason(), empty.author.as_str(), empty.door.as_str()),
        (pb::Reason::Deregistered, "anonymous", "grpc")
    );

    let second = must_register(&mut client, [item("orders", "a")]).await.remove(0);
    assert_ne!(first.generation, second.generation);
    let old = pb::InstanceKey { generation: Some(first.generation), ..key("orders", "a") };
    let reply = client.deregister(deregister([old])).await.unwrap().into_inner();
    let refused = reply.items[0].problem.as_ref().unwrap();
    assert_eq!((refused.code.as_str(), refused.status), ("generation_mismatch", 412));
    assert_eq!(refused.field, "items[0].generation");
    assert_eq!(ids(&mut client, "orders").await, ["a"]);
}

#[tokio::test]
async fn a_renewal_keeps_a_ttl_lease_and_no_other() {
    let world = World::new().await;
    let mut client = world.client().await;
    let made = must_register(&mut client, [item("orders", "a"), permanent(item("orders", "p"))]).await;
    let with = |generation: &str| pb::InstanceKey { generation: Some(generation.into()), ..key("orders", "a") };
    let asked = renew([
        key("orders", "a"),
        with(&made[0].generation),
        key("orders", "p"),
        key("orders", "missing"),
        with(&made[1].generation),
        with("1.1000000.0"),
        key("", "a"),
    ]);
    let reply = world.until_done(client.renew(asked)).await.unwrap().into_inner();
    let codes: Vec<_> = reply.items.iter().map(|item| item.problem.as_ref().map_or("", |p| p.code.as_str())).collect();
    let wanted = ["", "", "lease_kind", "instance_not_found", "generation_mismatch", "behind", "invalid_argument"];
    assert_eq!(codes, wanted);
}

#[tokio::test]
async fn discover_answers_everything_in_order() {
    let world = World::new().await;
    let mut client = world.client().await;
    must_register(&mut client, [item("orders", "b"), item("orders", "a"), item("other", "x")]).await;
    let answer = client.discover(ask("orders")).await.unwrap();
    let revision = answer.metadata().get("thuban-revision").unwrap().to_str().unwrap().to_owned();
    let found = answer.into_inner();
    assert_eq!(found.items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(found.exists && !found.truncated && !found.protected && found.empty.is_none());
    assert_eq!((found.revision.as_str(), found.digest.len(), found.overlay), (revision.as_str(), 32, 0));
    let limited = pb::DiscoverRequest { limit: Some(1), ..ask("orders") };
    let limited = client.discover(limited).await.unwrap().into_inner();
    assert_eq!((limited.items.len(), limited.items[0].id.as_str(), limited.truncated), (1, "a", true));
    let whole = pb::DiscoverRequest { limit: Some(2), ..ask("orders") };
    assert!(!client.discover(whole).await.unwrap().into_inner().truncated);
}

#[tokio::test]
async fn an_unknown_service_is_an_answer() {
    let world = World::new().await;
    let mut client = world.client().await;
    let found = client.discover(ask("nobody")).await.unwrap().into_inner();
    assert!(!found.exists && found.items.is_empty() && found.empty.is_none());
    assert!(!found.etag.is_empty());
    let wrong = client.discover(ask("no body")).await.unwrap_err();
    assert_eq!((wrong.code(), field(&wrong)), (Code::InvalidArgument, "service".to_owned()));
}

#[tokio::test]
async fn a_filter_shows_what_matches() {
    let world = World::new().await;
    let mut client = world.client().await;
    let in_zone = |id: &str, zone: &str| pb::RegisterItem { zone: zone.into(), ..item("orders", id) };
    must_register(&mut client, [in_zone("a", "x"), in_zone("b", "y")]).await;
    let filter = |zone: &str| pb::Filter { zone: Some(zone.into()), healthy: Some(true), ..pb::Filter::default() };
    let asked = |zone: &str| pb::DiscoverRequest { filter: Some(filter(zone)), ..ask("orders") };
    let found = client.discover(asked("y")).await.unwrap().into_inner();
    assert_eq!(found.items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["b"]);
    let none = client.discover(asked("z")).await.unwrap().into_inner();
    assert_eq!(none.empty.unwrap().reason(), pb::Reason::Filtered);
}

#[tokio::test]
async fn a_conditional_read_says_that_nothing_changed() {
    let world = World::new().await;
    let mut client = world.client().await;
    must_register(&mut client, [item("orders", "a")]).await;
    let etag = client.discover(ask("orders")).await.unwrap().into_inner().etag;
    let asked = pb::DiscoverRequest { if_none_match: Some(etag.clone()), ..ask("orders") };
    let same = client.discover(asked.clone()).await.unwrap().into_inner();
    assert!(same.not_modified && same.items.is_empty());
    assert_eq!(same.etag, etag);
    must_register(&mut client, [item("orders", "b")]).await;
    let other = client.discover(asked).await.unwrap().into_inner();
    assert!(!other.not_modified);
    assert_eq!(other.items.len(), 2);
}

#[tokio::test]
async fn a_waiting_read_ends_with_the_change_or_with_its_time() {
    let world = World::new().await;
    let mut client = world.client().await;
    // A consumer may start before its provider.
    let etag = client.discover(ask("orders")).await.unwrap().into_inner().etag;
    let asked = pb::DiscoverRequest { if_none_match: Some(etag), wait_ms: 30_000, ..ask("orders") };
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.discover(asked).await });
    must_register(&mut client, [permanent(item("orders", "a"))]).await;
    let found = soon(waiting).await.unwrap().unwrap().into_inner();
    assert_eq!((found.exists, found.items.len()), (true, 1));
    let asked = pb::DiscoverRequest { if_none_match: Some(found.etag), wait_ms: 30_000, ..ask("orders") };
    let same = world.until_done(client.discover(asked)).await.unwrap().into_inner();
    assert!(same.not_modified);
}

#[tokio::test]
async fn a_wait_needs_a_condition_and_has_a_limit() {
    let world = World::new().await;
    let mut client = world.client().await;
    let wrong = [
        ("wait_ms", pb::DiscoverRequest { wait_ms: 1, ..ask("orders") }),
        ("wait_ms", pb::DiscoverRequest { wait_ms: 60_001, if_none_match: Some("x".into()), ..ask("orders") }),
        ("limit", pb::DiscoverRequest { limit: Some(0), ..ask("orders") }),
        ("min_revision", pb::DiscoverRequest { min_revision: Some("soon".into()), ..ask("orders") }),
        ("service", pb::DiscoverRequest::default()),
    ];
    for (name, asked) in wrong {
        let refused = client.discover(asked).await.unwrap_err();
        assert_eq!((refused.code(), field(&refused).as_str()), (Code::InvalidArgument, name));
    }
}

#[tokio::test]
async fn a_reader_that_is_ahead_waits_for_the_node() {
    let world = World::new().await;
    let mut client = world.client().await;
    let seen = must_register(&mut client, [item("orders", "a")]).await.remove(0).revision;
    let asked = pb::DiscoverRequest { min_revision: Some(seen), ..ask("orders") };
    assert_eq!(client.discover(asked).await.unwrap().into_inner().items.len(), 1);
    let ahead = pb::DiscoverRequest { min_revision: Some("1.1000000.0".into()), ..ask("orders") };
    let behind = world.until_done(client.discover(ahead)).await.unwrap_err();
    assert_eq!((behind.code(), reason(&behind).as_str()), (Code::Unavailable, "behind"));
}

#[tokio::test]
async fn a_deadline_ends_a_call() {
    let world = World::new().await;
    let mut client = world.client().await;
    let etag = client.discover(ask("orders")).await.unwrap().into_inner().etag;
    let asked = pb::DiscoverRequest { if_none_match: Some(etag), wait_ms: 30_000, ..ask("orders") };
    let mut request = tonic::Request::new(asked);
    request.metadata_mut().insert("grpc-timeout", "500m".parse().unwrap());
    let late = world.until_done(client.discover(request)).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    // And of the client's own setting, whichever of the two sees it first.
    let mut request = tonic::Request::new(ask("orders"));
    request.set_timeout(Duration::from_secs(5));
    assert!(client.discover(request).await.is_ok());
}
