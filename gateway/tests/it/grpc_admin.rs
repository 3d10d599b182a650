//! What people and tools do.

use compute::testing::change_log::Stall;
use schemas::thuban::v1 as pb;
use tonic::Code;

use crate::grpc_world::{
    World, ask, deregister, field, ids, item, key, must_register, permanent, reason, register, soon,
};

fn pairs(key: &str, value: &str) -> std::collections::BTreeMap<String, String> {
    [(key.to_owned(), value.to_owned())].into()
}

#[tokio::test]
async fn namespaces_are_made_shown_and_deleted() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    let put = pb::PutNamespaceRequest {
        name: "team-a".into(),
        description: "ours".into(),
        metadata: pairs("cost", "7"),
        ..pb::PutNamespaceRequest::default()
    };
    let made = admin.put_namespace(put.clone()).await.unwrap().into_inner();
    assert!(made.created);
    let again = admin.put_namespace(put).await.unwrap().into_inner();
    assert!(!again.created);
    let asked = pb::GetNamespaceRequest { name: "team-a".into(), ..pb::GetNamespaceRequest::default() };
    let shown = admin.get_namespace(asked.clone()).await.unwrap().into_inner();
    assert_eq!(Some(&shown), made.namespace.as_ref());
    assert_eq!((shown.description.as_str(), shown.metadata["cost"].as_str()), ("ours", "7"));

    let first = pb::ListNamespacesRequest { limit: 1, ..pb::ListNamespacesRequest::default() };
    let first = admin.list_namespaces(first).await.unwrap().into_inner();
    assert_eq!((first.items[0].name.as_str(), first.items.len()), ("default", 1));
    let next = pb::ListNamespacesRequest { limit: 1, cursor: first.next_cursor, ..Default::default() };
    let next = admin.list_namespaces(next).await.unwrap().into_inner();
    assert_eq!((next.items[0].name.as_str(), next.next_cursor.as_str()), ("team-a", ""));

    let there = pb::RegisterItem { namespace: "team-a".into(), ..item("orders", "a") };
    must_register(&mut client, [there]).await;
    let delete = pb::DeleteNamespaceRequest { name: "team-a".into(), ..pb::DeleteNamespaceRequest::default() };
    let held = admin.delete_namespace(delete.clone()).await.unwrap_err();
    assert_eq!((held.code(), reason(&held).as_str()), (Code::FailedPrecondition, "conflict"));
    let gone = pb::InstanceKey { namespace: "team-a".into(), ..key("orders", "a") };
    client.deregister(deregister([gone])).await.unwrap();
    let service = pb::DeleteServiceRequest {
        namespace: "team-a".into(),
        name: "orders".into(),
        ..pb::DeleteServiceRequest::default()
    };
    admin.delete_service(service).await.unwrap();
    let deleted = admin.delete_namespace(delete).await.unwrap().into_inner();
    assert_eq!(deleted.ack(), pb::Ack::Log);
    let unknown = admin.get_namespace(asked).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "namespace_not_found"));
}

#[tokio::test]
async fn a_service_is_described_under_a_condition() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    let put = |if_match: Option<&str>, owner: &str| pb::PutServiceRequest {
        name: "orders".into(),
        owner: owner.into(),
        protect_threshold: 0.5,
        if_match: if_match.map(str::to_owned),
        ..pb::PutServiceRequest::default()
    };
    let absent = admin.put_service(put(Some("*"), "x")).await.unwrap_err();
    assert_eq!((absent.code(), reason(&absent).as_str()), (Code::FailedPrecondition, "precondition_failed"));
    let made = admin.put_service(put(None, "one")).await.unwrap().into_inner();
    assert!(made.created);
    let service = made.service.unwrap();
    assert_eq!((service.owner.as_str(), service.protect_threshold, service.implicit), ("one", 0.5, false));
    let second = admin.put_service(put(Some(&service.etag), "two")).await.unwrap().into_inner();
    assert!(!second.created);
    let stale = admin.put_service(put(Some(&service.etag), "three")).await.unwrap_err();
    assert_eq!((reason(&stale).as_str(), field(&stale).as_str()), ("precondition_failed", "if_match"));
    assert_eq!(admin.put_service(put(Some("*"), "four")).await.unwrap().into_inner().service.unwrap().owner, "four");

    let update = pb::UpdateServiceRequest {
        name: "orders".into(),
        description: Some("of books".into()),
        ..pb::UpdateServiceRequest::default()
    };
    let updated = admin.update_service(update.clone()).await.unwrap().into_inner().service.unwrap();
    assert_eq!((updated.owner.as_str(), updated.description.as_str()), ("four", "of books"));
    let nobody = pb::UpdateServiceRequest { name: "nobody".into(), ..update };
    assert_eq!(reason(&admin.update_service(nobody).await.unwrap_err()), "service_not_found");
    let wrong = pb::PutServiceRequest { protect_threshold: 1.5, ..put(None, "x") };
    assert_eq!(field(&admin.put_service(wrong).await.unwrap_err()), "protect_threshold");
    let unnamed = pb::PutServiceRequest { name: String::new(), ..put(None, "x") };
    assert_eq!(field(&admin.put_service(unnamed).await.unwrap_err()), "name");
}

#[tokio::test]
async fn services_are_listed_by_prefix_in_pages() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    let names = ["a1", "a2", "a3", "b1"];
    must_register(&mut client, names.map(|name| item(name, "x"))).await;
    let mut asked = pb::ListServicesRequest { prefix: "a".into(), limit: 2, ..pb::ListServicesRequest::default() };
    let mut found = Vec::new();
    loop {
        let page = admin.list_services(asked.clone()).await.unwrap().into_inner();
        found.extend(page.items.into_iter().map(|service| (service.name, service.instances, service.healthy)));
        if page.next_cursor.is_empty() {
            break;
        }
        asked.cursor = page.next_cursor;
    }
    assert_eq!(found, ["a1", "a2", "a3"].map(|name| (name.to_owned(), 1, 1)));
    let wrong = pb::ListServicesRequest { limit: 1_001, ..pb::ListServicesRequest::default() };
    assert_eq!(field(&admin.list_services(wrong).await.unwrap_err()), "limit");
}

fn patch(id: &str) -> pb::PatchOperatorRequest {
    pb::PatchOperatorRequest { service: "orders".into(), id: id.into(), ..pb::PatchOperatorRequest::default() }
}

#[tokio::test]
async fn an_operators_word_stands_beside_the_providers() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    let first = must_register(&mut client, [item("orders", "a")]).await.remove(0);
    let isolate = pb::PatchOperatorRequest {
        isolated: Some(true),
        weight: Some(5),
        note: Some("too slow".into()),
        generation: Some(first.generation.clone()),
        ..patch("a")
    };
    let set = admin.patch_operator(isolate).await.unwrap().into_inner().instance.unwrap();
    assert_eq!((set.isolated, set.weight, set.provider_weight), (true, 5, Some(100)));
    let operator = set.operator.unwrap();
    assert_eq!(
        (operator.note.as_deref(), operator.author.as_str(), operator.door.as_str()),
        (Some("too slow"), "anonymous", "grpc")
    );
    // A re-register does not undo it.
    must_register(&mut client, [pb::RegisterItem { zone: "z".into(), ..item("orders", "a") }]).await;
    let asked =
        pb::GetInstanceRequest { service: "orders".into(), id: "a".into(), ..pb::GetInstanceRequest::default() };
    assert!(admin.get_instance(asked).await.unwrap().into_inner().isolated);
    let clear = pb::PatchOperatorRequest { clear: vec!["isolated".into(), "weight".into()], ..patch("a") };
    let cleared = admin.patch_operator(clear).await.unwrap().into_inner().instance.unwrap();
    assert_eq!((cleared.isolated, cleared.weight, cleared.provider_weight), (false, 100, None));
    assert_eq!(cleared.operator.unwrap().note.as_deref(), Some("too slow"));
}

#[tokio::test]
async fn a_patch_says_what_is_wrong_with_it() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    must_register(&mut client, [item("orders", "a")]).await;
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let wrong = [
        ("weight", pb::PatchOperatorRequest { weight: Some(10_001), ..patch("a") }),
        ("note", pb::PatchOperatorRequest { note: Some("n".repeat(1_025)), ..patch("a") }),
        ("keep_ms", pb::PatchOperatorRequest { keep_ms: Some(604_800_001), ..patch("a") }),
        ("expires_at", pb::PatchOperatorRequest { isolated: Some(true), expires_at: at(-1), ..patch("a") }),
        ("expires_at", pb::PatchOperatorRequest { isolated: Some(true), expires_at: at(1), ..patch("a") }),
        ("clear", pb::PatchOperatorRequest { clear: vec!["colour".into()], ..patch("a") }),
        ("clear", pb::PatchOperatorRequest { weight: Some(1), clear: vec!["weight".into()], ..patch("a") }),
        ("clear", pb::PatchOperatorRequest { clear: vec!["note".into(), "note".into()], ..patch("a") }),
        ("id", pb::PatchOperatorRequest { isolated: Some(true), ..patch("") }),
    ];
    for (name, asked) in wrong {
        let refused = admin.patch_operator(asked.clone()).await.unwrap_err();
        assert_eq!((refused.code(), field(&refused).as_str()), (Code::InvalidArgument, name), "{asked:?}");
    }
    let unknown = pb::PatchOperatorRequest { isolated: Some(true), ..patch("x") };
    assert_eq!(reason(&admin.patch_operator(unknown).await.unwrap_err()), "instance_not_found");
}

#[tokio::test]
async fn what_an_operator_kept_is_listed_and_dropped() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    must_register(&mut client, [item("orders", "a"), item("orders", "b")]).await;
    for id in ["a", "b"] {
        let keep = pb::PatchOperatorRequest { isolated: Some(true), keep_ms: Some(600_000), ..patch(id) };
        admin.patch_operator(keep).await.unwrap();
    }
    client.deregister(deregister([key("orders", "a"), key("orders", "b")])).await.unwrap();
    let asked = pb::ListOverridesRequest { service: "orders".into(), limit: 1, ..pb::ListOverridesRequest::default() };
    let first = admin.list_overrides(asked.clone()).await.unwrap().into_inner();
    assert_eq!((first.items.len(), first.items[0].id.as_str()), (1, "a"));
    assert_eq!(first.items[0].operator.as_ref().unwrap().isolated, Some(true));
    assert!(first.items[0].kept_until.is_some());
    let rest = pb::ListOverridesRequest { cursor: first.next_cursor, ..asked };
    assert_eq!(admin.list_overrides(rest.clone()).await.unwrap().into_inner().items[0].id, "b");
    let drop =
        pb::DeleteOverrideRequest { service: "orders".into(), id: "b".into(), ..pb::DeleteOverrideRequest::default() };
    admin.delete_override(drop.clone()).await.unwrap();
    assert!(admin.list_overrides(rest).await.unwrap().into_inner().items.is_empty());
    let again = admin.delete_override(drop).await.unwrap_err();
    assert_eq!((again.code(), reason(&again).as_str()), (Code::NotFound, "override_not_found"));
}

#[tokio::test]
async fn an_operators_word_waits_for_whoever_comes() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    must_register(&mut client, [item("orders", "a")]).await;
    let put = |id: &str| pb::PutOverrideRequest {
        service: "orders".into(),
        id: id.into(),
        isolated: Some(true),
        ..pb::PutOverrideRequest::default()
    };
    let for_one = pb::PutOverrideRequest { keep_ms: Some(60_000), incarnation: Some("two".into()), ..put("b") };
    let made = admin.put_override(for_one.clone()).await.unwrap().into_inner();
    let kept = made.kept.unwrap();
    assert_eq!((made.created, kept.same_incarnation_only, kept.incarnation.as_str()), (true, true, "two"));
    let until = pb::PutOverrideRequest { kept_until: kept.kept_until, ..for_one.clone() };
    assert!(!admin.put_override(until).await.unwrap().into_inner().created);
    let far = prost_types::Timestamp { seconds: 253_402_300_799, nanos: 0 };
    let wrong = [
        ("kept_until", put("b")),
        ("kept_until", pb::PutOverrideRequest { kept_until: Some(far), ..put("b") }),
        ("keep_ms", pb::PutOverrideRequest { keep_ms: Some(604_800_001), ..put("b") }),
        ("incarnation", pb::PutOverrideRequest { incarnation: Some(String::new()), ..for_one }),
        ("id", put("")),
    ];
    for (name, asked) in wrong {
        let refused = admin.put_override(asked.clone()).await.unwrap_err();
        assert_eq!((refused.code(), field(&refused).as_str()), (Code::InvalidArgument, name), "{asked:?}");
    }
    let there = pb::PutOverrideRequest { keep_ms: Some(1), ..put("a") };
    assert_eq!(reason(&admin.put_override(there).await.unwrap_err()), "conflict");
}

#[tokio::test]
async fn a_node_tells_of_itself() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    must_register(&mut client, [item("orders", "a")]).await;
    let status = admin.get_status(pb::GetStatusRequest::default()).await.unwrap().into_inner();
    assert_eq!((status.node.as_str(), status.state.as_str()), ("thuban", "ready"));
    assert_eq!(status.log.unwrap().identity, "07".repeat(16));
    let nodes = admin.list_nodes(pb::ListNodesRequest::default()).await.unwrap().into_inner().items;
    assert_eq!(nodes.len(), 1);
    assert!(nodes[0].answering);
    assert_eq!(nodes[0].incarnation, status.incarnation);
    let other = pb::DrainNodeRequest { node: "another".into() };
    assert_eq!(reason(&admin.drain_node(other).await.unwrap_err()), "node_not_found");
    let released = admin.release_freeze(pb::ReleaseFreezeRequest::default()).await.unwrap().into_inner();
    assert_eq!(released.released, 0);
}

#[tokio::test]
async fn a_node_that_is_drained_reads_and_writes_no_more() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    must_register(&mut client, [item("orders", "a")]).await;
    let drain = pb::DrainNodeRequest { node: "thuban".into() };
    assert_eq!(admin.drain_node(drain).await.unwrap().into_inner().state, "draining");
    let reply = world
        .becomes(|| async {
            let reply = world.client().await.register(register([item("orders", "b")])).await.unwrap().into_inner();
            matches!(&reply.items[0].outcome, Some(pb::register_outcome::Outcome::Problem(_))).then_some(reply)
        })
        .await;
    assert_eq!(crate::grpc_world::problem(&reply.items[0]).code, "not_ready");
    assert_eq!(ids(&mut client, "orders").await.first().map(String::as_str), Some("a"));
    drop((admin, client));
    soon(world.shut_down()).await;
}

#[tokio::test]
async fn while_the_log_stands_still_a_write_in_memory_is_shown_as_such() {
    let world = World::new().await;
    let mut client = world.client().await;
    must_register(&mut client, [item("orders", "a")]).await;
    world.log.stall(Stall::Append);
    let in_memory = pb::RegisterRequest { ack: pb::Ack::Memory.into(), ..register([permanent(item("orders", "b"))]) };
    let reply = soon(client.register(in_memory)).await.unwrap().into_inner();
    assert_eq!(reply.items[0].ack(), pb::Ack::Memory);
    let shown = crate::grpc_world::made(&reply.items[0]);
    assert!(shown.overlay && shown.revision.is_empty());
    let answer = client.discover(ask("orders")).await.unwrap();
    assert_eq!(answer.metadata().get("thuban-overlay").unwrap(), "1");
    let found = answer.into_inner();
    assert_eq!((found.overlay, found.items.len()), (1, 2));
    assert!(found.etag.starts_with("W/"), "{}", found.etag);
    world.log.release(Stall::Append);
    world
        .becomes(|| async {
            let found = world.client().await.discover(ask("orders")).await.unwrap().into_inner();
            (found.overlay == 0 && found.items.len() == 2).then_some(())
        })
        .await;
}
