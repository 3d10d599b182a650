//! What can be done to a cluster: each step begins and ends, and a fault is some of them at once.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::link::Weather;
use super::scene::Scene;

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
    /// On links whose names hold this: `node1.peer`, `.log`, ...
    Links(String, Weather),
    /// The wall clock of a node is wrong by this, its monotonic one is not.
    Clock(usize, &'static str),
    /// The store lags, and all of the log is trimmed meanwhile.
    Trim,
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
            Self::KillWithProvider | Self::Roll => vec![],
            Self::Wipe => nodes.to_vec(),
            Self::Pause(_) | Self::Away(_) | Self::Links(..) | Self::Trim => vec![],
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
            Self::Links(wanted, weather) => scene.cluster.set_links(*weather, |name| name.contains(wanted)),
            Self::Clock(at, wrong) => {
                let library = faketime().context("no libfaketime")?;
                let clock = wrong_clock(&library, wrong).map(|(name, value)| format!("{name}={value}")).join(" ");
                scene.restart(*at, &clock).await?;
                scene.ready().await?;
            }
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
            Self::Links(wanted, _) => scene.cluster.set_links(Weather::default(), |name| name.contains(wanted)),
            Self::Clock(at, _) => scene.restart(*at, "").await?,
            Self::Trim => drop(scene.cluster.order("signal store CONT").await?),
            Self::Kill(_) | Self::KillWithProvider | Self::RestartInTurn(_) | Self::Roll | Self::Wipe => {}
        }
        Ok(())
    }

    /// Why it cannot be done here with this program.
    pub fn lacks(&self, thuban: &Path) -> Option<&'static str> {
        let Self::Clock(_, wrong) = self else { return None };
        let Some(library) = faketime() else {
            return Some("no libfaketime (Debian: apt-get install libfaketime)");
        };
        // Some allocators ask for the time before the library is ready to tell it, and wait for ever.
        let mut version = Command::new("timeout");
        version.arg("5").arg(thuban).arg("version").envs(wrong_clock(&library, wrong)).stdout(Stdio::null());
        let runs = version.status().is_ok_and(|status| status.success());
        (!runs).then_some("thuban does not start with libfaketime: it hangs in its allocator")
    }
}

/// The environment of a node whose wall clock is wrong.
fn wrong_clock<'a>(library: &'a str, wrong: &'a str) -> [(&'static str, &'a str); 3] {
    [("LD_PRELOAD", library), ("FAKETIME", wrong), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
}

fn faketime() -> Option<String> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"];
    let paths = folders.map(|folder| format!("{folder}/faketime/libfaketimeMT.so.1"));
    paths.into_iter().find(|path| Path::new(path).exists())
}
