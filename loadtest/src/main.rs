#![allow(clippy::disallowed_methods, reason = "a load generator measures real time")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use loadtest::measure::{Latency, Pace, Run};
use loadtest::report::{Gate, Line, Report};
use loadtest::scenario::{Plan, memory, read, register, renew, watch};

/// Load on a live thuban, and the figures that come of it.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every scenario against its gate: a table on standard output, JSON in a file.
    Bench {
        #[command(flatten)]
        setting: Setting,
        /// The long version: longer spans, more repeats, a million instances.
        #[arg(long)]
        full: bool,
        /// Where the JSON goes.
        #[arg(long, default_value = "target/bench.json")]
        json: PathBuf,
    },
    /// Discovery, beside a bare server that answers the same bytes.
    Read {
        #[command(flatten)]
        setting: Setting,
        #[arg(long, default_value_t = 10)]
        instances: usize,
    },
    /// Registers acknowledged by the log: by HTTP, and on Session streams.
    Register {
        #[command(flatten)]
        setting: Setting,
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Open loop: so many a second, whatever the answers do. Without it each client waits for its answer.
        #[arg(long)]
        per_second: Option<f64>,
    },
    /// From a change to its watchers.
    Watch {
        #[command(flatten)]
        setting: Setting,
        #[arg(long, default_value_t = 100)]
        watchers: usize,
        #[arg(long, default_value_t = 200)]
        changes: usize,
    },
    /// What a node weighs, and how fast it is back.
    Memory {
        #[command(flatten)]
        setting: Setting,
        #[arg(long, default_value_t = 1_000_000)]
        instances: usize,
    },
    /// What it costs to keep TTL leases.
    Renew {
        #[command(flatten)]
        setting: Setting,
        #[arg(long, default_value_t = 200_000)]
        leases: usize,
    },
    /// Serves the same bytes to every request: nothing but axum, nothing but tonic.
    Bare {
        #[arg(long)]
        http_body: PathBuf,
        #[arg(long)]
        grpc_body: PathBuf,
    },
}

#[derive(Args, Clone)]
struct Setting {
    /// The binary under test.
    #[arg(long, default_value = "target/release/thuban")]
    thuban: PathBuf,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value_t = 2)]
    repeats: usize,
}

impl Setting {
    fn plan(&self) -> Result<Plan> {
        pin_self(1)?;
        Ok(Plan {
            thuban: self.thuban.canonicalize().with_context(|| format!("{}: run make build", self.thuban.display()))?,
            own: std::env::current_exe()?,
            core: 0,
            warm_up: Duration::from_secs(1),
            span: Duration::from_secs(self.seconds),
            repeats: self.repeats,
        })
    }
}

/// Moves this process to `core`, so that it does not take the server's.
fn pin_self(core: usize) -> Result<()> {
    if std::thread::available_parallelism()?.get() <= core {
        eprintln!("this machine has one core: load and server share it, and figures are worse than they could be");
        return Ok(());
    }
    let pid = std::process::id().to_string();
    let done = std::process::Command::new("taskset").args(["-cp", &core.to_string(), &pid]).output()?;
    anyhow::ensure!(done.status.success(), "taskset: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Options::parse().command {
        Command::Bench { setting, full, json } => bench(&setting, full, &json).await,
        Command::Read { setting, instances } => print(read_lines(&setting.plan()?, instances).await?),
        Command::Register { setting, connections, per_second } => {
            let pace = per_second.map_or(Pace::Closed, |per_second| Pace::Open { per_second });
            print(register_lines(&setting.plan()?, connections, pace).await?)
        }
        Command::Watch { setting, watchers, changes } => print(watch_lines(&setting.plan()?, watchers, changes).await?),
        Command::Memory { setting, instances } => print(memory_lines(&setting.plan()?, instances).await?),
        Command::Renew { setting, leases } => print(renew_lines(&setting.plan()?, leases, 2).await?),
        Command::Bare { http_body, grpc_body } => {
            let (http, grpc) = read::bare_bodies(&http_body, &grpc_body)?;
            loadtest::bare::serve(http, grpc).await
        }
    }
}

fn print(lines: Vec<Line>) -> Result<()> {
    let report = Report { machine: loadtest::machine::Machine::this(), lines };
    print!("{}", report.table());
    Ok(())
}

async fn bench(setting: &Setting, full: bool, json: &PathBuf) -> Result<()> {
    let machine = loadtest::machine::Machine::this();
    let mut plan = setting.plan()?;
    if full {
        plan.span = Duration::from_secs(15);
        plan.repeats = 5;
    }
    let mut lines = Vec::new();
    let told = |what: &str| eprintln!("{what} ...");
    told("reads");
    lines.extend(read_lines(&plan, 10).await?);
    told("registers");
    lines.extend(register_lines(&plan, 64, Pace::Closed).await?);
    told("changes to watchers");
    lines.extend(watch_lines(&plan, 100, if full { 1_000 } else { 200 }).await?);
    told("memory");
    lines.extend(memory_lines(&plan, 1_000_000).await?);
    told("leases");
    lines.extend(renew_lines(&plan, 200_000, if full { 4 } else { 1 }).await?);
    let report = Report { machine, lines };
    print!("{}", report.table());
    std::fs::write(json, report.json()).with_context(|| format!("write {}", json.display()))?;
    eprintln!("written to {}", json.display());
    Ok(())
}

fn line(
    what: impl Into<String>,
    figure: f64,
    unit: &'static str,
    gate: Option<Gate>,
    detail: serde_json::Value,
) -> Line {
    Line { what: what.into(), figure, unit, gate, detail }
}

async fn read_lines(plan: &Plan, instances: usize) -> Result<Vec<Line>> {
    let (http, grpc) = read::read(plan, instances).await?;
    let mut lines = Vec::new();
    for (door, ratio) in [("HTTP", http), ("gRPC", grpc)] {
        let detail = serde_json::json!({"node": &ratio.node, "bare": &ratio.bare});
        let what = format!("discover {instances}, {door}, of the bare server");
        lines.push(line(what, ratio.share(), "of its req/CPU-s", Some(Gate::AtLeast(0.8)), detail));
        lines.push(run_line(format!("discover {instances}, {door}, node"), &ratio.node, None));
        lines.push(run_line(format!("discover {instances}, {door}, bare"), &ratio.bare, None));
    }
    Ok(lines)
}

fn run_line(what: String, run: &Run, gate: Option<Gate>) -> Line {
    line(what, run.per_cpu_second, "req/CPU-s", gate, serde_json::json!(run))
}

async fn register_lines(plan: &Plan, connections: usize, pace: Pace) -> Result<Vec<Line>> {
    let http = register::http(plan, connections, pace).await?;
    let session = register::session(plan, 4, 512).await?;
    let mut lines = Vec::new();
    for (what, run, gate) in [("HTTP", http, 15_000.0), ("Session", session, 60_000.0)] {
        let detail = serde_json::json!(&run);
        let gate = matches!(pace, Pace::Closed).then_some(Gate::AtLeast(gate));
        lines.push(line(format!("register, ack=log, {what}"), run.per_second, "req/s", gate, detail));
        lines.push(run_line(format!("register, ack=log, {what}"), &run, None));
        lines.extend(latency_lines(&format!("register, ack=log, {what}"), &run.latency, None));
    }
    Ok(lines)
}

fn latency_lines(what: &str, latency: &Latency, gates: Option<(f64, f64)>) -> Vec<Line> {
    let gate = |pick: fn((f64, f64)) -> f64| gates.map(pick).map(Gate::AtMost);
    let detail = serde_json::json!(latency);
    vec![
        line(format!("{what}, p50"), latency.p50_ms, "ms", gate(|g| g.0), detail),
        line(format!("{what}, p99"), latency.p99_ms, "ms", gate(|g| g.1), serde_json::Value::Null),
    ]
}

async fn watch_lines(plan: &Plan, watchers: usize, changes: usize) -> Result<Vec<Line>> {
    let seen = watch::watch(plan, watchers, changes, Duration::from_millis(20)).await?;
    Ok(latency_lines(&format!("change to each of {} watchers", seen.watchers), &seen.latency, Some((5.0, 20.0))))
}

async fn memory_lines(plan: &Plan, instances: usize) -> Result<Vec<Line>> {
    let small = memory::small(plan).await?;
    let large = memory::large(plan, instances).await?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let none = || serde_json::Value::Null;
    let detail = serde_json::json!({
        "fill_seconds": large.fill_seconds,
        "landed_seconds": large.landed_seconds,
        "bytes_each_after_restart": large.bytes_each_after_restart,
    });
    let count = large.instances;
    Ok(vec![
        line("an idle node", small.idle_bytes as f64 / 1e6, "MB", Some(Gate::AtMost(30.0)), none()),
        line("10,000 instances, 100 watchers", mib(small.watched_bytes), "MiB", Some(Gate::AtMost(64.0)), none()),
        line(format!("{count} instances"), large.bytes_each, "bytes each", Some(Gate::AtMost(600.0)), detail),
        line(format!("{count} instances, after a restart"), large.bytes_each_after_restart, "bytes each", None, none()),
        line(format!("{count} instances registered in"), large.fill_seconds, "s", None, none()),
        line(format!("{count} instances landed in"), large.landed_seconds, "s", None, none()),
        line(format!("{count} instances ready in"), large.restart_seconds, "s", Some(Gate::AtMost(15.0)), none()),
    ])
}

async fn renew_lines(plan: &Plan, leases: usize, rounds: u32) -> Result<Vec<Line>> {
    let kept = renew::renew(plan, leases, Duration::from_secs(15), rounds).await?;
    let beyond = (kept.core_share - kept.receiving_share).max(0.0);
    let detail = serde_json::json!({"core_share": kept.core_share, "receiving_share": kept.receiving_share});
    Ok(vec![
        line(
            format!("{leases} leases renewed each 15 s"),
            beyond * 100.0,
            "% of a core beyond",
            Some(Gate::AtMost(10.0)),
            detail,
        ),
        line(
            format!("{leases} leases renewed, all in"),
            kept.core_share * 100.0,
            "% of a core",
            None,
            serde_json::Value::Null,
        ),
        line("leases that lapsed meanwhile", kept.lapsed as f64, "", Some(Gate::AtMost(0.0)), serde_json::Value::Null),
    ])
}
