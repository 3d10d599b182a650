//! The doors of a node that has started without its log: reads, with a mark, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use compute::Registry;
use compute::node::{self, Stale};
use compute::testing::SeededChance;
use gateway::booting;
use gateway::grpc;
use gateway::http::Door;
use gateway::listen::{Listener, Opening, Tls};
use http::{Method, Request, StatusCode};
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::registry_client::RegistryClient;
use tonic::Code;
use tonic::transport::Endpoint;
use tower::ServiceExt;

use crate::http_world::{ORDERS, World};

/// A node that has landed one instance, and what is shown of that without a log.
async fn landed() -> (World, Registry) {
    let world = World::new().await;
    world.register("a").await;
    let wanted = world.registry.progress().applied;
    world
        .until_done(async {
            while world.registry.progress().landed < wanted {
                tokio::task::yield_now().await;
            }
        })
        .await;
    let stale =
        Stale { store: world.store.clone(), snapshot: None, clock: world.clock.clone(), chance: SeededChance::new(9) };
    let shown = stale.serve(&node::Config::default()).await.expect("there are rows");
    (world, shown)
}

#[tokio::test]
async fn http_answers_reads_with_a_mark_and_refuses_all_else() {
    let (world, shown) = landed().await;
    let router = Door { registry: shown, ..world.door.clone() }.router();
    let instances = format!("{ORDERS}/instances");
    let one = format!("{instances}/a");
    let body = r#"{"host":"10.0.0.7","port":8080}"#;
    for (method, path, body, wanted) in [
        (Method::GET, instances.clone(), "", 200),
        (Method::GET, format!("{instances}?usable=true"), "", 200),
        (Method::GET, one.clone(), "", 200),
        (Method::GET, "/v1/discover?service=orders".to_owned(), "", 200),
        (Method::GET, "/v1/namespaces/default/services".to_owned(), "", 200),
        (Method::GET, "/v1/status".to_owned(), "", 200),
        (Method::GET, format!("{ORDERS}/watch"), "", 503),
        (Method::GET, "/v1/watch?service=orders".to_owned(), "", 503),
        (Method::GET, "/readyz".to_owned(), "", 503),
        (Method::PUT, one.clone(), body, 503),
        (Method::DELETE, one.clone(), "", 503),
        (Method::POST, format!("{one}/renew"), "", 503),
    ] {
        let request = Request::builder().method(&method).uri(&path).header("host", "localhost");
        let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), wanted, "{method} {path}");
        let mark = response.headers().get("x-thuban-stale").map(|mark| mark.to_str().unwrap());
        assert_eq!(mark, (path != "/readyz").then_some("true"), "{method} {path}");
    }
    let whole = world.get(&instances).await;
    assert_eq!(whole.header("x-thuban-stale"), "", "one that has its log says nothing of it");
}

/// Nothing changes there that could be waited for.
#[tokio::test]
async fn no_read_is_held() {
    let (world, shown) = landed().await;
    let router = Door { registry: shown, ..world.door.clone() }.router();
    let etag = world.get(&format!("{ORDERS}/instances")).await.header("etag").to_owned();
    let request = Request::get(format!("{ORDERS}/instances?wait_ms=60000")).header("host", "localhost");
    let request = request.header("if-none-match", etag).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_connection_sees_the_node_boot_then_stale_then_whole() {
    let (world, shown) = landed().await;
    let (clock, admission) = (world.clock.clone(), world.door.admission.clone());
    let door = |registry: Registry| {
        let (clock, chance) = (clock.clone(), SeededChance::new(9));
        let ports = grpc::Ports { registry, admission: admission.clone(), clock, chance };
        grpc::Door::new(ports, grpc::Config::default())
    };
    let opening = Opening::closed(booting::grpc(Arc::new(|| "it boots".to_owned())));
    let (loopback, listening) = (SocketAddr::from(([127, 0, 0, 1], 0)), grpc::Door::listening(Default::default()));
    let listener = Listener::bind(grpc::Door::NAMED, loopback, &Tls::Off, listening, clock.clone()).await.unwrap();
    let address = listener.local_addr();
    let serving = tokio::spawn(listener.serve(opening.clone(), std::future::pending()));
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.expect("it listens");
    let mut client = RegistryClient::new(channel);
    let asked = pb::DiscoverRequest { service: "orders".into(), ..Default::default() };
    let refused = client.discover(asked.clone()).await.expect_err("it boots");
    assert_eq!(refused.code(), Code::Unavailable);

    opening.open_meanwhile(&door(shown).answers());
    let reply = client.discover(asked.clone()).await.expect("stale, and answered");
    assert_eq!(reply.metadata().get("thuban-stale").map(|mark| mark.to_str().unwrap()), Some("true"));
    let reply = reply.into_inner();
    assert_eq!((reply.items.len(), reply.stale), (1, true));
    let held = pb::DiscoverRequest { if_none_match: Some(reply.etag), wait_ms: 60_000, ..asked.clone() };
    assert_eq!(client.discover(held).await.expect_err("it is not held").code(), Code::Unavailable);
    let watched = client.watch(pb::WatchRequest::default()).await.map(drop);
    assert_eq!(watched.expect_err("there is nothing to watch").code(), Code::Unavailable);
    let renewed = client.renew(pb::RenewRequest::default()).await.map(drop);
    assert_eq!(renewed.expect_err("nothing is decided").code(), Code::Unavailable);

    opening.open(door(world.registry.clone()).answers());
    let reply = client.discover(asked).await.expect("whole");
    assert!(reply.metadata().get("thuban-stale").is_none());
    assert_eq!((reply.get_ref().items.len(), reply.get_ref().stale), (1, false));
    serving.abort();
}
