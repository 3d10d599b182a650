//! A node over ports in memory behind a real gRPC listener, and clients that call it over loopback.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use compute::Registry;
use compute::model::{Check, LogIdentity};
use compute::node::{self, Node, Parts};
use compute::port::ChangeLog;
use compute::port::prober::{Probed, Prober};
use compute::testing::change_log::{FaultyLog, MemoryLog};
use compute::testing::store::MemoryStore;
use compute::testing::{ManualClock, SeededChance};
use gateway::admission::{self, Admission};
use gateway::grpc::{Config, Door, Ports};
use gateway::listen::{self, Listener, Tls};
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::admin_client::AdminClient;
use schemas::thuban::v1::registry_client::RegistryClient;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;

/// Real time within which anything must have come about.
pub(crate) const SOON: Duration = Duration::from_secs(20);

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
    pub(crate) listen: listen::Config,
    pub(crate) admission: admission::Config,
    pub(crate) tls: Tls,
}

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: Arc<FaultyLog>,
    pub(crate) registry: Registry,
    pub(crate) addr: SocketAddr,
    pub(crate) door: Door,
    node: Option<Node>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Wishes::default()).await
    }

    pub(crate) async fn with(wishes: Wishes) -> Self {
        let clock = ManualClock::new();
        let chance = SeededChance::new(1);
        let log = FaultyLog::over(MemoryLog::new(LogIdentity([7; 16])));
        let parts = Parts {
            snapshot: None,
            store: MemoryStore::new(),
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
        let ports = Ports { registry: registry.clone(), admission, clock: clock.clone(), chance };
        let door = Door::new(ports, wishes.config);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listening = Door::listening(wishes.listen);
        let listener = Listener::bind(Door::NAMED, loopback, &wishes.tls, listening, clock.clone()).await;
        let listener = listener.expect("a free port");
        let addr = listener.local_addr();
        let (stop, stopped) = oneshot::channel();
        let answers = door.answers();
        let serving = tokio::spawn(listener.serve(answers, async move { drop(stopped.await) }));
        Self { clock, log, registry, addr, door, node: Some(node), stop: Some(stop), serving }
    }

    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.addr)).unwrap().connect().await.expect("it listens")
    }

    pub(crate) async fn client(&self) -> RegistryClient<Channel> {
        RegistryClient::new(self.channel().await)
    }

    pub(crate) async fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel().await)
    }

    /// Moves the node's time on until `check` finds what it wants.
    pub(crate) async fn until<T, F: Future<Output = Option<T>>>(&self, mut check: impl FnMut() -> F) -> T {
        let search = async {
            loop {
                if let Some(found) = check().await {
                    return found;
                }
                self.clock.advance(50);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON, search).await.expect("it comes about in time")
    }

    /// The same without moving the node's time.
    pub(crate) async fn becomes<T, F: Future<Output = Option<T>>>(&self, mut check: impl FnMut() -> F) -> T {
        let search = async {
            loop {
                if let Some(found) = check().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON, search).await.expect("it comes about in time")
    }

    /// What a call comes to that needs the node's time to pass.
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

    /// The listener's shutdown, as the process does it: drain the node, stop accepting, wait for what runs.
    pub(crate) async fn shut_down(mut self) {
        self.registry.drain();
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        soon(&mut self.serving).await.expect("the listener ends by itself");
        soon(self.door.closed()).await;
        if let Some(node) = self.node.take() {
            soon(node.stop()).await;
        }
    }
}

/// What comes about in real time, or the test fails.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.expect("it comes about in time")
}

pub(crate) fn item(service: &str, id: &str) -> pb::RegisterItem {
    pb::RegisterItem {
        service: service.into(),
        id: id.into(),
        host: "10.0.0.7".into(),
        port: Some(8080),
        ..pb::RegisterItem::default()
    }
}

pub(crate) fn register(items: impl IntoIterator<Item = pb::RegisterItem>) -> pb::RegisterRequest {
    pb::RegisterRequest { items: items.into_iter().collect(), ..pb::RegisterRequest::default() }
}

pub(crate) fn key(service: &str, id: &str) -> pb::InstanceKey {
    pb::InstanceKey { service: service.into(), id: id.into(), ..pb::InstanceKey::default() }
}

pub(crate) fn deregister(items: impl IntoIterator<Item = pb::InstanceKey>) -> pb::DeregisterRequest {
    pb::DeregisterRequest { items: items.into_iter().collect(), ..pb::DeregisterRequest::default() }
}

pub(crate) fn renew(items: impl IntoIterator<Item = pb::InstanceKey>) -> pb::RenewRequest {
    pb::RenewRequest { items: items.into_iter().collect() }
}

pub(crate) fn ask(service: &str) -> pb::DiscoverRequest {
    pb::DiscoverRequest { service: service.into(), ..pb::DiscoverRequest::default() }
}

pub(crate) fn permanent(mut item: pb::RegisterItem) -> pb::RegisterItem {
    let kind = pb::lease::Kind::Permanent.into();
    item.lease = Some(pb::Lease { kind, ..pb::Lease::default() });
    item
}

/// The instance of an outcome that was good.
pub(crate) fn made(outcome: &pb::RegisterOutcome) -> &pb::Instance {
    match &outcome.outcome {
        Some(pb::register_outcome::Outcome::Instance(instance)) => instance,
        other => panic!("not registered: {other:?}"),
    }
}

pub(crate) fn problem(outcome: &pb::RegisterOutcome) -> &pb::Problem {
    match &outcome.outcome {
        Some(pb::register_outcome::Outcome::Problem(problem)) => problem,
        other => panic!("not refused: {other:?}"),
    }
}

/// The stable code that a status carries.
pub(crate) fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|reason| reason.reason.clone()).unwrap_or_default()
}

/// The field that it blames.
pub(crate) fn field(status: &Status) -> String {
    let details = status.get_error_details();
    let named = details.error_info().and_then(|reason| reason.metadata.get("field").cloned());
    let violated = details.bad_request().map(|wrong| wrong.field_violations[0].field.clone());
    assert_eq!(named, violated);
    named.unwrap_or_default()
}

pub(crate) async fn ids(client: &mut RegistryClient<Channel>, service: &str) -> Vec<String> {
    let found = client.discover(ask(service)).await.expect("answered").into_inner();
    found.items.into_iter().map(|item| item.id).collect()
}

pub(crate) async fn must_register(
    client: &mut RegistryClient<Channel>,
    items: impl IntoIterator<Item = pb::RegisterItem>,
) -> Vec<pb::Instance> {
    let reply = client.register(register(items)).await.expect("answered").into_inner();
    reply.items.iter().map(|outcome| made(outcome).clone()).collect()
}

/// A token file's content, of names, tokens and their rights.
pub(crate) fn token_lines(tokens: &[(&str, &str, &str)]) -> String {
    let line = |(name, token, rights): &(&str, &str, &str)| {
        let hash = <sha2::Sha256 as sha2::Digest>::digest(token);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name} {hex} {rights}\n")
    };
    tokens.iter().map(line).collect()
}

/// A request that brings a token.
pub(crate) fn with<T>(token: &str, asked: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(asked);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}
