//! A cluster of real processes, started by `deploy/local/cluster.py`, which takes orders as long as we hold its standard
//! input; and the links between its parts, which are ours.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::dice::Dice;
use super::link::{Callers, Link, Senders, Weather};

const START_WITHIN: Duration = Duration::from_secs(240);
/// Kafka may need a while to come back.
const ORDER_WITHIN: Duration = Duration::from_secs(150);
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub thuban: PathBuf,
    /// `deploy/local/cluster.py`.
    pub script: PathBuf,
    /// Where everything is written, and left; `None`: in a temporary one, which is removed.
    pub directory: Option<PathBuf>,
    pub buffer_pool: String,
}

pub struct Cluster {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Addresses, as the ready line says them: `lb`, `lb_grpc`, `node1`, ...
    at: BTreeMap<String, String>,
    /// By `node1.log`, `node1.store`, `node1.peer`; gossip goes with `peer`.
    links: Vec<(String, Link)>,
    pub nodes: Vec<String>,
    journals: Option<Journals>,
}

/// A directory with one for each node.
enum Journals {
    Left(PathBuf),
    Removed(TempDir),
}

impl Journals {
    /// Beside everything else that is left, if it is: what is wiped and filled are the nodes' own directories.
    fn of(plan: &Plan) -> Result<Self> {
        match &plan.directory {
            Some(directory) => Ok(Self::Left(std::path::absolute(directory)?.join("journals"))),
            None => Ok(Self::Removed(TempDir::new().context("make a directory for journals")?)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Left(path) => path,
            Self::Removed(folder) => folder.path(),
        }
    }
}

impl Cluster {
    /// With `dice` every link is ours, and they say what is lost on it; without, the parts speak to each other as they
    /// would elsewhere.
    pub async fn start(plan: &Plan, dice: Option<Dice>) -> Result<Self> {
        let mut command = Command::new("python3");
        command.arg(&plan.script).arg("--binary").arg(&plan.thuban);
        command.args(["--buffer-pool", &plan.buffer_pool, "--until-eof"]);
        let journals = dice.is_some().then(|| Journals::of(plan)).transpose()?;
        if let Some(journals) = &journals {
            command.arg("--links").arg("--journals").arg(journals.path());
        }
        if let Some(directory) = &plan.directory {
            command.arg("--directory").arg(directory);
        }
        // A group of its own: Ctrl-C ends us, and that ends its input.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start python3 {}", plan.script.display()))?;
        let mut orders = child.stdin.take().context("stdin is piped")?;
        let mut answers = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let mut links = Vec::new();
        if let Some(mut dice) = dice {
            let wanted = line(&mut answers, START_WITHIN, "cluster links ").await?;
            let senders = senders(&wanted);
            for (name, port) in pairs(&wanted) {
                links.push((name.clone(), link(&name, &port, senders.clone(), dice.split()).await?));
            }
            orders.write_all(b"linked\n").await?;
        }
        let ready = line(&mut answers, START_WITHIN, "cluster ready ").await?;
        let at: BTreeMap<_, _> = pairs(&ready).collect();
        let is_node = |name: &&String| name.strip_prefix("node").is_some_and(|n| n.parse::<u8>().is_ok());
        let nodes = at.keys().filter(is_node).cloned().collect();
        Ok(Self { child, orders, answers, at, links, nodes, journals })
    }

    /// Where each node writes down what it decides, in a directory of its name; only while every link is ours.
    pub fn journals(&self) -> Result<&Path> {
        self.journals.as_ref().map(Journals::path).context("nobody's decisions are written down")
    }

    /// Of `lb`, `lb_grpc`, a node, ...
    pub fn address(&self, of: &str) -> Result<&str> {
        self.at.get(of).map(String::as_str).with_context(|| format!("the cluster has no {of}"))
    }

    /// One of the orders that `cluster.py` takes; what it says to it.
    pub async fn order(&mut self, order: &str) -> Result<String> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await?;
        let said = timeout(ORDER_WITHIN, self.answers.next_line()).await;
        let said = said.with_context(|| format!("no answer to {order:?}"))??;
        let said = said.with_context(|| format!("the cluster ended at {order:?}"))?;
        match said.strip_prefix("ok") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => bail!("{order}: {said}"),
        }
    }

    /// Every link whose name holds `wanted`, and its gossip; of `NODE>LINK` for what that node sends over it.
    pub fn set_links(&self, weather: Weather, wanted: &str) {
        let (caller, _) = way(wanted);
        self.wanted(wanted).for_each(|link| link.set(weather, caller));
    }

    /// How often the weather on them has done something since they were asked last.
    pub fn touched(&self, wanted: &str) -> u64 {
        self.wanted(wanted).map(Link::touched).sum()
    }

    fn wanted(&self, wanted: &str) -> impl Iterator<Item = &Link> {
        let (_, link) = way(wanted);
        self.links.iter().filter(move |(name, _)| name.replace(".gossip", ".peer").contains(link)).map(|(_, link)| link)
    }

    /// How long it took, all of it.
    pub async fn stop(self) -> Result<Duration> {
        let Self { mut child, orders, links, .. } = self;
        let started = Instant::now();
        drop(orders);
        let ended = timeout(STOP_WITHIN, child.wait()).await.context("the cluster did not stop within 60 s")??;
        drop(links);
        ensure!(ended.success(), "the cluster ended with {ended}");
        Ok(started.elapsed())
    }
}

/// From the address where a node looks for it to where it is. Node N looks at 127.0.1.N.
async fn link(name: &str, port: &str, senders: Senders, dice: Dice) -> Result<Link> {
    let (node, part) = name.split_once('.').with_context(|| format!("{name:?} is no link"))?;
    let number: u8 = node.trim_start_matches("node").parse()?;
    let port: u16 = port.parse()?;
    let listen = SocketAddr::from((Ipv4Addr::new(127, 0, 1, number), port));
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match part {
        "gossip" => Link::udp(listen, to, senders, dice).await,
        "peer" => Link::tcp(listen, to, Callers::Asked, dice).await,
        _ => Link::tcp(listen, to, Callers::Unasked, dice).await,
    }
}

/// Who calls, if it is not anybody, and the link.
fn way(wanted: &str) -> (Option<&str>, &str) {
    wanted.split_once('>').map_or((None, wanted), |(caller, link)| (Some(caller), link))
}

/// A node gossips from the port where it listens.
fn senders(links: &str) -> Senders {
    let gossip = pairs(links).filter_map(|(name, port)| {
        let node = name.strip_suffix(".gossip")?;
        Some((port.parse().ok()?, node.to_owned()))
    });
    Senders::new(gossip.collect())
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>, within: Duration, start: &str) -> Result<String> {
    let line = timeout(within, lines.next_line()).await.with_context(|| format!("no line {start:?}"))??;
    let line = line.context("the cluster did not start; it said why on standard error")?;
    let rest = line.strip_prefix(start).with_context(|| format!("{line:?} in place of {start:?}"))?;
    Ok(rest.to_owned())
}

fn pairs(line: &str) -> impl Iterator<Item = (String, String)> {
    line.split_whitespace().filter_map(|word| word.split_once('=')).map(|(key, value)| (key.into(), value.into()))
}

/// Where `cluster.py` is, from the tree that this was built in.
pub fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/cluster.py")
}
