//! Both doors answer the same question in the same way.

use http::Method;
use http_body_util::BodyExt;
use schemas::thuban::v1 as pb;
use tonic::Code;

use crate::grpc_world::{self, World, ask, deregister, field, item, key, must_register, permanent, reason, register};
use crate::http_world::{self, ORDERS};

/// A revision that no test ever reaches.
const BEYOND: &str = "1.999999.0";

fn get(id: &str) -> pb::GetInstanceRequest {
    pb::GetInstanceRequest { service: "orders".into(), id: id.into(), ..pb::GetInstanceRequest::default() }
}

fn patch() -> pb::PatchOperatorRequest {
    pb::PatchOperatorRequest { service: "orders".into(), id: "a".into(), ..pb::PatchOperatorRequest::default() }
}

#[tokio::test]
async fn a_kept_override_is_found_by_its_name() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    must_register(&mut client, [item("orders", "a")]).await;
    let asked =
        pb::GetOverrideRequest { service: "orders".into(), id: "a".into(), ..pb::GetOverrideRequest::default() };
    assert_eq!(reason(&admin.get_override(asked.clone()).await.unwrap_err()), "override_not_found");
    let keep = pb::PatchOperatorRequest { weight: Some(7), keep_ms: Some(600_000), ..patch() };
    admin.patch_operator(keep).await.unwrap();
    client.deregister(deregister([key("orders", "a")])).await.unwrap();
    let kept = admin.get_override(asked).await.unwrap();
    assert!(kept.metadata().contains_key("thuban-revision"));
    assert_eq!(kept.into_inner().operator.unwrap().weight, Some(7));
}

#[tokio::test]
async fn an_instance_can_be_waited_for() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    let wait =
        |unless: &str, wait_ms| pb::GetInstanceRequest { if_none_match: Some(unless.into()), wait_ms, ..get("a") };
    let absent = world.until_done(admin.get_instance(wait("0.0.0", 1_000))).await.unwrap_err();
    assert_eq!((absent.code(), reason(&absent).as_str()), (Code::NotFound, "service_not_found"));

    let mut waiter = world.admin().await;
    let held = tokio::spawn(async move { waiter.get_instance(wait("0.0.0", 60_000)).await });
    let made = must_register(&mut client, [permanent(item("orders", "a"))]).await.remove(0);
    let found = grpc_world::soon(held).await.unwrap().unwrap().into_inner();
    assert_eq!(found.revision, made.revision);

    let same = world.until_done(admin.get_instance(wait(&made.revision, 1_000))).await.unwrap().into_inner();
    assert_eq!(same.revision, made.revision);
    let mut waiter = world.admin().await;
    let held = tokio::spawn(async move { waiter.get_instance(wait(&made.revision, 60_000)).await });
    admin.patch_operator(pb::PatchOperatorRequest { isolated: Some(true), ..patch() }).await.unwrap();
    assert!(grpc_world::soon(held).await.unwrap().unwrap().into_inner().isolated);

    let alone = pb::GetInstanceRequest { wait_ms: 1, ..get("a") };
    assert_eq!(field(&admin.get_instance(alone).await.unwrap_err()), "wait_ms");
    let long = pb::GetInstanceRequest { wait_ms: 60_001, if_none_match: Some("0.0.0".into()), ..get("a") };
    assert_eq!(field(&admin.get_instance(long).await.unwrap_err()), "wait_ms");
}

#[tokio::test]
async fn a_services_settings_can_be_waited_for() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    let put = |owner: &str| pb::PutServiceRequest {
        name: "orders".into(),
        owner: owner.into(),
        ..pb::PutServiceRequest::default()
    };
    let etag = admin.put_service(put("one")).await.unwrap().into_inner().service.unwrap().etag;
    let wait = |wait_ms| pb::GetServiceRequest {
        name: "orders".into(),
        if_none_match: Some(etag.clone()),
        wait_ms,
        ..pb::GetServiceRequest::default()
    };
    let same = world.until_done(admin.get_service(wait(1_000))).await.unwrap().into_inner();
    assert_eq!(same.etag, etag);
    let mut waiter = world.admin().await;
    let long = wait(60_000);
    let held = tokio::spawn(async move { waiter.get_service(long).await });
    // An instance is no part of the settings.
    must_register(&mut client, [permanent(item("orders", "a"))]).await;
    admin.put_service(put("two")).await.unwrap();
    assert_eq!(grpc_world::soon(held).await.unwrap().unwrap().into_inner().owner, "two");
}

#[tokio::test]
async fn a_condition_of_somebody_elses_does_not_hold_in_grpc_either() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    let named = |if_match: Option<String>| pb::PutServiceRequest {
        name: "orders".into(),
        if_match,
        ..pb::PutServiceRequest::default()
    };
    let etag = admin.put_service(named(None)).await.unwrap().into_inner().service.unwrap().etag;
    for foreign in ["abc".to_owned(), "\"abc\"".to_owned(), String::new(), format!("W/{etag}")] {
        let refused = admin.put_service(named(Some(foreign.clone()))).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "precondition_failed"));
        assert_eq!(field(&refused), "if_match", "{foreign}");
        let delete = pb::DeleteServiceRequest { name: "orders".into(), if_match: Some(foreign), ..Default::default() };
        assert_eq!(reason(&admin.delete_service(delete).await.unwrap_err()), "precondition_failed");
    }
    admin.put_service(named(Some(etag))).await.unwrap();
}

#[tokio::test]
async fn a_patch_that_names_nothing_is_taken() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    let made = must_register(&mut client, [item("orders", "a")]).await.remove(0);
    let same = admin.patch_operator(patch()).await.unwrap().into_inner().instance.unwrap();
    assert_eq!((same.revision, same.operator), (made.revision, None));
}

#[tokio::test]
async fn what_belongs_to_a_service_is_not_found_without_it() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    let overrides = pb::ListOverridesRequest { service: "nobody".into(), ..pb::ListOverridesRequest::default() };
    let subscribers = pb::ListSubscribersRequest { service: "nobody".into(), ..pb::ListSubscribersRequest::default() };
    assert_eq!(reason(&admin.list_overrides(overrides).await.unwrap_err()), "service_not_found");
    assert_eq!(reason(&admin.list_subscribers(subscribers).await.unwrap_err()), "service_not_found");
    let prefix = pb::ListServicesRequest { prefix: "a b".into(), ..pb::ListServicesRequest::default() };
    assert_eq!(field(&admin.list_services(prefix).await.unwrap_err()), "prefix");
    // Discover says it in its reply: the proto tells why.
    let found = world.client().await.discover(ask("nobody")).await.unwrap().into_inner();
    assert!(!found.exists);
}

#[tokio::test]
#[expect(clippy::field_reassign_with_default, reason = "each request is of another type, and the field is in all")]
async fn every_read_waits_until_the_node_has_what_its_reader_saw() {
    let world = World::new().await;
    let (mut admin, mut client) = (world.admin().await, world.client().await);
    let made = must_register(&mut client, [permanent(item("orders", "a"))]).await.remove(0);
    macro_rules! waits {
        ($($call:ident($request:expr)),* $(,)?) => {$(
            let mut asked = $request;
            asked.min_revision = Some(made.revision.clone());
            if let Err(refused) = admin.$call(asked.clone()).await {
                assert_eq!(reason(&refused), "override_not_found", stringify!($call));
            }
            asked.min_revision = Some("x".to_owned());
            assert_eq!(field(&admin.$call(asked.clone()).await.unwrap_err()), "min_revision", stringify!($call));
            asked.min_revision = Some(BEYOND.to_owned());
            let refused = world.until_done(admin.$call(asked)).await.unwrap_err();
            assert_eq!(reason(&refused), "behind", stringify!($call));
        )*};
    }
    let (service, id) = ("orders".to_owned(), "a".to_owned());
    waits![
        list_namespaces(pb::ListNamespacesRequest::default()),
        get_namespace(pb::GetNamespaceRequest { name: "default".into(), ..Default::default() }),
        list_services(pb::ListServicesRequest::default()),
        get_service(pb::GetServiceRequest { name: service.clone(), ..Default::default() }),
        get_instance(get("a")),
        list_overrides(pb::ListOverridesRequest { service: service.clone(), ..Default::default() }),
        get_override(pb::GetOverrideRequest { service: service.clone(), id: id.clone(), ..Default::default() }),
        list_subscribers(pb::ListSubscribersRequest { service: service.clone(), ..Default::default() }),
        list_nodes(pb::ListNodesRequest::default()),
        get_status(pb::GetStatusRequest::default()),
    ];
}

#[tokio::test]
async fn a_namespace_that_is_not_there_can_not_be_watched() {
    let world = http_world::World::new().await;
    for path in ["/v1/namespaces/nobody/watch", "/v1/watch?namespace=nobody"] {
        assert_eq!(world.get(path).await.problem(), (404, "namespace_not_found".to_owned()), "{path}");
    }
    let (status, ..) = world.ask(Method::GET, &format!("{ORDERS}/watch")).open().await;
    assert_eq!(status.as_u16(), 200, "a service need not exist yet");
    let world = World::new().await;
    let asked = pb::WatchRequest { namespace: "nobody".into(), ..pb::WatchRequest::default() };
    assert_eq!(reason(&world.client().await.watch(asked).await.unwrap_err()), "namespace_not_found");
}

/// A stream that ended without a word would be asked for again and again. (A node of a cluster says `behind` first.)
#[tokio::test]
async fn a_watcher_that_has_seen_more_is_told_to_begin_anew() {
    let world = http_world::World::new().await;
    world.register("a").await;
    for asking in [
        world.ask(Method::GET, &format!("{ORDERS}/watch?from={BEYOND}")),
        world.ask(Method::GET, &format!("{ORDERS}/watch")).header("last-event-id", BEYOND),
    ] {
        let (status, _, mut body) = asking.open().await;
        assert_eq!(status.as_u16(), 200);
        let mut text = String::new();
        while !text.contains("event: snapshot") {
            let piece = grpc_world::soon(body.frame()).await.expect("it goes on").expect("it is whole");
            text.push_str(&String::from_utf8_lossy(piece.data_ref().expect("data")));
        }
        assert!(text.contains("event: compacted"), "{text}");
    }
}

#[tokio::test]
async fn nodes_come_in_pages_too() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    let all = admin.list_nodes(pb::ListNodesRequest { limit: 1, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!((all.items.len(), all.next_cursor.as_str()), (1, ""));
    let rest = pb::ListNodesRequest { cursor: all.items[0].name.clone(), ..Default::default() };
    assert!(admin.list_nodes(rest).await.unwrap().into_inner().items.is_empty());
    let wrong = pb::ListNodesRequest { limit: 1_001, ..Default::default() };
    assert_eq!(field(&admin.list_nodes(wrong).await.unwrap_err()), "limit");
}

#[tokio::test]
async fn a_reader_who_waits_ends_with_a_drain() {
    let world = World::new().await;
    let mut client = world.client().await;
    let made = client.register(register([permanent(item("orders", "a"))])).await.unwrap().into_inner();
    let revision = grpc_world::made(&made.items[0]).revision.clone();
    let mut waiter = world.admin().await;
    let asked = pb::GetInstanceRequest { if_none_match: Some(revision.clone()), wait_ms: 60_000, ..get("a") };
    let held = tokio::spawn(async move { waiter.get_instance(asked).await });
    world.registry.drain();
    assert_eq!(grpc_world::soon(held).await.unwrap().unwrap().into_inner().revision, revision);
}
