//! `thuban serve`: the one place that names concrete parts, puts them together, and takes them apart in order.
//!
//! Order of start: configuration, logs, directory, doors (which answer that the node boots), store and log, node, and
//! then the doors open and the ready line is printed. Order of end: nothing new, doors, node, store and log.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use compute::Registry;
use compute::node::Node;
use compute::port::clock::SystemClock;
use compute::port::{Chance, Clock, Peers};
use gateway::admission::Admission;
use gateway::http::Surroundings;
use gateway::peer::GrpcPeers;
use gateway::{grpc, http, peer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::chance::SystemChance;
use crate::config::{self, Config, Environment, Flags, Loaded, Settings};
use crate::doors::{Doors, Stage};
use crate::durable::Durable;
use crate::ending::Ending;
use crate::home::Home;
use crate::meanwhile::Meanwhile;
use crate::shutdown::Signals;
use crate::{company, descriptors, durable, logging, vitals};

/// How often the recorder of metrics puts its books in order.
const UPKEEP: Duration = Duration::from_secs(5);
/// For threads that are still in a system call when all is done.
const THREADS_TIMEOUT: Duration = Duration::from_secs(2);
/// For what was applied to land once the doors are closed; what does not is in the log, and lands after the next start.
const LAND_TIMEOUT: Duration = Duration::from_secs(10);
/// For the clients of the store and the log to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn serve(flags: &Flags) -> ExitCode {
    let Loaded { settings, config } = config::load(flags, &Environment::of_process());
    let config = match config {
        Ok(config) => config,
        Err(wrongs) => {
            logging::complain(format_args!("error: {wrongs}"));
            return Ending::from(wrongs).code();
        }
    };
    logging::start(&config.logging);
    match run(config, &settings) {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(ending) => {
            tracing::error!(error = %ending, "ended");
            ending.code()
        }
    }
}

fn run(config: Config, settings: &Settings) -> Result<(), Ending> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("thuban").build();
    let runtime = runtime.map_err(|error| Ending::Machine(format!("no runtime: {error}")))?;
    let ended = runtime.block_on(live(config, settings));
    runtime.shutdown_timeout(THREADS_TIMEOUT);
    ended
}

/// The node's life.
async fn live(mut config: Config, settings: &Settings) -> Result<(), Ending> {
    let mut signals = Signals::listen().map_err(|error| Ending::Machine(format!("no signals: {error}")))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), node = %config.node.name, "starting");
    let clock: Arc<dyn Clock> = SystemClock::new();
    descriptors::fit(&mut config);
    config::verify(&config, &clock).await?;
    let _home = Home::take(&config.data_dir)?;
    let recorder = vitals::record().map_err(|error| Ending::Machine(format!("no metrics: {error}")))?;
    vitals::show_limits(settings, &config);
    let _upkeep = upkeep(recorder.clone());
    let chance: Arc<dyn Chance> = Arc::new(SystemChance);
    let admission = Admission::open(config.admission.clone(), Arc::clone(&clock)).await?;
    if admission.token_count() == Some(0) {
        tracing::warn!("the token file has no token: nobody may call this node until it has one");
    }
    let stage = Stage::new(Arc::clone(&clock), "opening the doors");
    let doors = Doors::bind(&config, &clock, &stage).await?;
    let gossip = company::bind(&config).await?;
    let peers = config.cluster.as_ref().map(|cluster| GrpcPeers::new(cluster.peers.clone(), Arc::clone(&clock)));
    company::advertise(&mut config, &doors);
    let ports = Ports { config, clock, chance, admission, recorder };
    let open = |registry| ports.open_meanwhile(&doors, registry);
    let around = durable::Surroundings {
        clock: &ports.clock,
        chance: &ports.chance,
        stage: &stage,
        peers: peers.clone().map(|peers| peers as Arc<dyn Peers>),
        meanwhile: ports.config.serve_stale.then(|| ports.meanwhile(&open)),
    };
    let booted = signals.unless(boot(&ports.config, &around)).await;
    let Some((durable, node)) = booted.transpose()? else {
        doors.close().await;
        return Ok(());
    };
    let grpc = ports.open(&doors, &node);
    let _gossip = match gossip.zip(peers) {
        Some((bound, peers)) => {
            let around = (Arc::clone(&ports.clock), ports.chance.as_ref());
            company::gossip(&ports.config, (&doors, bound), (node.registry(), peers), around).await?
        }
        None => None,
    };
    let failure = until_asked(&mut signals, node).await;
    let closing = close(&ports, doors, grpc, failure, &durable);
    signals.unless(closing).await.unwrap_or(Err(Ending::Cut))
}

async fn boot(config: &Config, around: &durable::Surroundings<'_>) -> Result<(Durable, Node), Ending> {
    let durable = Durable::open(config, around).await?;
    let node = durable.start(config, around).await?;
    if let Some(why) = node.registry().disbelieved().await {
        tokio::select! {
            () = node.stop() => {}
            () = around.clock.sleep(CLOSE_TIMEOUT) => {}
        }
        durable.close().await;
        return Err(Ending::Stranger(why));
    }
    Ok((durable, node))
}

/// What the doors stand on, beside the node.
struct Ports {
    config: Config,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    admission: Admission,
    recorder: PrometheusHandle,
}

impl Ports {
    /// Opens the doors onto the node, and says so.
    fn open(&self, doors: &Doors, node: &Node) -> grpc::Door {
        let (http, grpc) = self.native(doors, node.registry());
        let peer = self.config.cluster.as_ref().map(|cluster| {
            let host = Arc::new(node.registry());
            peer::Door::new(host, cluster.peers.clone(), Arc::clone(&self.clock)).answers()
        });
        doors.open(http.answers(), grpc.answers(), peer);
        let line = doors.ready_line();
        tracing::info!("{line}");
        // Whoever started this may not listen any more, and that is no reason to end.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        grpc
    }

    /// How the doors are opened onto what has landed, while there is no log.
    fn meanwhile<'a>(&'a self, open: &'a (dyn Fn(Registry) + Send + Sync)) -> Meanwhile<'a> {
        let (clock, chance, is_open) = (&self.clock, &self.chance, AtomicBool::new(false));
        Meanwhile { node: &self.config.node, clock, chance, open, is_open }
    }

    fn open_meanwhile(&self, doors: &Doors, registry: Registry) {
        let (http, grpc) = self.native(doors, registry);
        doors.open_meanwhile(&http.answers(), &grpc.answers());
    }

    fn native(&self, doors: &Doors, registry: Registry) -> (http::Door, grpc::Door) {
        let http = http::Door {
            registry: registry.clone(),
            admission: self.admission.clone(),
            clock: Arc::clone(&self.clock),
            chance: Arc::clone(&self.chance),
            surroundings: self.surroundings(doors),
            config: http::Config {
                listen: self.config.listen.clone(),
                hosts: self.config.hosts.clone(),
                ..http::Config::default()
            },
        };
        let ports = grpc::Ports {
            registry,
            admission: self.admission.clone(),
            clock: Arc::clone(&self.clock),
            chance: Arc::clone(&self.chance),
        };
        (http, grpc::Door::surrounded(ports, grpc::Config::default(), Some(self.surroundings(doors))))
    }

    fn surroundings(&self, doors: &Doors) -> Surroundings {
        let (recorder, reports) = (self.recorder.clone(), doors.reports());
        Surroundings {
            metrics: Arc::new(move || recorder.render() + &vitals::text()),
            doors: Arc::new(move || reports.clone()),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn upkeep(recorder: PrometheusHandle) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut turns = tokio::time::interval(UPKEEP);
        loop {
            turns.tick().await;
            recorder.run_upkeep();
        }
    }))
}

/// The node as it was when somebody asked to stop, or why it ended by itself.
async fn until_asked(signals: &mut Signals, mut node: Node) -> Result<Node, Ending> {
    match signals.unless(node.failed()).await {
        None => {
            // Watchers and sessions are told to go elsewhere while their connections still stand.
            node.registry().drain();
            Ok(node)
        }
        Some(failure) => Err(Ending::Durable(failure.to_string())),
    }
}

async fn close(
    ports: &Ports,
    doors: Doors,
    grpc: grpc::Door,
    node: Result<Node, Ending>,
    durable: &Durable,
) -> Result<(), Ending> {
    let node = match node {
        Ok(node) => node,
        Err(failure) => {
            tracing::error!(error = %failure, "the node can't go on");
            doors.close().await;
            durable.close().await;
            return Err(failure);
        }
    };
    doors.close().await;
    grpc.closed().await;
    tracing::info!("doors closed");
    tokio::select! {
        () = node.stop() => tokio::select! {
            () = durable.close() => {}
            () = ports.clock.sleep(CLOSE_TIMEOUT) => tracing::warn!("the store or the log did not close in time"),
        },
        () = ports.clock.sleep(LAND_TIMEOUT) => {
            tracing::warn!("not all has landed, or was copied: what has not does so after the next start");
        }
    }
    Ok(())
}
