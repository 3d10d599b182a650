//! Thuban beside other registries, each spoken to by its own protocol, one server at a time on the same core, with the
//! same work: what each does with a second of its CPU, how long it takes, and what it says it holds afterwards.
//!
//! The work is that of a registry: providers register, ten to a service, on connections that stay; consumers read a
//! service of ten; subscribers are told when its tenth instance comes and goes; and whoever reads right after an
//! acknowledged register expects to find it. Each part ends with a truth check.

mod changes;
mod gates;
mod html;
mod keeper;
mod own_reads;
mod reads;
mod registers;
mod sheet;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::measure::Run;
use crate::peer::{Contestant, Registry};
use crate::report::Line;
use crate::scenario::{self, Node};
use crate::target::{Ack, Door, Instance, Target};

pub use changes::Changes;
pub use html::page;
pub use own_reads::OwnReads;
pub use sheet::table;

/// Instances of a service, as everybody has them.
const PER_SERVICE: usize = 10;
const METADATA_KEYS: usize = 5;
/// How long a server that listens may take until it takes clients.
const READY_WITHIN: Duration = Duration::from_secs(60);
const TRY: Duration = Duration::from_secs(2);
/// Bytes on the wire are counted over so many operations.
const PROBES: u64 = 200;

#[derive(Clone, Debug)]
pub struct Plan {
    pub of_each: scenario::Plan,
    pub contestants: Vec<Contestant>,
    /// Where packages were unpacked.
    pub tools: PathBuf,
    /// Clients that register and read, one request at a time each.
    pub connections: usize,
    /// Connections that have `window` registers under way each.
    pub streams: usize,
    pub window: usize,
    pub watchers: usize,
    pub changes: usize,
    pub own_reads: usize,
    /// Of the pauses between changes.
    pub seed: u64,
}

/// What one protocol of one registry came to; what it cannot do, or was not measured by this one, is absent.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub registry: Registry,
    pub version: String,
    pub door: Door,
    pub ack: Ack,
    pub durability: &'static str,
    /// A service of ten.
    pub read: Option<Run>,
    pub read_bytes: Option<u64>,
    /// One at a time on each connection.
    pub register: Option<Run>,
    pub register_bytes: Option<u64>,
    /// Many at a time on each connection.
    pub pipelined: Option<Run>,
    pub changes: Option<Changes>,
    pub own_reads: OwnReads,
    pub weight: Option<Weight>,
}

/// What the process weighed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Weight {
    pub idle_bytes: u64,
    /// With `instances`, and the connections that registered them.
    pub full_bytes: u64,
    pub instances: usize,
    pub descriptors: usize,
}

impl Figures {
    pub fn name(&self) -> String {
        match self.registry {
            Registry::Etcd | Registry::ZooKeeper => self.registry.name().to_owned(),
            _ => format!("{} {}", self.registry.name(), self.door.name()),
        }
    }
}

impl Weight {
    pub fn bytes_each(&self) -> f64 {
        self.full_bytes.saturating_sub(self.idle_bytes) as f64 / self.instances.max(1) as f64
    }
}

/// Everything measured, and the gates that it fills.
pub async fn compare(plan: &Plan) -> Result<(Vec<Figures>, Vec<Line>)> {
    let mut all = Vec::new();
    for contestant in &plan.contestants {
        for &(door, ack) in contestant.registry.doors() {
            let what = format!("{} {} {ack:?}", contestant.registry.name(), door.name());
            eprintln!("{what} ...");
            all.push(measure(plan, contestant, door, ack).await.context(what)?);
        }
    }
    let lines = gates::lines(&all);
    Ok((all, lines))
}

async fn measure(plan: &Plan, contestant: &Contestant, door: Door, ack: Ack) -> Result<Figures> {
    let registry = contestant.registry;
    let mut own_plan = plan.clone();
    own_plan.of_each.warm_up = registry.warm_up(plan.of_each.warm_up);
    let plan = &own_plan;
    let mut figures = Figures {
        registry,
        version: contestant.version(&plan.of_each, &plan.tools)?,
        door,
        ack,
        durability: registry.durability(ack),
        read: None,
        read_bytes: None,
        register: None,
        register_bytes: None,
        pipelined: None,
        changes: None,
        own_reads: OwnReads::default(),
        weight: None,
    };
    for repeat in 0..plan.of_each.repeats {
        let (node, target) = start(plan, contestant, door, ack).await?;
        let idle_bytes = node.server.is_known().then(|| node.server.rss_bytes()).transpose()?;
        // Reads are the same whatever registers are asked for.
        if ack == *door_acks(registry, door).first().context("a door")? && door != Door::ThubanSession {
            let (run, bytes) = reads::reads(plan, &node.server, &target).await?;
            better(&mut figures.read, run);
            figures.read_bytes = Some(bytes);
        }
        if repeat == 0 {
            figures.own_reads = own_reads::own_reads(plan, &target).await?;
            figures.changes = Some(changes::changes(plan, &node.server, &target).await?);
        }
        if door != Door::ThubanSession {
            let registered = registers::one_by_one(plan, &node.server, &target, idle_bytes).await?;
            better(&mut figures.register, registered.run);
            figures.register_bytes = Some(registered.bytes);
            figures.weight = registered.weight;
        }
        drop(node);
        if door.can_pipeline() {
            let (node, target) = start(plan, contestant, door, ack).await?;
            let registered = registers::pipelined(plan, &node.server, &target).await?;
            better(&mut figures.pipelined, registered);
        }
    }
    Ok(figures)
}

/// A server that takes clients: some listen before they do.
async fn start(plan: &Plan, contestant: &Contestant, door: Door, ack: Ack) -> Result<(Node, Target)> {
    let node = contestant.start(&plan.of_each, &plan.tools)?;
    let target = Target { door, ack, http: node.server.http.clone(), grpc: node.server.grpc.clone() };
    let deadline = Instant::now() + READY_WITHIN;
    // One that is still starting may take a connection and never say a word on it.
    while !tokio::time::timeout(TRY, target.connect()).await.is_ok_and(|client| client.is_ok()) {
        ensure!(Instant::now() < deadline, "it takes no clients within {READY_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok((node, target))
}

fn door_acks(registry: Registry, door: Door) -> Vec<Ack> {
    registry.doors().iter().filter(|(other, _)| *other == door).map(|(_, ack)| *ack).collect()
}

/// Keeps the best: what disturbs a run only ever makes it worse.
fn better(best: &mut Option<Run>, new: Run) {
    let rate = |run: &Run| if run.per_cpu_second > 0.0 { run.per_cpu_second } else { run.per_second };
    if best.as_ref().is_none_or(|old| rate(&new) > rate(old)) {
        *best = Some(new);
    }
}

/// Provider `number` of `service`.
fn provider(service: &str, number: usize) -> Instance {
    let (a, b, c) = (number / 62_500 % 250, number / 250 % 250, number % 250);
    let metadata: BTreeMap<_, _> =
        (0..METADATA_KEYS).map(|key| (format!("key-{key}"), format!("value-{key}-{}", number % 97))).collect();
    Instance { service: service.to_owned(), host: format!("10.{a}.{b}.{c}"), port: 8080, metadata }
}

/// Bytes that went over loopback so far, of whoever sent them.
fn loopback_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/net/dev")?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:")).context("the loopback device")?;
    line.split_whitespace().next().context("its bytes")?.parse().context("a number of bytes")
}

/// A provider that the tests of the codecs say.
#[cfg(test)]
pub(crate) fn sample() -> Instance {
    let metadata =
        BTreeMap::from([("team".to_owned(), "payments".to_owned()), ("zone".to_owned(), "eu-1a".to_owned())]);
    Instance { service: "orders".into(), host: "10.0.0.7".into(), port: 8080, metadata }
}
