#![allow(clippy::disallowed_methods, reason = "a load generator measures real time")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use loadtest::bare::{self, Recorded};
use loadtest::compare;
use loadtest::faults::dice::Dice;
use loadtest::faults::{self, catalog, cluster};
use loadtest::machine::Machine;
use loadtest::measure::Pace;
use loadtest::peer::{self, Registry};
use loadtest::report::{Line, Report};
use loadtest::scenario::{Plan, Running};
use loadtest::table;

/// Who has which core.
const HOW: &str = "server on core 0, load on core 1";

/// Load on a live thuban, and the figures that come of it. Ends with 1 when a gate is not met.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every scenario against its gate.
    Bench {
        #[command(flatten)]
        setting: Setting,
        /// The long version: spans of 15 s, five repeats, and leases over four periods.
        #[arg(long)]
        full: bool,
        #[arg(long, default_value_t = 1_000_000)]
        instances: usize,
        #[arg(long, default_value_t = 200_000)]
        leases: usize,
    },
    /// Discovery, beside a bare server that answers the same bytes.
    Read {
        #[command(flatten)]
        setting: Setting,
        #[arg(long, default_value_t = 10)]
        instances: usize,
        #[command(flatten)]
        load: Load,
    },
    /// Registers acknowledged by the log: by HTTP and, in a closed loop, on Session streams; beside the bare server.
    Register {
        #[command(flatten)]
        setting: Setting,
        #[arg(long, default_value_t = 64)]
        connections: usize,
        #[command(flatten)]
        load: Load,
    },
    /// From a change to its watchers, beside the bare server.
    Watch {
        #[command(flatten)]
        setting: Setting,
        #[arg(long, default_value_t = 100)]
        watchers: usize,
        #[arg(long, default_value_t = 200)]
        changes: usize,
    },
    /// What a node of our own weighs, and how fast it is back.
    Memory {
        #[command(flatten)]
        setting: Setting,
        #[arg(long, default_value_t = 1_000_000)]
        instances: usize,
    },
    /// What it costs a node of our own to keep TTL leases.
    Renew {
        #[command(flatten)]
        setting: Setting,
        #[arg(long, default_value_t = 200_000)]
        leases: usize,
        #[arg(long, default_value_t = 3)]
        rounds: u32,
    },
    /// Thuban beside other registries, each by its own protocol, one at a time on the same core.
    Compare(Compare),
    /// What three nodes over a real Kafka and a real MariaDB do, all on this machine and nothing pinned.
    Cluster(Cluster),
    /// Every fault of a cluster of real processes, with honest clients and an oracle. Ends with 1 when one was not stood.
    Faults(Faults),
    /// Serves recorded bytes with nothing but axum and tonic, until it is killed. The other commands start it.
    #[command(hide = true)]
    Bare {
        /// The folder that they are in.
        #[arg(long)]
        bytes: PathBuf,
    },
}

#[derive(Args, Clone)]
struct Setting {
    /// The binary under test; without it, the one beside this program.
    #[arg(long)]
    thuban: Option<PathBuf>,
    /// Load a node that runs already, by its HTTP address; --node-grpc says the other.
    #[arg(long, requires = "node_grpc", value_name = "ADDR")]
    node_http: Option<String>,
    #[arg(long, requires = "node_http", value_name = "ADDR")]
    node_grpc: Option<String>,
    /// Its process id: without it nothing is known of its CPU time.
    #[arg(long, requires = "node_http")]
    node_pid: Option<u32>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The best of so many counts.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,
    /// Where the same goes as JSON; `bench` writes bench.json in the target folder without it.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Args, Clone)]
struct Compare {
    /// The binary under test; without it, the one beside this program.
    #[arg(long)]
    thuban: Option<PathBuf>,
    /// Registries to start beside it, of etcd and zookeeper; .ci/install gets them.
    #[arg(long, value_delimiter = ',')]
    with: Vec<Registry>,
    /// One that runs already; repeatable. Without its process id nothing is known of its CPU time and memory.
    #[arg(long, value_name = "REGISTRY=HOST:PORT[@PID]")]
    at: Vec<peer::Running>,
    /// Where .ci/install has put what --with starts; without it, .tools of the tree that this was built in.
    #[arg(long)]
    tools: Option<PathBuf>,
    /// Clients that register and read, one request at a time each.
    #[arg(long, default_value_t = 64, value_parser = from_one)]
    connections: usize,
    /// Connections that have --window registers under way each, where the protocol can.
    #[arg(long, default_value_t = 4, value_parser = from_one)]
    streams: usize,
    #[arg(long, default_value_t = 512, value_parser = from_one)]
    window: usize,
    #[arg(long, default_value_t = 100, value_parser = from_one)]
    watchers: usize,
    /// Whose way to all watchers is timed.
    #[arg(long, default_value_t = 60, value_parser = from_one)]
    changes: usize,
    /// Reads right after a register.
    #[arg(long, default_value_t = 10_000)]
    own_reads: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The best of so many counts.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,
    /// Says how long the pauses between changes are.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the same goes as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where it goes as a page with plots.
    #[arg(long)]
    html: Option<PathBuf>,
}

fn from_one(text: &str) -> Result<usize, String> {
    let count = text.parse::<usize>().ok().filter(|count| *count >= 1);
    count.ok_or_else(|| format!("\"{text}\" is no count; allowed: 1 or more"))
}

impl Compare {
    fn plan(&self) -> Result<compare::Plan> {
        let own = std::env::current_exe()?;
        let of_each = Plan {
            thuban: under_test(self.thuban.as_deref(), &own)?,
            own,
            running: None,
            core: 0,
            warm_up: Duration::from_secs(1),
            span: Duration::from_secs(self.seconds),
            repeats: usize::from(self.repeats),
        };
        let tools = self.tools.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools"));
        Ok(compare::Plan {
            of_each,
            contestants: peer::contestants(&self.with, &self.at)?,
            tools,
            connections: self.connections,
            streams: self.streams,
            window: self.window,
            watchers: self.watchers,
            changes: self.changes,
            own_reads: self.own_reads,
            seed: self.seed,
        })
    }

    async fn run(self, machine: Machine) -> Result<ExitCode> {
        let plan = self.plan()?;
        pin_self(1)?;
        let (figures, lines) = compare::compare(&plan).await?;
        println!("{}", compare::table(&figures));
        if let Some(path) = &self.html {
            let page = compare::page(&machine, HOW, &figures, &lines);
            std::fs::write(path, page).with_context(|| format!("write {}", path.display()))?;
        }
        if let Some(path) = &self.json {
            let all = serde_json::json!({"machine": machine, "how": HOW, "figures": figures, "lines": lines});
            let text = serde_json::to_string_pretty(&all)?;
            std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
        }
        report(Report { machine, how: HOW, lines }, None)
    }
}

#[derive(Args, Clone)]
struct Cluster {
    /// The binary under test; without it, the one beside this program.
    #[arg(long)]
    thuban: Option<PathBuf>,
    /// Registered through all nodes at once.
    #[arg(long, default_value_t = 100_000, value_parser = ten_or_more)]
    instances: usize,
    /// And so many more, before a node starts again with all of them.
    #[arg(long, default_value_t = 1_000_000, value_parser = ten_or_more)]
    large: usize,
    /// Where everything is written, and left.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Where the same goes as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn ten_or_more(text: &str) -> Result<usize, String> {
    let count = text.parse::<usize>().ok().filter(|count| *count >= 10);
    count.ok_or_else(|| format!("\"{text}\" is no number of instances; allowed: 10 or more"))
}

impl Cluster {
    async fn run(self, machine: Machine) -> Result<ExitCode> {
        let thuban = under_test(self.thuban.as_deref(), &std::env::current_exe()?)?;
        let (script, buffer_pool) = (cluster::script(), "1G".to_owned());
        let plan = cluster::Plan { thuban, script, directory: self.directory, buffer_pool };
        let lines = table::cluster(&plan, self.instances, self.large).await?;
        report(Report { machine, how: "nothing pinned", lines }, self.json.as_deref())
    }
}

/// The binary that was asked for, or the one beside this program.
fn under_test(asked: Option<&Path>, own: &Path) -> Result<PathBuf> {
    let thuban = asked.map_or_else(|| own.with_file_name("thuban"), Path::to_owned);
    thuban.canonicalize().with_context(|| format!("{}: run make build", thuban.display()))
}

/// Prints the table, and writes the JSON where it is wanted.
fn report(report: Report, json: Option<&Path>) -> Result<ExitCode> {
    print!("{}", report.table());
    if let Some(path) = json {
        std::fs::write(path, report.json()).with_context(|| format!("write {}", path.display()))?;
        eprintln!("written to {}", path.display());
    }
    let missed = report.missed();
    if missed > 0 {
        eprintln!("{missed} of the gates not met");
    }
    Ok(ExitCode::from(u8::from(missed > 0)))
}

#[derive(Args, Clone)]
struct Faults {
    /// The binary under test; without it, the one beside this program.
    #[arg(long)]
    thuban: Option<PathBuf>,
    /// The program that starts a cluster; without it, deploy/local/cluster.py of the tree that this was built in.
    #[arg(long)]
    cluster: Option<PathBuf>,
    /// All faults, not only the core of them.
    #[arg(long)]
    long: bool,
    /// Those whose names hold this, of all; repeatable.
    #[arg(long)]
    only: Vec<String>,
    /// So many mixtures behind them.
    #[arg(long, default_value_t = 0)]
    mixtures: usize,
    /// Says who dies, what is mixed, and what is lost on links.
    #[arg(long)]
    seed: Option<u64>,
    /// Where everything is written, and left.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Where the table goes as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Faults {
    async fn run(self) -> Result<ExitCode> {
        let thuban = under_test(self.thuban.as_deref(), &std::env::current_exe()?)?;
        let seed = self.seed.unwrap_or_else(|| u64::from(std::process::id()));
        let mut faults = catalog::all();
        let is_wanted = |name: &str| self.only.iter().any(|only| name.contains(only));
        faults.retain(|fault| if self.only.is_empty() { self.long || fault.is_core } else { is_wanted(&fault.name) });
        let mut dice = Dice::new(seed);
        faults.extend((1..=self.mixtures).map(|number| catalog::mixture(number, &mut dice)));
        anyhow::ensure!(!faults.is_empty(), "no fault has any of {:?} in its name", self.only);
        let script = self.cluster.unwrap_or_else(cluster::script);
        let cluster = cluster::Plan { thuban, script, directory: self.directory, buffer_pool: "256M".into() };
        eprintln!("seed {seed}");
        let table = faults::run(&faults::Plan { cluster, faults, seed }).await?;
        print!("{}", table.text());
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(&table)?;
            std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
        }
        let lost = table.lost();
        for row in &lost {
            eprintln!("not stood: {}\n{}", row.fault, row.details());
        }
        Ok(ExitCode::from(u8::from(!lost.is_empty())))
    }
}

#[derive(Args, Clone)]
struct Load {
    /// Open loop: so many operations a second in all, whatever the answers do. Without it each client waits for its
    /// answer.
    #[arg(long, value_parser = per_second)]
    per_second: Option<f64>,
}

fn per_second(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("\"{text}\" is not a rate; allowed: a number above 0"))
}

impl Load {
    fn pace(&self) -> Pace {
        self.per_second.map_or(Pace::Closed, |per_second| Pace::Open { per_second })
    }
}

impl Setting {
    fn plan(&self) -> Result<Plan> {
        let own = std::env::current_exe()?;
        let thuban = under_test(self.thuban.as_deref(), &own)?;
        let addresses = self.node_http.clone().zip(self.node_grpc.clone());
        let running = addresses.map(|(http, grpc)| Running { http, grpc, pid: self.node_pid });
        pin_self(1)?;
        Ok(Plan {
            thuban,
            own,
            running,
            core: 0,
            warm_up: Duration::from_secs(1),
            span: Duration::from_secs(self.seconds),
            repeats: usize::from(self.repeats),
        })
    }

    fn report(&self, machine: Machine, lines: Vec<Line>, otherwise: Option<&Path>) -> Result<ExitCode> {
        report(Report { machine, how: HOW, lines }, self.json.as_deref().or(otherwise))
    }
}

/// Moves this process to `core`, so that it does not take the server's.
fn pin_self(core: usize) -> Result<()> {
    if std::thread::available_parallelism()?.get() <= core {
        eprintln!("this machine has one core: load and server share it, and figures are worse than they could be");
        return Ok(());
    }
    let pid = std::process::id().to_string();
    let done = std::process::Command::new("taskset").args(["-cp", &core.to_string(), &pid]).output();
    let done = done.context("taskset, of util-linux, is needed to give server and load a core each")?;
    anyhow::ensure!(done.status.success(), "taskset: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let machine = Machine::this();
    let (setting, lines) = match Options::parse().command {
        Command::Bare { bytes } => {
            bare::serve(Recorded::read(&bytes)?).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Cluster(cluster) => return cluster.run(machine).await,
        Command::Compare(compare) => return compare.run(machine).await,
        Command::Faults(faults) => return faults.run().await,
        Command::Bench { setting, full, instances, leases } => {
            let lines = bench(&setting, full, instances, leases).await?;
            let path = std::env::current_exe()?.with_file_name("../bench.json");
            return setting.report(machine, lines, Some(&path));
        }
        Command::Read { setting, instances, load } => {
            let lines = table::read(&setting.plan()?, instances, load.pace()).await?;
            (setting, lines)
        }
        Command::Register { setting, connections, load } => {
            let lines = table::register(&setting.plan()?, connections, load.pace()).await?;
            (setting, lines)
        }
        Command::Watch { setting, watchers, changes } => {
            let lines = table::watch(&setting.plan()?, watchers, changes).await?;
            (setting, lines)
        }
        Command::Memory { setting, instances } => {
            let lines = table::memory(&setting.plan()?, instances).await?;
            (setting, lines)
        }
        Command::Renew { setting, leases, rounds } => {
            let lines = table::renew(&setting.plan()?, leases, rounds).await?;
            (setting, lines)
        }
    };
    setting.report(machine, lines, None)
}

async fn bench(setting: &Setting, full: bool, instances: usize, leases: usize) -> Result<Vec<Line>> {
    let mut plan = setting.plan()?;
    if full {
        plan.span = Duration::from_secs(15);
        plan.repeats = 5;
    }
    let told = |what: &str| eprintln!("{what} ...");
    told("reads");
    let mut lines = table::read(&plan, 10, Pace::Closed).await?;
    told("registers");
    lines.extend(table::register(&plan, 64, Pace::Closed).await?);
    told("changes to watchers");
    lines.extend(table::watch(&plan, 100, if full { 1_000 } else { 200 }).await?);
    told("memory");
    lines.extend(table::memory(&plan, instances).await?);
    told("leases");
    lines.extend(table::renew(&plan, leases, if full { 4 } else { 3 }).await?);
    Ok(lines)
}
