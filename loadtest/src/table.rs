//! Each scenario's figures as lines of the table, with the gates that they are held to.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::faults::cluster::{self as started, Cluster};
use crate::measure::{Latency, Pace};
use crate::report::{Gate, Line};
use crate::scenario::{Pair, Plan, cluster, memory, read, register, renew, watch};

/// Changes whose way to another node's subscriber is timed.
const CHANGES_ACROSS: usize = 200;
const STEADY_PER_SECOND: usize = 5_000;
const STEADY: Duration = Duration::from_secs(20);
/// How often a lease is renewed.
const RENEW_PERIOD: Duration = Duration::from_secs(15);
/// Between two changes: light load.
const CHANGE_PERIOD: Duration = Duration::from_millis(20);
/// Session streams, and registers unanswered on each.
const STREAMS: usize = 4;
const WINDOW: usize = 512;

fn line(what: impl Into<String>, figure: f64, unit: &'static str, gate: Option<Gate>, detail: Value) -> Line {
    Line { what: what.into(), figure, unit, gate, detail }
}

/// Rates of node and bare server, and the one as a share of the other.
fn pair_lines(what: &str, pair: &Pair, gate: Option<Gate>) -> Vec<Line> {
    let detail = json!({"node": pair.node, "bare": pair.bare});
    vec![
        line(format!("{what}, of the bare server"), pair.share(), "of its ops/CPU-s", gate, detail),
        line(format!("{what}, node"), pair.node.per_cpu_second, "ops/CPU-s", None, Value::Null),
        line(format!("{what}, bare"), pair.bare.per_cpu_second, "ops/CPU-s", None, Value::Null),
    ]
}

fn latency_lines(what: &str, latency: &Latency, gates: Option<(f64, f64)>) -> Vec<Line> {
    let gate = |pick: fn((f64, f64)) -> f64| gates.map(pick).map(Gate::AtMost);
    vec![
        line(format!("{what}, p50"), latency.p50_ms, "ms", gate(|g| g.0), json!(latency)),
        line(format!("{what}, p99"), latency.p99_ms, "ms", gate(|g| g.1), Value::Null),
    ]
}

/// Discovery; the gate holds at the pace of the clients, not at one that was asked for.
pub async fn read(plan: &Plan, instances: usize, pace: Pace) -> Result<Vec<Line>> {
    let read::Read { http, grpc } = read::read(plan, instances, pace).await?;
    let mut lines = Vec::new();
    for (door, pair) in [("HTTP", http), ("gRPC", grpc)] {
        let what = format!("discover {instances}, {door}");
        let gate = matches!(pace, Pace::Closed).then_some(Gate::AtLeast(0.8));
        lines.extend(pair_lines(&what, &pair, gate));
        lines.extend(latency_lines(&format!("{what}, node"), &pair.node.latency, None));
    }
    Ok(lines)
}

pub async fn register(plan: &Plan, connections: usize, pace: Pace) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let http = register::http(plan, connections, pace).await?;
    lines.extend(register_lines("register, ack=log, HTTP", &http, 15_000.0, pace));
    if matches!(pace, Pace::Closed) {
        let session = register::session(plan, STREAMS, WINDOW).await?;
        lines.extend(register_lines("register, ack=log, Session", &session, 60_000.0, pace));
    }
    Ok(lines)
}

fn register_lines(what: &str, pair: &Pair, gate: f64, pace: Pace) -> Vec<Line> {
    let gate = matches!(pace, Pace::Closed).then_some(Gate::AtLeast(gate));
    let mut lines = vec![line(what, pair.node.per_second, "ops/s", gate, Value::Null)];
    lines.extend(pair_lines(what, pair, None));
    lines.extend(latency_lines(&format!("{what}, node"), &pair.node.latency, None));
    lines
}

pub async fn watch(plan: &Plan, watchers: usize, changes: usize) -> Result<Vec<Line>> {
    let watch::Beside { node, bare } = watch::watch(plan, watchers, changes, CHANGE_PERIOD).await?;
    let what = format!("change to each of {watchers} watchers");
    let mut lines = latency_lines(&format!("{what}, node"), &node.latency, Some((5.0, 20.0)));
    lines.extend(latency_lines(&format!("{what}, bare"), &bare.latency, None));
    let detail = json!({"node": node, "bare": bare});
    lines.push(line(format!("{what}, node"), node.cpu_us_each, "us of CPU each", None, detail));
    lines.push(line(format!("{what}, bare"), bare.cpu_us_each, "us of CPU each", None, Value::Null));
    Ok(lines)
}

pub async fn memory(plan: &Plan, instances: usize) -> Result<Vec<Line>> {
    let small = memory::small(plan).await?;
    let large = memory::large(plan, instances).await?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let count = large.instances;
    let plain = |what: String, figure, unit, gate| line(what, figure, unit, gate, Value::Null);
    let each = "bytes each";
    Ok(vec![
        plain("an idle node".into(), small.idle_bytes as f64 / 1e6, "MB", Some(Gate::AtMost(30.0))),
        plain("10,000 instances, 100 watchers".into(), mib(small.watched_bytes), "MiB", Some(Gate::AtMost(64.0))),
        plain(format!("{count} instances"), large.bytes_each, each, Some(Gate::AtMost(600.0))),
        plain(format!("{count} instances, after a restart"), large.bytes_each_after_restart, each, None),
        plain(format!("{count} instances registered in"), large.fill_seconds, "s", None),
        plain(format!("{count} instances landed in"), large.landed_seconds, "s", None),
        plain(format!("{count} instances ready in"), large.restart_seconds, "s", Some(Gate::AtMost(15.0))),
    ])
}

/// Stricter than what is asked for, which is 10 % beyond the receiving: all of it is held to 10 %.
pub async fn renew(plan: &Plan, leases: usize, rounds: u32) -> Result<Vec<Line>> {
    let kept = renew::renew(plan, leases, RENEW_PERIOD, rounds).await?;
    let share = kept.core_share * 100.0;
    let what = format!("{} leases renewed each 15 s", kept.leases);
    Ok(vec![
        line(what, share, "% of a core", Some(Gate::AtMost(10.0)), Value::Null),
        line("leases that lapsed meanwhile", kept.lapsed as f64, "", Some(Gate::AtMost(0.0)), Value::Null),
    ])
}

/// What a cluster of three on this machine does, nothing of it pinned. `large` instances are what a node starts with.
pub async fn cluster(plan: &started::Plan, instances: usize, large: usize) -> Result<Vec<Line>> {
    let plain = |what: String, figure, unit, gate| line(what, figure, unit, gate, Value::Null);
    let folder = plan.directory.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let fsync = cluster::fsync_p50_ms(&folder)?;
    let mut three = Cluster::start(plan, None).await?;
    let across = cluster::across(&three, CHANGES_ACROSS, CHANGE_PERIOD).await?;
    let what = "from a change on one node to a subscriber of another";
    let mut lines = latency_lines(what, &across, Some((5.0, 25.0)));
    for instances in [instances, large] {
        let spread = cluster::spread(&mut three, instances).await?;
        let what = format!("{instances} instances through three nodes");
        // Promised of the first: a million registers keep both cores for half a minute, and the lander has what they leave.
        let gate = (instances != large).then_some(Gate::AtLeast(50_000.0));
        lines.push(plain(format!("{what}, registered in"), spread.registered_seconds, "s", None));
        lines.push(plain(format!("{what}, readable on all in"), spread.readable_seconds, "s", None));
        lines.push(plain(format!("{what}, landed in"), spread.landed_seconds, "s", None));
        lines.push(plain(format!("{what}, landing"), spread.rows_per_second, "rows/s while it lands", gate));
        lines.extend(spread.cpu.into_iter().map(|(who, s)| plain(format!("{what}, {who}"), s, "s of CPU", None)));
        if instances != large {
            let lag = cluster::landing_lag(&three, STEADY_PER_SECOND, STEADY).await?;
            let what = format!("ack=store at {STEADY_PER_SECOND} changes/s");
            lines.extend(latency_lines(&what, &lag, None));
            lines.push(plain(format!("{what}, max"), lag.max_ms, "ms", Some(Gate::AtMost(2_000.0))));
        }
    }
    let boot = cluster::restart(&mut three).await?;
    lines.push(plain(format!("a node with {large} instances ready in"), boot, "s", Some(Gate::AtMost(20.0))));
    lines.push(plain("fsync of 4 KiB, p50".into(), fsync, "ms", None));
    three.stop().await?;
    Ok(lines)
}
