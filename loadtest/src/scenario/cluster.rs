//! Three nodes over a real Kafka and a real MariaDB, all on this machine: how fast what one takes is everywhere, and in
//! the store. Nothing is pinned: the load, the nodes, the broker and the server share the cores.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;

use super::watch::Events;
use super::{LONG, fill, instances_path, provider, unused};
use crate::faults::cluster::Cluster;
use crate::http::{Connection, request};
use crate::measure::{Latency, histogram};
use crate::process::cpu_of;

/// Long enough for the slowest machine that anybody measures on.
const WITHIN: Duration = Duration::from_secs(300);
const PER_SERVICE: usize = 10;

/// Instances that came through all nodes at once.
pub struct Spread {
    pub instances: usize,
    pub registered_seconds: f64,
    /// Until each node shows all of them.
    pub readable_seconds: f64,
    pub landed_seconds: f64,
    /// Rows that the lander wrote a second, while it wrote.
    pub rows_per_second: f64,
    /// By process, in seconds.
    pub cpu: Vec<(String, f64)>,
}

/// Registers `instances` through all nodes of `cluster` at once.
pub async fn spread(cluster: &mut Cluster, instances: usize) -> Result<Spread> {
    let nodes = addresses(cluster)?;
    let (cpu, landed) = (cpu(cluster).await?, landings(&nodes).await?);
    let started = Instant::now();
    let first = unused();
    let services: Vec<_> = (0..instances / PER_SERVICE).map(|n| format!("spread-{first}-{n}")).collect();
    let mut tasks = Vec::new();
    for (at, share) in services.chunks(services.len().div_ceil(2 * nodes.len()).max(1)).enumerate() {
        let (share, address) = (share.to_vec(), nodes[at % nodes.len()].clone());
        tasks.push(tokio::spawn(async move { fill(&address, &share, PER_SERVICE, 5, LONG).await }));
    }
    for task in tasks {
        task.await??;
    }
    let registered_seconds = started.elapsed().as_secs_f64();
    let last = everywhere(&nodes).await?;
    let readable_seconds = started.elapsed().as_secs_f64();
    check_all_there(&nodes, &services, &last).await?;
    put(&mut Connection::open(&nodes[0]).await?, "landed", "store").await?;
    let landed_seconds = started.elapsed().as_secs_f64();
    let (rows, seconds) = landings(&nodes).await?;
    let rows_per_second = (rows - landed.0) / (seconds - landed.1).max(0.001);
    let cpu =
        self::cpu(cluster).await?.into_iter().zip(cpu).map(|((name, now), (_, then))| (name, now - then)).collect();
    Ok(Spread { instances, registered_seconds, readable_seconds, landed_seconds, rows_per_second, cpu })
}

/// What `ack=store` takes while `per_second` registers a second arrive in all, spread over the nodes, for `span`: the
/// lag of the lander, as somebody sees it who waits for it.
pub async fn landing_lag(cluster: &Cluster, per_second: usize, span: Duration) -> Result<Latency> {
    const BATCH: usize = 50;
    let nodes = addresses(cluster)?;
    let end = Instant::now() + span;
    let mut tasks = Vec::new();
    for address in nodes.clone() {
        let every = Duration::from_secs_f64((BATCH * nodes.len()) as f64 / per_second as f64);
        tasks.push(tokio::spawn(async move {
            let mut next = Instant::now();
            while next < end {
                tokio::time::sleep_until(next.into()).await;
                next += every;
                let services: Vec<_> = (0..BATCH / PER_SERVICE).map(|_| format!("steady-{}", unused())).collect();
                fill(&address, &services, PER_SERVICE, 5, LONG).await?;
            }
            anyhow::Ok(())
        }));
    }
    let mut latencies: Histogram<u64> = histogram();
    let mut connection = Connection::open(&nodes[0]).await?;
    while Instant::now() < end {
        let sent = Instant::now();
        put(&mut connection, "lag", "store").await?;
        latencies.saturating_record(sent.elapsed().as_micros() as u64);
    }
    for task in tasks {
        task.await??;
    }
    ensure!(Instant::now() < end + Duration::from_secs(5), "the nodes did not keep up with {per_second} a second");
    Ok(Latency::of(&latencies))
}

/// A broker that has just started interprets its code, and each change then takes twice as long: these are not counted.
const WARM_UP_CHANGES: usize = 1_000;

/// From a change that one node takes to a subscriber of another.
pub async fn across(cluster: &Cluster, changes: usize, every: Duration) -> Result<Latency> {
    let nodes = addresses(cluster)?;
    let (from, to) = (nodes.first().context("a node")?, nodes.last().context("a node")?);
    ensure!(from != to, "one node is no cluster");
    let service: Arc<str> = format!("across-{}", unused()).into();
    let mut writer = Connection::open(from).await?;
    let first = put(&mut writer, &service, "log").await?;
    show(to, &first).await?;
    let mut events = Events::open(to, &service).await?;
    events.next("snapshot").await?;
    let mut latencies: Histogram<u64> = histogram();
    for change in 0..WARM_UP_CHANGES + changes {
        let is_counted = change >= WARM_UP_CHANGES;
        let sent = Instant::now();
        // The event may be there before the answer.
        let (put, event) = tokio::join!(put(&mut writer, &service, "log"), async {
            let event = events.next("change").await?;
            anyhow::Ok((event, sent.elapsed()))
        });
        let (revision, (event, took)) = (put?, event?);
        ensure!(event.id == revision, "the subscriber is at {}, the change was {revision}", event.id);
        if is_counted {
            latencies.saturating_record(took.as_micros() as u64);
            tokio::time::sleep(every).await;
        }
    }
    Ok(Latency::of(&latencies))
}

/// How long a node that starts again needs until it is ready, from when it is told to.
pub async fn restart(cluster: &mut Cluster) -> Result<f64> {
    let node = cluster.nodes.last().context("a node")?.clone();
    let address = cluster.address(&node)?.to_owned();
    cluster.order(&format!("down {node}")).await?;
    let started = Instant::now();
    cluster.order(&format!("start {node}")).await?;
    while !is_ready(&address).await {
        ensure!(started.elapsed() < WITHIN, "the node is not ready within {WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(started.elapsed().as_secs_f64())
}

async fn is_ready(address: &str) -> bool {
    let Ok(mut connection) = Connection::open(address).await else { return false };
    connection.call(&request("GET", "/readyz", "")).await.is_ok_and(|answer| answer.status == 200)
}

fn addresses(cluster: &Cluster) -> Result<Vec<String>> {
    cluster.nodes.iter().map(|node| cluster.address(node).map(str::to_owned)).collect()
}

/// Each node gets a change of its own, behind all that it took; each shows the last of them. Its revision.
async fn everywhere(nodes: &[String]) -> Result<String> {
    let mut last = String::new();
    for node in nodes {
        last = put(&mut Connection::open(node).await?, "everywhere", "log").await?;
    }
    for node in nodes {
        show(node, &last).await?;
    }
    Ok(last)
}

/// Waits until `node` has applied `revision`.
async fn show(node: &str, revision: &str) -> Result<()> {
    let path = format!("{}?min_revision={revision}", instances_path("everywhere"));
    let deadline = Instant::now() + WITHIN;
    let mut connection = Connection::open(node).await?;
    loop {
        let status = connection.call(&request("GET", &path, "")).await?.status;
        if status != 503 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{node} does not come to {revision}");
    }
}

/// The truth: a sample of services is whole on each node.
async fn check_all_there(nodes: &[String], services: &[String], revision: &str) -> Result<()> {
    for node in nodes {
        let mut connection = Connection::open(node).await?;
        for service in services.iter().step_by((services.len() / 500).max(1)) {
            let path = format!("{}?min_revision={revision}", instances_path(service));
            let answer = connection.call(&request("GET", &path, "")).await?;
            let body: serde_json::Value = serde_json::from_slice(answer.body)?;
            let found = body["items"].as_array().map_or(0, Vec::len);
            ensure!(found == PER_SERVICE, "{service} has {found} of {PER_SERVICE} instances on {node}");
        }
    }
    Ok(())
}

/// Registers a new instance; its revision.
async fn put(connection: &mut Connection, service: &str, ack: &str) -> Result<String> {
    let n = unused();
    let path = format!("{}/i-{n}?ack={ack}", instances_path(service));
    let answer = connection.call(&request("PUT", &path, &provider(n, 2, LONG))).await?;
    let body: serde_json::Value = serde_json::from_slice(answer.body)?;
    ensure!(matches!(answer.status, 200 | 201), "{} {body}", answer.status);
    Ok(body["revision"].as_str().context("a revision")?.to_owned())
}

/// Rows that all nodes landed since they started, and the seconds that it took them.
async fn landings(nodes: &[String]) -> Result<(f64, f64)> {
    let (mut rows, mut seconds) = (0.0, 0.0);
    for node in nodes {
        rows += metric(node, "thuban_landed_rows_total").await?;
        seconds += metric(node, "thuban_landing_seconds_sum").await?;
    }
    Ok((rows, seconds))
}

/// 0 of one that does not stand there yet.
async fn metric(node: &str, name: &str) -> Result<f64> {
    let mut connection = Connection::open(node).await?;
    let answer = connection.call(&request("GET", "/metrics", "")).await?;
    let text = String::from_utf8_lossy(answer.body);
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.map_or(Ok(0.0), |value| value.parse().with_context(|| format!("{name} is {value:?}")))
}

/// CPU seconds until now, of each process of the cluster and of this one.
async fn cpu(cluster: &mut Cluster) -> Result<Vec<(String, f64)>> {
    let mut all = vec![("the load".to_owned(), std::process::id())];
    for part in cluster.nodes.clone().into_iter().chain(["kafka".to_owned(), "store".to_owned()]) {
        let pid = cluster.order(&format!("pid {part}")).await?;
        all.push((part, pid.parse().context("a process id")?));
    }
    all.into_iter().map(|(name, pid)| Ok((name, cpu_of(pid)?.as_secs_f64()))).collect()
}

/// What 4 KiB mostly need until they are on the disk of `folder`: what stands behind each acknowledgement.
pub fn fsync_p50_ms(folder: &std::path::Path) -> Result<f64> {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(folder)?;
    let mut latencies: Histogram<u64> = histogram();
    for _ in 0..200 {
        let started = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        latencies.saturating_record(started.elapsed().as_micros() as u64);
    }
    Ok(Latency::of(&latencies).p50_ms)
}
