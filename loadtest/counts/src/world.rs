//! A node, its doors on loopback, and all of it on one thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use compute::Registry;
use compute::command::{Ack, Caller, Command, Outcome};
use compute::model::{Author, InstanceKey, Lease, Provider, ProviderSpec, ServiceKey};
use compute::node::{self, Node, Parts};
use compute::port::Clock;
use compute::testing::SeededChance;
use compute::testing::store::MemoryStore;
use gateway::admission::{self, Admission};
use gateway::http::Surroundings;
use gateway::listen::{self, Listener, Tls};
use gateway::{grpc, http};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::runtime::{Builder, Runtime};

use crate::ports::{NoProber, PassingLog, StillClock};
use crate::span;

/// Longer than any path takes: nothing is done for the time that passes outside.
const NEVER: Duration = Duration::from_secs(86_400);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// As often everybody has a turn until nobody is thought to have anything left to do.
const TURNS: usize = 256;
/// Instances of each service.
pub(crate) const INSTANCES: usize = 10;
const LEASE_MS: u64 = 86_400_000;

pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) registry: Registry,
    pub(crate) clock: Arc<StillClock>,
    admission: Admission,
    chance: Arc<SeededChance>,
    // Its tasks end with the runtime.
    _node: Node,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        // Counters and histograms cost what they cost in a node.
        let _metrics = PrometheusBuilder::new().set_buckets(&[0.001, 0.01, 0.1, 1.0])?.install_recorder()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (clock, chance) = (Arc::new(StillClock::default()), SeededChance::new(1));
        let parts = Parts {
            store: MemoryStore::new(),
            snapshot: None,
            log: Arc::new(PassingLog::default()),
            clock: clock.clone(),
            chance: chance.clone(),
            prober: Arc::new(NoProber),
            peers: None,
            journal: None,
        };
        let (node, admission) = runtime.block_on(async {
            let node = node::start(parts, node::Config::default()).await?;
            let admission = Admission::open(admission::Config::default(), clock.clone()).await?;
            anyhow::Ok((node, admission))
        })?;
        Ok(Self { runtime, registry: node.registry(), clock, admission, chance, _node: node })
    }

    /// With [`INSTANCES`] instances in each of as many services.
    pub(crate) fn with(services: usize) -> Result<Self> {
        let world = Self::new()?;
        let places: Vec<_> = (0..services * INSTANCES).collect();
        for some in places.chunks(1_000) {
            let commands = some.iter().map(|place| register(place / INSTANCES, *place)).collect();
            world.runtime.block_on(world.submit(commands))?;
        }
        Ok(world)
    }

    /// Counts what `work` costs, and everything that this thread does for it.
    pub(crate) fn count<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let (mut work, mut done) = (Some(work), None);
        span::counted(&mut || done = work.take().map(|work| self.runtime.block_on(work)));
        done.context("it was run once")?
    }

    /// Lets time pass, and what is due with it be done.
    pub(crate) fn pass(&self, ms: u64) {
        self.runtime.block_on(async {
            self.clock.advance(ms);
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        });
    }

    pub(crate) async fn submit(&self, commands: Vec<Command>) -> Result<Vec<Outcome>> {
        let outcomes = self.registry.submit(&caller(), Ack::Log, commands).await;
        Ok(outcomes.into_iter().collect::<Result<_, _>>()?)
    }

    /// Opens the HTTP door; where it listens.
    pub(crate) fn http(&self) -> Result<SocketAddr> {
        let surroundings = Surroundings {
            metrics: Arc::new(String::new),
            doors: Arc::new(Vec::new),
            version: env!("CARGO_PKG_VERSION"),
        };
        let door = http::Door {
            registry: self.registry.clone(),
            admission: self.admission.clone(),
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            surroundings,
            config: http::Config { listen: listening(), ..http::Config::default() },
        };
        self.runtime.block_on(async {
            let bound = door.bind(LOOPBACK, &Tls::default()).await?;
            let address = bound.local_addr();
            tokio::spawn(bound.serve(std::future::pending()));
            Ok(address)
        })
    }

    /// Opens the gRPC door; where it listens.
    pub(crate) fn grpc(&self) -> Result<SocketAddr> {
        let ports = grpc::Ports {
            registry: self.registry.clone(),
            admission: self.admission.clone(),
            clock: self.clock.clone(),
            chance: self.chance.clone(),
        };
        let door = grpc::Door::new(ports, grpc::Config::default());
        self.runtime.block_on(async {
            let clock: Arc<dyn Clock> = self.clock.clone();
            let config = grpc::Door::listening(listening());
            let listener = Listener::bind(grpc::Door::NAMED, LOOPBACK, &Tls::default(), config, clock).await?;
            let address = listener.local_addr();
            tokio::spawn(listener.serve(door.answers(), std::future::pending()));
            Ok(address)
        })
    }
}

/// Pings go by the machine's time, so there are none.
fn listening() -> listen::Config {
    listen::Config { ping_interval: NEVER, ping_timeout: NEVER, ..listen::Config::default() }
}

pub(crate) fn caller() -> Caller {
    Caller { author: Author::new("somebody", "counts"), is_operator: false }
}

pub(crate) fn service_name(service: usize) -> String {
    format!("orders-{service}")
}

pub(crate) fn service(service: usize) -> ServiceKey {
    ServiceKey::new("default", &service_name(service)).expect("a good name")
}

pub(crate) fn key(service: usize, place: usize) -> InstanceKey {
    InstanceKey::new("default", &service_name(service), &format!("i-{place}")).expect("good names")
}

pub(crate) fn register(service: usize, place: usize) -> Command {
    let provider = Box::new(provider(place, "1.4.2"));
    Command::Register { instance: key(service, place), provider, epoch: None, generation: None }
}

/// What the benchmark registers, too: five keys of metadata, and a lease that does not lapse meanwhile.
pub(crate) fn provider(place: usize, version: &str) -> Provider {
    let metadata = (0..5).map(|key| (format!("key-{key}"), format!("value-{key}-{}", place % 97)));
    let spec = ProviderSpec {
        version: version.to_owned(),
        zone: "eu-1a".to_owned(),
        metadata: metadata.collect(),
        lease: Lease::ttl(LEASE_MS, LEASE_MS).expect("a day is a good lease"),
        ..ProviderSpec::at(format!("10.0.{}.{}", place / 250 % 250, place % 250), 8080)
    };
    Provider::new(&spec).expect("a good provider")
}
