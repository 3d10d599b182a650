use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::http_world::{ORDERS, SOON, World};

/// One event as a client reads it.
#[derive(Debug, Default, Clone, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
    retry: Option<u64>,
}

struct Stream<'a> {
    world: &'a World,
    body: Body,
    text: String,
    is_first: bool,
}

impl<'a> Stream<'a> {
    async fn open(world: &'a World, path: &str) -> Self {
        Self::with(world, path, &[]).await
    }

    async fn with(world: &'a World, path: &str, headers: &[(&'static str, &str)]) -> Self {
        let asking =
            headers.iter().fold(world.ask(Method::GET, path), |asking, (name, value)| asking.header(name, value));
        let (status, headers, body): (StatusCode, HeaderMap, Body) = asking.open().await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["cache-control"], "no-store");
        assert!(headers.contains_key("x-thuban-revision"));
        Self { world, body, text: String::new(), is_first: true }
    }

    /// The next block of lines, held against the reference; `None`: the stream has ended.
    async fn piece(&mut self) -> Option<Event> {
        let read = async {
            loop {
                if let Some((block, rest)) = self.text.split_once("\n\n") {
                    let event = parse(block);
                    self.text = rest.to_owned();
                    return Some(event);
                }
                let frame = self.body.frame().await?.expect("no error");
                self.text.push_str(std::str::from_utf8(&frame.into_data().expect("data")).expect("text"));
            }
        };
        let event = tokio::time::timeout(SOON, self.world.until_done(read)).await.expect("in time")?;
        if std::mem::take(&mut self.is_first) {
            let is_told = event.retry.is_some_and(|wait| (500..=3_000).contains(&wait));
            assert!(is_told && !event.name.is_empty(), "the first event says when to come back: {event:?}");
        }
        let shape = match event.name.as_str() {
            "snapshot" => "WatchSnapshot",
            "change" => "WatchChange",
            "progress" | "compacted" => "WatchMark",
            _ => return Some(event),
        };
        let reference = self.world.reference();
        let schema = json!({ "$ref": format!("#/components/schemas/{shape}") });
        reference.valid(&event.data, &schema, shape).unwrap_or_else(|wrong| panic!("{wrong}: {event:?}"));
        Some(event)
    }

    /// The next event that is no progress.
    async fn next(&mut self) -> Event {
        loop {
            let event = self.piece().await.expect("it goes on");
            if event.name != "progress" {
                return event;
            }
            assert_eq!(event.id.as_deref(), event.data["revision"].as_str());
        }
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        let (field, value) = line.split_once(": ").expect("a field");
        match field {
            "event" => event.name = value.to_owned(),
            "id" => event.id = Some(value.to_owned()),
            "data" => event.data = serde_json::from_str(value).expect("JSON"),
            "retry" => event.retry = value.parse().ok(),
            other => panic!("unknown field {other}"),
        }
    }
    event
}

#[tokio::test]
async fn a_service_is_followed_from_before_it_exists_to_after() {
    let world = World::new().await;
    let mut stream = Stream::open(&world, &format!("{ORDERS}/watch")).await;
    let snapshot = stream.next().await;
    assert_eq!((snapshot.name.as_str(), &snapshot.data["exists"]), ("snapshot", &json!(false)));
    let registered = world.register("a").await.json();
    let change = stream.next().await;
    assert_eq!(change.name, "change");
    assert_eq!(change.id.as_deref(), change.data["to"].as_str());
    assert_eq!(change.data["put"], json!([registered]));
    assert_eq!(change.data["exists"], true);
    let digest = world.get(&format!("{ORDERS}/instances")).await.json()["digest"].clone();
    assert_eq!(change.data["digest"], digest);
    world.delete(&format!("{ORDERS}/instances/a")).await.expect(204);
    let removal = stream.next().await;
    let removed = &removal.data["removed"][0];
    assert_eq!((&removed["id"], &removed["reason"]), (&json!("a"), &json!("deregistered")));
    assert_eq!(removed["author"], "anonymous");
    assert_eq!(removal.data["put"], json!([]));
    world.delete(ORDERS).await.expect(204);
    assert_eq!(stream.next().await.data["exists"], false);
}

#[tokio::test]
async fn a_snapshot_has_what_discover_answers() {
    let world = World::new().await;
    world.register("a").await;
    world.register("b").await;
    let mut stream = Stream::open(&world, &format!("{ORDERS}/watch")).await;
    let mut data = stream.next().await.data;
    let fields = data.as_object_mut().unwrap();
    assert_eq!(fields.remove("complete"), Some(json!(true)));
    assert!(fields.remove("to").is_some());
    assert_eq!(data, world.get(&format!("{ORDERS}/instances")).await.json());
}

#[tokio::test]
async fn a_watcher_goes_on_where_it_was() {
    let world = World::new().await;
    world.register("a").await;
    let mut stream = Stream::open(&world, &format!("{ORDERS}/watch")).await;
    let last = stream.next().await.id.expect("a whole snapshot has an id");
    drop(stream);
    world.register("b").await;
    let path = format!("{ORDERS}/watch");
    let mut by_header = Stream::with(&world, &path, &[("last-event-id", &last)]).await;
    let mut by_query = Stream::open(&world, &format!("{path}?from={last}")).await;
    let etag = format!("{path}?from=%22{last}-0123%22");
    let mut by_etag = Stream::open(&world, &etag).await;
    // The header is newer than what the address says: a browser reconnects to the same address.
    let newest = world.get(&format!("{ORDERS}/instances")).await.json()["revision"].as_str().unwrap().to_owned();
    let mut both = Stream::with(&world, &format!("{path}?from={last}"), &[("last-event-id", &newest)]).await;
    for stream in [&mut by_header, &mut by_query, &mut by_etag] {
        let change = stream.next().await;
        assert_eq!((change.name.as_str(), &change.data["from"]), ("change", &json!(last)));
        assert_eq!(change.data["put"][0]["id"], "b");
    }
    world.register("c").await;
    assert_eq!(both.next().await.data["put"][0]["id"], "c");
}

#[tokio::test]
async fn a_filter_shows_what_comes_to_match_and_what_no_longer_does() {
    let world = World::new().await;
    world.register("a").await;
    let mut stream = Stream::open(&world, &format!("{ORDERS}/watch?usable=true")).await;
    assert_eq!(stream.next().await.data["items"].as_array().unwrap().len(), 1);
    let operate = format!("{ORDERS}/instances/a/operator");
    world.patch(&operate, r#"{"isolated":true}"#).await.expect(200);
    let change = stream.next().await;
    assert_eq!(change.data["removed"], json!([{ "id": "a", "reason": "filtered", "author": null }]));
    world.patch(&operate, r#"{"isolated":null}"#).await.expect(200);
    assert_eq!(stream.next().await.data["put"][0]["id"], "a");
}

#[tokio::test]
async fn a_namespace_is_one_chain_and_only_its_whole_snapshot_has_an_id() {
    let world = World::new().await;
    world.register("a").await;
    world.put("/v1/namespaces/default/services/other/instances/x", r#"{"host":"h","port":1}"#).await.expect(201);
    let mut stream = Stream::open(&world, "/v1/namespaces/default/watch").await;
    let (first, second) = (stream.next().await, stream.next().await);
    assert_eq!((&first.data["complete"], &second.data["complete"]), (&json!(false), &json!(true)));
    assert_eq!((first.id.is_some(), second.id.is_some()), (false, true));
    assert_eq!((&first.data["service"], &second.data["service"]), (&json!("orders"), &json!("other")));
    world.register("b").await;
    let change = stream.next().await;
    assert_eq!((&change.data["service"], &change.data["put"][0]["id"]), (&json!("orders"), &json!("b")));
    let last = change.id.unwrap();
    world.put("/v1/namespaces/default/services/other/instances/y", r#"{"host":"h","port":1}"#).await.expect(201);
    let mut resumed = Stream::with(&world, "/v1/watch", &[("last-event-id", &last)]).await;
    let change = resumed.next().await;
    assert_eq!((&change.data["service"], &change.data["from"]), (&json!("other"), &json!(last)));
    world.put("/v1/namespaces/team", "{}").await.expect(201);
    let mut empty = Stream::open(&world, "/v1/watch?namespace=team").await;
    let snapshot = empty.next().await;
    assert_eq!((&snapshot.data["service"], &snapshot.data["items"]), (&json!(null), &json!([])));
    assert!(snapshot.id.is_some());
}

#[tokio::test]
async fn progress_comes_when_nothing_else_does() {
    let world = World::new().await;
    let mut stream = Stream::open(&world, "/v1/watch?service=orders").await;
    assert_eq!(stream.next().await.name, "snapshot");
    let progress = stream.piece().await.expect("it goes on");
    assert_eq!(progress.name, "progress");
    assert_eq!(progress.id.as_deref(), progress.data["revision"].as_str());
}

#[tokio::test]
async fn who_watches_is_listed_until_it_goes() {
    let world = World::new().await;
    world.register("a").await;
    let path = format!("{ORDERS}/subscribers");
    assert_eq!(world.get(&path).await.expect(200).json()["items"], json!([]));
    let mut named = Stream::with(&world, &format!("{ORDERS}/watch"), &[("x-thuban-client", "billing")]).await;
    let mut other = Stream::open(&world, &format!("{ORDERS}/watch")).await;
    named.next().await;
    other.next().await;
    let listed = world.get(&format!("{path}?limit=1")).await.expect(200).json();
    let next = listed["next_cursor"].as_str().unwrap().to_owned();
    let rest = world.get(&format!("{path}?limit=1&cursor={next}")).await.expect(200).json();
    let mut names = [&listed, &rest].map(|page| page["items"][0]["client"].as_str().unwrap().to_owned());
    names.sort();
    assert_eq!(names, ["anonymous", "billing"]);
    assert_eq!(rest["next_cursor"], json!(null));
    assert_eq!(listed["items"][0]["door"], "http");
    drop((named, other));
    world
        .until_done(async {
            while world.get(&path).await.json()["items"] != json!([]) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_drain_ends_streams_and_says_when_to_come_back() {
    let world = World::new().await;
    let mut stream = Stream::open(&world, &format!("{ORDERS}/watch")).await;
    stream.next().await;
    world.registry.drain();
    let mut last = None;
    while let Some(event) = stream.piece().await {
        last = Some(event);
    }
    let retry = last.and_then(|event| event.retry).expect("the last word is when to come back");
    assert!((500..=3_000).contains(&retry), "{retry}");
    world
        .until_done(async {
            while world.get("/readyz").await.status != 503 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    let refused = world.get(&format!("{ORDERS}/watch")).await;
    assert_eq!(refused.problem(), (503, "not_ready".to_owned()));
}
