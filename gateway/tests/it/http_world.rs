//! A node over ports in memory behind the HTTP door, and a client that holds every answer against the reference.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use compute::Registry;
use compute::model::{Check, LogIdentity};
use compute::node::{self, Node, Parts};
use compute::port::prober::{Probed, Prober};
use compute::port::{ChangeLog, PresenceStore};
use compute::testing::change_log::{FaultyLog, MemoryLog};
use compute::testing::store::{FaultyStore, MemoryStore};
use compute::testing::{ManualClock, SeededChance};
use gateway::admission::{self, Admission};
use gateway::http::{Config, Door, DoorReport, Surroundings};
use gateway::listen::Tls;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::http_reference::Reference;

/// Real time within which anything must have come about.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Where most tests play.
pub(crate) const ORDERS: &str = "/v1/namespaces/default/services/orders";

struct AllWell;

#[async_trait]
impl Prober for AllWell {
    async fn probe(&self, _: &str, _: u16, _: &Check) -> Probed {
        Probed::Success
    }
}

/// What a test wants of its world.
#[derive(Default)]
pub(crate) struct Wishes {
    pub(crate) config: Config,
    pub(crate) admission: admission::Config,
}

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: Arc<FaultyLog>,
    pub(crate) store: Arc<FaultyStore<MemoryStore>>,
    pub(crate) registry: Registry,
    pub(crate) door: Door,
    router: Router,
    reference: Reference,
    _node: Node,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Wishes::default()).await
    }

    pub(crate) async fn with(wishes: Wishes) -> Self {
        let clock = ManualClock::new();
        let chance = SeededChance::new(1);
        let store = FaultyStore::new(MemoryStore::new(), clock.clone(), chance.clone());
        let log = FaultyLog::over(MemoryLog::new(LogIdentity([7; 16])));
        let parts = Parts {
            snapshot: None,
            store: store.clone() as Arc<dyn PresenceStore>,
            log: log.clone() as Arc<dyn ChangeLog>,
            clock: clock.clone(),
            chance: chance.clone(),
            prober: Arc::new(AllWell),
            peers: None,
            journal: None,
        };
        let node = node::start(parts, node::Config::default()).await.expect("the node starts");
        let registry = node.registry();
        let admission = Admission::open(wishes.admission, clock.clone()).await.expect("a good token file");
        let surroundings = Surroundings {
            metrics: Arc::new(|| "thuban_up 1\n".to_owned()),
            doors: Arc::new(|| {
                vec![DoorReport {
                    name: "nacos".to_owned(),
                    address: None,
                    is_encrypted: false,
                    problem: Some("127.0.0.1:8848 is in use".to_owned()),
                }]
            }),
            version: "0.0.0-test",
        };
        let door = Door {
            registry: registry.clone(),
            admission,
            clock: clock.clone(),
            chance,
            surroundings,
            config: wishes.config,
        };
        let router = door.clone().router();
        let reference = Reference::of(&router).await;
        Self { clock, log, store, registry, door, router, reference, _node: node }
    }

    /// A request that is put together bit by bit.
    pub(crate) fn ask(&self, method: Method, path: &str) -> Asking<'_> {
        Asking { world: self, method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path).send().await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Reply {
        self.ask(Method::PUT, path).json(body).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Reply {
        self.ask(Method::POST, path).json(body).send().await
    }

    pub(crate) async fn patch(&self, path: &str, body: &str) -> Reply {
        self.ask(Method::PATCH, path).json(body).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.ask(Method::DELETE, path).send().await
    }

    /// Registers an instance of `orders` with a TTL lease.
    pub(crate) async fn register(&self, id: &str) -> Reply {
        let reply = self.put(&format!("{ORDERS}/instances/{id}"), r#"{"host":"10.0.0.7","port":8080}"#).await;
        assert!(reply.status.is_success(), "{reply:?}");
        reply
    }

    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }

    /// What `call` comes to while the node's time passes.
    pub(crate) async fn until_done<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        let drive = async {
            loop {
                tokio::select! {
                    biased;
                    done = &mut call => return done,
                    () = tokio::time::sleep(Duration::from_millis(1)) => self.clock.advance(50),
                }
            }
        };
        tokio::time::timeout(SOON, drive).await.expect("it comes about in time")
    }

    /// The node's time.
    pub(crate) fn clock_ms(&self) -> u64 {
        compute::port::Clock::mono_ms(&*self.clock)
    }

    /// Opens a port with the same routes.
    pub(crate) async fn listen(&self, config: Config, tls: &Tls) -> Listening {
        let door = Door { config, ..self.door.clone() };
        let bound = door.bind(SocketAddr::from(([127, 0, 0, 1], 0)), tls).await.expect("a free port");
        let addr = bound.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(bound.serve(async move { drop(stopped.await) }));
        Listening { addr, stop: Some(stop), serving }
    }
}

/// A door with its port open.
pub(crate) struct Listening {
    pub(crate) addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Listening {
    /// Asks it to stop; what comes resolves when it has.
    pub(crate) fn stop(&mut self) -> &mut JoinHandle<()> {
        drop(self.stop.take());
        &mut self.serving
    }
}

pub(crate) struct Asking<'a> {
    world: &'a World,
    method: Method,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Asking<'_> {
    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name, value.as_ref().to_vec()));
        self
    }

    pub(crate) fn json(self, body: impl AsRef<[u8]>) -> Self {
        let asking = self.header("content-type", "application/json");
        asking.body(body)
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method.clone()).uri(self.path.as_str());
        if !self.headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:7800");
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value.as_slice());
        }
        request.body(Body::from(self.body.clone())).expect("a request")
    }

    /// Sends it, and holds the answer against the reference.
    pub(crate) async fn send(self) -> Reply {
        let response = self.world.router.clone().oneshot(self.request()).await.expect("routers never fail");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
        let reply = Reply { status: parts.status, headers: parts.headers, body };
        self.world.reference.check(&self.method, &self.path, &reply);
        reply
    }

    /// Sends it and gives the answer's body as a stream.
    pub(crate) async fn open(self) -> (StatusCode, HeaderMap, Body) {
        let response = self.world.router.clone().oneshot(self.request()).await.expect("routers never fail");
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body)
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("printable"))
    }

    pub(crate) fn etag(&self) -> &str {
        self.header("etag")
    }

    /// Status and code of a problem; it must be one.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status.as_u16(), "{document}");
        (self.status.as_u16(), document["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The field that a problem blames.
    pub(crate) fn field(&self) -> String {
        self.json()["field"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let document = self.json();
        let items = document["items"].as_array().expect("items");
        items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Fails unless it has this status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}
