//! Two nodes over one log: what the doors of one say of both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use compute::Registry;
use compute::model::{Check, LogIdentity, Position, Revision};
use compute::node::{self, Node, Parts, Readiness};
use compute::port::clock::SystemClock;
use compute::port::prober::{Probed, Prober};
use compute::port::{ChangeLog, Clock, PresenceStore};
use compute::testing::SeededChance;
use compute::testing::change_log::MemoryLog;
use compute::testing::peers::MemoryNetwork;
use compute::testing::store::MemoryStore;
use gateway::admission::Admission;
use gateway::http::Surroundings;
use gateway::listen::{self, Listener, Tls};
use gateway::{grpc, http as door};
use http::{Method, Request};
use http_body_util::BodyExt;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::admin_client::AdminClient;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

use crate::grpc_world::{reason, soon};
use crate::http_reference::Reference;
use crate::http_world::{ORDERS, Reply};

struct AllWell;

#[async_trait]
impl Prober for AllWell {
    async fn probe(&self, _: &str, _: u16, _: &Check) -> Probed {
        Probed::Success
    }
}

struct Company {
    log: Arc<MemoryLog>,
    store: Arc<MemoryStore>,
    network: Arc<MemoryNetwork>,
}

/// A node with both doors.
struct Seat {
    registry: Registry,
    router: Router,
    reference: Reference,
    admin: AdminClient<Channel>,
    _serving: AbortOnDropHandle<()>,
    _node: Node,
}

impl Company {
    async fn of_two() -> (Self, [Seat; 2]) {
        let (log, store) = (MemoryLog::new(LogIdentity([7; 16])), MemoryStore::new());
        let company = Self { log, store, network: MemoryNetwork::new() };
        let seats = [company.join("a", 1).await, company.join("b", 2).await];
        soon(async {
            while seats.iter().any(|seat| seat.registry.status().members.len() < 2) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        (company, seats)
    }

    async fn join(&self, name: &str, seed: u64) -> Seat {
        let (clock, chance) = (SystemClock::new() as Arc<dyn Clock>, SeededChance::new(seed));
        let parts = Parts {
            snapshot: None,
            store: self.store.clone() as Arc<dyn PresenceStore>,
            log: self.log.clone() as Arc<dyn ChangeLog>,
            clock: clock.clone(),
            chance: chance.clone(),
            prober: Arc::new(AllWell),
            peers: Some(self.network.enter(name)),
            journal: None,
        };
        let config = node::Config {
            name: name.into(),
            peer_address: name.into(),
            addresses: vec![("http".into(), format!("{name}:7800").into())],
            version: "1.2.3".into(),
            ..node::Config::default()
        };
        let node = node::start(parts, config).await.expect("the node starts");
        let registry = node.registry();
        self.network.serve(name, Arc::new(registry.clone()));
        let admission = Admission::open(Default::default(), clock.clone()).await.expect("no tokens");
        let surroundings = Surroundings { metrics: Arc::new(String::new), doors: Arc::new(Vec::new), version: "1.2.3" };
        let http = door::Door {
            registry: registry.clone(),
            admission: admission.clone(),
            clock: clock.clone(),
            chance: chance.clone(),
            surroundings,
            config: door::Config::default(),
        };
        let router = http.router();
        let ports = grpc::Ports { registry: registry.clone(), admission, clock: clock.clone(), chance };
        let (admin, serving) = serve(grpc::Door::new(ports, grpc::Config::default()), clock).await;
        let reference = Reference::of(&router).await;
        Seat { registry, router, reference, admin, _serving: serving, _node: node }
    }
}

async fn serve(door: grpc::Door, clock: Arc<dyn Clock>) -> (AdminClient<Channel>, AbortOnDropHandle<()>) {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listening = grpc::Door::listening(listen::Config::default());
    let listener = Listener::bind(grpc::Door::NAMED, loopback, &Tls::Off, listening, clock).await.expect("a free port");
    let addr = listener.local_addr();
    let serving = tokio::spawn(listener.serve(door.answers(), std::future::pending()));
    let channel = Endpoint::from_shared(format!("http://{addr}")).expect("an address").connect().await;
    (AdminClient::new(channel.expect("it listens")), AbortOnDropHandle::new(serving))
}

impl Seat {
    /// Asks over HTTP, and holds the answer against the reference.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        self.ask_with(method, path, body, None).await
    }

    async fn ask_with(&self, method: Method, path: &str, body: Option<Value>, condition: Option<&str>) -> Reply {
        let mut request = Request::builder().method(method.clone()).uri(path).header("host", "127.0.0.1:7800");
        if let Some(condition) = condition {
            request = request.header("if-none-match", condition);
        }
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let response = soon(self.router.clone().oneshot(request.expect("a request"))).await.expect("never fails");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
        let reply = Reply { status: parts.status, headers: parts.headers, body };
        self.reference.check(&method, path, &reply);
        reply
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, None).await.expect(200).json()
    }
}

#[tokio::test]
async fn each_door_of_each_node_shows_both() {
    let (company, [a, b]) = Company::of_two().await;
    for (seat, answering) in [(&a, [true, false]), (&b, [false, true])] {
        let shown = seat.get("/v1/nodes").await;
        let items = shown["items"].as_array().expect("items");
        let each = |name: &str| items.iter().map(|node| node[name].clone()).collect::<Vec<_>>();
        assert_eq!((each("name"), each("state")), (vec![json!("a"), json!("b")], vec![json!("ready"); 2]));
        assert_eq!(
            (each("lander"), each("answering")),
            (vec![json!(true), json!(false)], answering.map(Value::from).to_vec())
        );
        assert_eq!((each("version"), each("answered")), (vec![json!("1.2.3"); 2], vec![json!(true); 2]));
        assert_eq!(items[1]["addresses"], json!({"http": "b:7800"}));
        assert_eq!(shown["unanswered"], json!([]));
        let mut admin = seat.admin.clone();
        let told = admin.list_nodes(pb::ListNodesRequest::default()).await.expect("told").into_inner();
        let names: Vec<_> = told.items.iter().map(|node| (node.name.as_str(), node.answered, node.lander)).collect();
        assert_eq!((names, told.unanswered.len()), (vec![("a", true, true), ("b", true, false)], 0));
    }
    company.network.cut("a", "b");
    let shown = a.get("/v1/nodes").await;
    let of_b = &shown["items"][1];
    assert_eq!(
        (&shown["unanswered"], &of_b["state"], &of_b["answered"]),
        (&json!(["b"]), &json!("unknown"), &json!(false))
    );
    for unknown in ["version", "lag_ms", "leases", "overlay", "unlanded", "isolated"] {
        assert_eq!(of_b[unknown], Value::Null, "{unknown}");
    }
    assert!(of_b["detail"].as_str().is_some_and(|why| why.contains("cut")), "{of_b}");
    let told = a.admin.clone().list_nodes(pb::ListNodesRequest::default()).await.expect("told").into_inner();
    assert_eq!(
        (told.unanswered, told.items[1].state.as_str(), &told.items[1].leases),
        (vec!["b".to_owned()], "unknown", &None)
    );
}

#[tokio::test]
async fn nodes_of_many_come_in_pages() {
    let (_company, [a, _b]) = Company::of_two().await;
    let first = a.get("/v1/nodes?limit=1").await;
    assert_eq!((&first["items"][0]["name"], first["items"].as_array().map(Vec::len)), (&json!("a"), Some(1)));
    let cursor = first["next_cursor"].as_str().expect("there is more").replace('/', "%2F");
    let rest = a.get(&format!("/v1/nodes?limit=1&cursor={cursor}")).await;
    assert_eq!((&rest["items"][0]["name"], &rest["next_cursor"]), (&json!("b"), &Value::Null));
}

#[tokio::test]
async fn either_door_drains_another_node_or_says_why_not() {
    let (company, [a, b]) = Company::of_two().await;
    company.network.cut("a", "b");
    let away = a.ask(Method::POST, "/v1/nodes/b/drain", None).await;
    assert_eq!(away.problem(), (503, "node_away".to_owned()));
    assert!(!away.header("retry-after").is_empty());
    let mut admin = a.admin.clone();
    let drain = |node: &str| pb::DrainNodeRequest { node: node.to_owned() };
    let away = admin.drain_node(drain("b")).await.unwrap_err();
    assert_eq!((away.code(), reason(&away).as_str()), (Code::Unavailable, "node_away"));
    assert_eq!(a.ask(Method::POST, "/v1/nodes/c/drain", None).await.problem(), (404, "node_not_found".to_owned()));
    assert_eq!(reason(&admin.drain_node(drain("c")).await.unwrap_err()), "node_not_found");
    assert_eq!(b.registry.readiness(), Readiness::Ready);
    // What a node has frozen is released without it: that is a change of the log.
    a.ask(Method::POST, "/v1/nodes/b/freeze/release", None).await.expect(200);
    company.network.mend();
    a.ask(Method::POST, "/v1/nodes/b/drain", None).await.expect(202);
    assert_eq!(b.registry.readiness(), Readiness::Draining);
    // No name is the one that is asked.
    admin.drain_node(drain("")).await.expect("told");
    assert_eq!(a.registry.readiness(), Readiness::Draining);
}

#[tokio::test]
async fn who_watches_at_another_node_is_listed_too() {
    let (company, [a, b]) = Company::of_two().await;
    let body = json!({"host": "10.0.0.7", "port": 8080});
    a.ask(Method::PUT, &format!("{ORDERS}/instances/a"), Some(body)).await.expect(201);
    let revision = a.registry.progress().applied.last();
    soon(b.registry.reach(revision)).await.expect("it follows");
    let watch = Request::get(format!("{ORDERS}/watch")).header("host", "localhost").header("x-thuban-client", "w");
    let request = watch.body(Body::empty()).expect("a request");
    let _stream = soon(b.router.clone().oneshot(request)).await.expect("never fails");
    let listed = a.get(&format!("{ORDERS}/subscribers")).await;
    assert_eq!((&listed["items"][0]["client"], &listed["items"][0]["node"]), (&json!("w"), &json!("b")), "{listed}");
    assert_eq!(listed["unanswered"], json!([]));
    let asked = pb::ListSubscribersRequest { service: "orders".into(), ..Default::default() };
    let told = a.admin.clone().list_subscribers(asked.clone()).await.expect("told").into_inner();
    assert_eq!((told.items[0].client.as_str(), told.items[0].node.as_str()), ("w", "b"));
    company.network.cut("a", "b");
    let listed = a.get(&format!("{ORDERS}/subscribers")).await;
    assert_eq!((&listed["items"], &listed["unanswered"]), (&json!([]), &json!(["b"])));
    assert_eq!(a.admin.clone().list_subscribers(asked).await.expect("told").into_inner().unanswered, ["b"]);
}

/// A tag of the node that is ahead: what was before it is not shown, not even by a read that does not wait.
#[tokio::test]
async fn a_tag_of_what_is_not_here_yet_is_waited_for() {
    let (_company, [a, b]) = Company::of_two().await;
    let place = |n: u32| format!("{ORDERS}/instances/i{n}");
    let made = || Some(json!({"host": "127.0.0.1", "port": 80}));
    let at = |reply: &Reply| reply.header("x-thuban-revision").parse::<Revision>().expect("a revision");
    // On a slow machine a register may take longer than the read waits; then it is tried again.
    for n in 0..100 {
        let before = at(&a.ask(Method::PUT, &place(2 * n), made()).await);
        let ahead =
            Position::new(before.position().generation(), before.position().offset() + 1_000).expect("a place").at(0);
        let (condition, new) = (format!("\"{ahead}-0000000000000000\""), place(2 * n + 1));
        let (told, put) =
            tokio::join!(b.ask_with(Method::GET, "/v1/discover?service=orders", None, Some(&condition)), async {
                let clock = SystemClock::new();
                let began = clock.mono_ms();
                let put = a.ask(Method::PUT, &new, made()).await;
                (put, clock.mono_ms() - began)
            });
        if put.1 < 250 {
            let (told, put) = (at(&told), at(&put.0));
            assert!(told >= put, "{told} was shown, and {put} was there before the time was up");
            return;
        }
    }
    panic!("no register was fast enough");
}
