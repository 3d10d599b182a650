//! Watching, by a call of its own and inside a session.

use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use schemas::thuban::v1::watch_event::Event;
use tonic::{Code, Streaming};

use crate::grpc_stream::{Stream, watch};
use crate::grpc_world::{World, deregister, field, item, key, must_register, permanent, reason, soon};

fn of(services: &[&str]) -> pb::WatchRequest {
    let services = services.iter().map(|name| (*name).to_owned()).collect();
    pb::WatchRequest { services, ..pb::WatchRequest::default() }
}

async fn next(events: &mut Streaming<pb::WatchEvent>) -> pb::WatchEvent {
    soon(events.message()).await.expect("no error").expect("no end")
}

fn snapshot(event: &pb::WatchEvent) -> &pb::Snapshot {
    match &event.event {
        Some(Event::Snapshot(snapshot)) => snapshot,
        other => panic!("not a snapshot: {other:?}"),
    }
}

fn change(event: &pb::WatchEvent) -> &pb::Change {
    match &event.event {
        Some(Event::Change(change)) => change,
        other => panic!("not a change: {other:?}"),
    }
}

fn ids(items: &[pb::Instance]) -> Vec<&str> {
    items.iter().map(|item| item.id.as_str()).collect()
}

#[tokio::test]
async fn a_watcher_is_told_what_is_and_then_what_changes() {
    let world = World::new().await;
    let mut client = world.client().await;
    must_register(&mut client, [permanent(item("orders", "a"))]).await;
    let mut events = client.watch(of(&["orders"])).await.unwrap().into_inner();
    let first = next(&mut events).await;
    assert_eq!((first.namespace.as_str(), first.service.as_str()), ("default", "orders"));
    assert_eq!(ids(&snapshot(&first).items), ["a"]);
    assert!(snapshot(&first).complete && snapshot(&first).exists);
    assert_eq!(first.resume_revision, first.revision);

    let second = must_register(&mut client, [permanent(item("orders", "b"))]).await.remove(0);
    let put = next(&mut events).await;
    assert_eq!(change(&put).put, std::slice::from_ref(&second));
    assert_eq!((&change(&put).from_revision, &change(&put).to_revision), (&first.revision, &put.revision));

    client.deregister(deregister([key("orders", "a")])).await.unwrap();
    let gone = next(&mut events).await;
    assert_eq!(change(&gone).from_revision, put.revision);
    let removed = &change(&gone).removed[0];
    assert_eq!((removed.id.as_str(), removed.reason()), ("a", pb::Reason::Deregistered));
    assert_eq!((removed.author.as_str(), removed.door.as_str()), ("anonymous", "grpc"));
    assert!(removed.removed_at.is_some() && !removed.revision.is_empty());
    let found = client.discover(crate::grpc_world::ask("orders")).await.unwrap().into_inner();
    assert_eq!(change(&gone).digest, found.digest);
}

#[tokio::test]
async fn a_service_can_be_watched_before_it_exists() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut events = client.watch(of(&["orders"])).await.unwrap().into_inner();
    let first = next(&mut events).await;
    assert!(!snapshot(&first).exists && snapshot(&first).complete);
    must_register(&mut client, [permanent(item("orders", "a"))]).await;
    let put = next(&mut events).await;
    assert_eq!(ids(&change(&put).put), ["a"]);
    assert!(change(&put).exists);
}

#[tokio::test]
async fn a_watcher_that_comes_back_goes_on_where_it_was() {
    let world = World::new().await;
    let mut client = world.client().await;
    must_register(&mut client, [permanent(item("orders", "a"))]).await;
    let mut events = client.watch(of(&["orders"])).await.unwrap().into_inner();
    let seen = next(&mut events).await.resume_revision;
    drop(events);
    must_register(&mut client, [permanent(item("orders", "b"))]).await;
    client.deregister(deregister([key("orders", "a")])).await.unwrap();
    let again = pb::WatchRequest { from_revision: Some(seen.clone()), ..of(&["orders"]) };
    let mut events = client.watch(again).await.unwrap().into_inner();
    let mut at = seen;
    let (mut put, mut removed) = (Vec::new(), Vec::new());
    while put.is_empty() || removed.is_empty() {
        let event = next(&mut events).await;
        if matches!(event.event, Some(Event::Progress(_))) {
            assert_eq!(event.revision, at, "nothing is passed over");
            continue;
        }
        assert_eq!(change(&event).from_revision, at);
        put.extend(change(&event).put.iter().map(|item| item.id.clone()));
        removed.extend(change(&event).removed.iter().map(|gone| gone.id.clone()));
        at = event.revision;
    }
    assert_eq!((put, removed), (vec!["b".to_owned()], vec!["a".to_owned()]));
}

#[tokio::test]
async fn a_namespace_is_watched_as_a_whole() {
    let world = World::new().await;
    let mut client = world.client().await;
    must_register(&mut client, [permanent(item("orders", "a")), permanent(item("stock", "b"))]).await;
    let mut events = client.watch(of(&[])).await.unwrap().into_inner();
    let mut seen = Vec::new();
    loop {
        let part = next(&mut events).await;
        seen.push(part.service.clone());
        if snapshot(&part).complete {
            assert!(!part.resume_revision.is_empty());
            break;
        }
        assert!(part.resume_revision.is_empty());
    }
    assert_eq!(seen, ["orders", "stock"]);
    must_register(&mut client, [permanent(item("new", "c"))]).await;
    let put = next(&mut events).await;
    assert_eq!((put.service.as_str(), ids(&change(&put).put)), ("new", vec!["c"]));
    let nowhere = pb::WatchRequest { namespace: "nowhere".into(), ..of(&[]) };
    let refused = client.watch(nowhere).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "namespace_not_found"));
}

#[tokio::test]
async fn a_filtered_watch_tells_what_comes_and_goes_of_it() {
    let world = World::new().await;
    let mut client = world.client().await;
    let zoned = |id: &str, zone: &str| pb::RegisterItem { zone: zone.into(), ..permanent(item("orders", id)) };
    must_register(&mut client, [zoned("a", "x"), zoned("b", "y")]).await;
    let filter = pb::Filter { zone: Some("x".into()), ..pb::Filter::default() };
    let asked = pb::WatchRequest { filter: Some(filter), ..of(&["orders"]) };
    let mut events = client.watch(asked).await.unwrap().into_inner();
    assert_eq!(ids(&snapshot(&next(&mut events).await).items), ["a"]);
    must_register(&mut client, [zoned("a", "y")]).await;
    let gone = next(&mut events).await;
    assert_eq!(change(&gone).removed[0].reason(), pb::Reason::Filtered);
    assert!(change(&gone).removed[0].removed_at.is_none());
}

#[tokio::test]
async fn a_watch_is_refused_in_the_words_of_its_fields() {
    let world = World::new().await;
    let mut client = world.client().await;
    let wrong = [
        ("services[1]", of(&["orders", "a b"])),
        ("services[1]", of(&["orders", "orders"])),
        ("from_revision", pb::WatchRequest { from_revision: Some("x".into()), ..of(&["orders"]) }),
        ("namespace", pb::WatchRequest { namespace: "..".into(), ..of(&["orders"]) }),
    ];
    for (name, asked) in wrong {
        let refused = client.watch(asked).await.unwrap_err();
        assert_eq!((refused.code(), field(&refused).as_str()), (Code::InvalidArgument, name));
    }
    let ahead = pb::WatchRequest { from_revision: Some("1.1000000.0".into()), ..of(&["orders"]) };
    let mut events = client.watch(ahead).await.unwrap().into_inner();
    let first = events.message().await.unwrap().and_then(|event| event.event);
    assert!(matches!(first, Some(pb::watch_event::Event::Compacted(_))), "a lone node has all there is: {first:?}");
}

#[tokio::test]
async fn nothing_new_is_said_now_and_then() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut events = client.watch(of(&["orders"])).await.unwrap().into_inner();
    let first = next(&mut events).await;
    let event = world.until_done(events.message()).await.unwrap().unwrap();
    assert!(matches!(event.event, Some(Event::Progress(_))), "{event:?}");
    assert!(event.revision >= first.revision && !event.resume_revision.is_empty());
}

#[tokio::test]
async fn a_draining_node_sends_its_watchers_elsewhere() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut events = client.watch(of(&["orders"])).await.unwrap().into_inner();
    next(&mut events).await;
    world.registry.drain();
    let left = world
        .until_done(async {
            loop {
                match events.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("ended without a word"),
                    Err(status) => return status,
                }
            }
        })
        .await;
    assert_eq!((left.code(), reason(&left).as_str()), (Code::Unavailable, "not_ready"));
}

#[tokio::test]
async fn a_watcher_is_listed_as_long_as_it_watches() {
    let world = World::new().await;
    let (mut client, mut admin) = (world.client().await, world.admin().await);
    must_register(&mut client, [permanent(item("orders", "a"))]).await;
    let mut request = tonic::Request::new(of(&["orders"]));
    request.metadata_mut().insert("thuban-client", "billing".parse().unwrap());
    let mut events = client.watch(request).await.unwrap().into_inner();
    next(&mut events).await;
    let asked = pb::ListSubscribersRequest { service: "orders".into(), ..pb::ListSubscribersRequest::default() };
    let listed = admin.list_subscribers(asked.clone()).await.unwrap().into_inner().items;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].client.as_str(), listed[0].door.as_str()), ("billing", "grpc"));
    assert!(listed[0].address.starts_with("127.0.0.1:"));
    assert_eq!(listed[0].acknowledged_revision, "");
    drop(events);
    world
        .becomes(|| async {
            let mut admin = world.admin().await;
            admin.list_subscribers(asked.clone()).await.unwrap().into_inner().items.is_empty().then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_session_watches_acknowledges_and_stops() {
    let world = World::new().await;
    let mut client = world.client().await;
    let open = pb::Open { client: "billing".into(), ..pb::Open::default() };
    let (mut stream, _) = Stream::open(&mut client, open).await;
    assert!(matches!(stream.call(watch(7, &["orders", "stock"])).await, Reply::Watching(_)));
    for _ in 0..2 {
        let (id, event) = stream.event().await;
        assert_eq!((id, snapshot(&event).exists), (7, false));
    }
    let made = must_register(&mut client, [permanent(item("orders", "a"))]).await.remove(0);
    let (_, put) = stream.event().await;
    assert_eq!(change(&put).put, [made]);
    let acknowledge = pb::Acknowledge {
        watch_id: 7,
        service: "orders".into(),
        revision: put.revision.clone(),
        ..pb::Acknowledge::default()
    };
    assert!(matches!(stream.call(Request::Acknowledge(acknowledge.clone())).await, Reply::Acknowledged(_)));
    let listed = world.registry.subscribers(&compute::model::ServiceKey::new("default", "orders").unwrap());
    assert_eq!(listed.len(), 1);
    assert_eq!((&*listed[0].subscriber.name, &*listed[0].subscriber.door), ("billing", "session"));
    assert_eq!(listed[0].acknowledged.map(|revision| revision.to_string()), Some(put.revision));
    // Without a request id nobody waits for an answer, right or wrong.
    stream.say(0, Request::Acknowledge(pb::Acknowledge { watch_id: 99, ..acknowledge.clone() }));

    let Reply::Problem(twice) = stream.call(watch(7, &["stock"])).await else { panic!("taken twice") };
    assert_eq!(twice.field, "watch_id");
    let wrong = pb::Acknowledge { watch_id: 99, ..acknowledge };
    let Reply::Problem(wrong) = stream.call(Request::Acknowledge(wrong)).await else { panic!("taken") };
    assert_eq!(wrong.field, "watch_id");
    let unwatch = Request::Unwatch(pb::Unwatch { watch_id: 7 });
    assert!(matches!(stream.call(unwatch).await, Reply::Unwatched(pb::Unwatched { watch_id: 7 })));
    must_register(&mut client, [permanent(item("orders", "b"))]).await;
    // The name is free again, and what comes is of the new watch.
    assert!(matches!(stream.call(watch(7, &["stock"])).await, Reply::Watching(_)));
    let (_, event) = stream.event().await;
    assert_eq!(event.service, "stock");
}

#[tokio::test]
async fn a_watch_that_is_refused_is_refused_alone() {
    let world = World::new().await;
    let (mut stream, _) = Stream::new(&world).await;
    let nowhere = pb::WatchRequest { namespace: "nobody".into(), ..of(&[]) };
    let nowhere = Request::Watch(pb::SessionWatch { watch_id: 1, watch: Some(nowhere) });
    let Reply::Problem(refused) = stream.call(nowhere).await else { panic!("not refused") };
    assert_eq!(refused.code, "namespace_not_found");
    assert!(matches!(stream.call(watch(1, &["orders"])).await, Reply::Watching(_)));
    assert_eq!(stream.event().await.1.service, "orders");
}
