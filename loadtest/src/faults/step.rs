//! What can be done to a cluster: each step begins and ends, and a fault is some of them at once.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::link::Weather;
use super::scene::Scene;
use super::wrong_clock;

/// A fault, by its name in the table.
#[derive(Clone, Debug)]
pub struct Fault {
    pub name: String,
    pub steps: Vec<Step>,
    /// It ends when every live provider has renewed so often: each does so twice in 4 s.
    pub renewals: u64,
    /// Nobody is kept from renewing meanwhile. Else the fault lasts as long as so many renewals should take: a session
    /// whose node died is not resumed while the log is away, and a node that starts is not ready.
    pub all_can_renew: bool,
    /// Part of the short run, too.
    pub is_core: bool,
    /// An error that one retry does not cure is a fault of ours.
    pub is_planned: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// kill -9 of these nodes; they are started again after 5 s.
    Kill(Vec<usize>),
    /// A provider, and in the same moment the node that holds its session.
    KillWithProvider,
    /// kill -9 of the first and a start at once, and the same of the second as soon as the first listens again.
    RestartInTurn([usize; 2]),
    /// SIGTERM to each in turn, when the one before is ready again.
    Roll,
    /// SIGSTOP of a node, of `kafka` or `store`.
    Pause(String),
    /// kill -9 of `kafka` or `store`, which stays away.
    Away(String),
    /// Everything is gone: log, rows, and what the nodes wrote.
    Wipe,
    /// The log is gone, and Kafka knows nothing of it.
    LoseLog,
    /// On links whose names hold this: `node1.peer`, `.log`, ...; `node2>node1.peer` is the way from one to the other.
    Links(String, Weather),
    /// The way to the log of the node that holds most sessions: nobody else hears these.
    CutLog,
    /// The wall clock of a node is wrong by so many seconds, its monotonic one is not.
    Clock(usize, i64),
    /// The store lags, and all of the log is trimmed meanwhile.
    Trim,
    /// A node's disk fills up while it runs, and is still full when it is stopped and starts again.
    FullDisk(usize),
}

pub const CUT: Weather = Weather { is_cut: true, delay: Duration::ZERO, lost: 0 };

impl Step {
    /// Nodes that need not answer meanwhile.
    pub fn strikes(&self, nodes: &[String]) -> Vec<String> {
        match self {
            Self::Kill(at) => at.iter().map(|&at| nodes[at].clone()).collect(),
            Self::RestartInTurn(at) => at.iter().map(|&at| nodes[at].clone()).collect(),
            Self::Pause(name) if nodes.contains(name) => vec![name.clone()],
            Self::Clock(at, _) => vec![nodes[*at].clone()],
            // Each of them strikes as it goes.
            Self::KillWithProvider | Self::Roll | Self::FullDisk(_) => vec![],
            Self::Wipe => nodes.to_vec(),
            Self::Pause(_) | Self::Away(_) | Self::LoseLog | Self::Links(..) | Self::CutLog | Self::Trim => vec![],
        }
    }

    /// Whether the bound within which the dead must go counts only from its end. Else it counts from its beginning: a
    /// lease whose owner died goes on from that death.
    pub fn holds_removals(&self, nodes: usize) -> bool {
        match self {
            Self::Kill(at) => at.len() == nodes,
            Self::KillWithProvider => false,
            _ => true,
        }
    }

    pub async fn begin(&self, scene: &mut Scene) -> Result<()> {
        match self {
            Self::Kill(at) => {
                for &at in at {
                    scene.signal(at, "KILL").await?;
                }
            }
            Self::KillWithProvider => scene.kill_with_provider().await?,
            Self::RestartInTurn(nodes) => {
                for &node in nodes {
                    scene.restart(node, "").await?;
                }
            }
            Self::Roll => scene.roll().await?,
            Self::Pause(name) => drop(scene.cluster.order(&format!("signal {name} STOP")).await?),
            Self::Away(name) => drop(scene.cluster.order(&format!("down {name}")).await?),
            Self::Wipe => scene.wipe().await?,
            Self::LoseLog => scene.lose_log().await?,
            Self::Links(wanted, weather) => scene.cluster.set_links(*weather, wanted),
            Self::CutLog => {
                let node = scene.truth.busiest().context("a node that holds a session")?;
                scene.cluster.set_links(CUT, &format!("{node}.log"));
            }
            Self::Clock(at, wrong_s) => scene.restart_with_wrong_clock(*at, *wrong_s).await?,
            Self::FullDisk(at) => scene.fill_disk(*at).await?,
            Self::Trim => {
                scene.cluster.order("signal store STOP").await?;
                scene.renewed(2).await?;
                scene.cluster.order("trim").await?;
            }
        }
        Ok(())
    }

    pub async fn end(&self, scene: &mut Scene) -> Result<()> {
        match self {
            Self::Pause(name) => drop(scene.cluster.order(&format!("signal {name} CONT")).await?),
            Self::Away(name) => drop(scene.cluster.order(&format!("start {name}")).await?),
            Self::Links(wanted, _) => scene.clear_links(wanted),
            Self::CutLog => scene.clear_links(".log"),
            Self::Clock(at, _) => scene.restart(*at, "").await?,
            Self::FullDisk(at) => scene.restart_on(*at, "wipe").await?,
            Self::Trim => drop(scene.cluster.order("signal store CONT").await?),
            Self::Kill(_)
            | Self::KillWithProvider
            | Self::RestartInTurn(_)
            | Self::Roll
            | Self::Wipe
            | Self::LoseLog => {}
        }
        Ok(())
    }

    /// Why it cannot be done here.
    pub fn lacks(&self) -> Option<&'static str> {
        match self {
            Self::Clock(..) => wrong_clock::lacks(),
            Self::FullDisk(_) => lacks_mounts(),
            _ => None,
        }
    }
}

/// Why no disk of a size of its own can be had here.
fn lacks_mounts() -> Option<&'static str> {
    let runs = |program: &str, words: &[&str], at: &Path| {
        Command::new(program).args(words).arg(at).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let can = tempfile::tempdir().is_ok_and(|at| {
        runs("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs"], at.path()) && runs("umount", &[], at.path())
    });
    (!can).then_some("no file system may be mounted here: that is root's")
}
