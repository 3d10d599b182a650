//! The registries of others that Thuban is measured beside: where packages offer one, it is started from them in a
//! folder of its own, on loopback, and ends with this process; elsewhere it is loaded where it runs.

mod etcd;
mod zookeeper;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::process::Server;
use crate::scenario::{Node, Plan};
use crate::target::{Ack, Door};

/// What the JIT compiler of a JVM takes until most of it is done.
const JVM_WARM_UP: Duration = Duration::from_secs(20);

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registry {
    Thuban,
    Etcd,
    #[serde(rename = "zookeeper")]
    ZooKeeper,
}

impl FromStr for Registry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "etcd" => Ok(Self::Etcd),
            "zookeeper" => Ok(Self::ZooKeeper),
            other => Err(format!("\"{other}\" is no registry to compare with; allowed: etcd, zookeeper")),
        }
    }
}

/// A server that runs already, written `REGISTRY=HOST:PORT[@PID]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub registry: Registry,
    pub address: String,
    /// Without it nothing is known of its CPU time and memory.
    pub pid: Option<u32>,
}

impl FromStr for Running {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no running registry; allowed: REGISTRY=HOST:PORT[@PID]");
        let (registry, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (address, pid) = rest.split_once('@').map_or((rest, None), |(address, pid)| (address, Some(pid)));
        let registry = registry.parse()?;
        let pid = pid.map(|pid| pid.parse().map_err(|_| wrong())).transpose()?;
        let port = address.rsplit_once(':').ok_or_else(wrong)?.1;
        port.parse::<u16>().map_err(|_| wrong())?;
        Ok(Self { registry, address: address.to_owned(), pid })
    }
}

/// One that takes part, and where it runs if it does already.
#[derive(Clone, Debug)]
pub struct Contestant {
    pub registry: Registry,
    pub running: Option<Running>,
}

impl Registry {
    pub fn name(self) -> &'static str {
        match self {
            Self::Thuban => "thuban",
            Self::Etcd => "etcd",
            Self::ZooKeeper => "zookeeper",
        }
    }

    /// Its protocols, and what their acknowledgements can say.
    pub fn doors(self) -> &'static [(Door, Ack)] {
        match self {
            Self::Thuban => &[
                (Door::ThubanHttp, Ack::Disk),
                (Door::ThubanHttp, Ack::Memory),
                (Door::ThubanGrpc, Ack::Disk),
                (Door::ThubanGrpc, Ack::Memory),
                (Door::ThubanSession, Ack::Disk),
                (Door::ThubanSession, Ack::Memory),
            ],
            Self::Etcd => &[(Door::Etcd, Ack::Disk)],
            Self::ZooKeeper => &[(Door::ZooKeeper, Ack::Disk)],
        }
    }

    /// What stands behind an acknowledgement, for people.
    pub fn durability(self, ack: Ack) -> &'static str {
        match (self, ack) {
            (_, Ack::Memory) => "memory",
            (Self::Etcd, Ack::Disk) => "fsync (raft log)",
            (Self::ZooKeeper, Ack::Disk) => "fsync (transaction log)",
            (_, Ack::Disk) => "fsync (change log)",
        }
    }

    /// How long it is loaded before anything counts.
    pub fn warm_up(self, wanted: Duration) -> Duration {
        if self == Self::ZooKeeper { wanted.max(JVM_WARM_UP) } else { wanted }
    }
}

impl Contestant {
    /// Starts it on the plan's core, unless it runs. `tools` is where the packages were unpacked.
    pub fn start(&self, plan: &Plan, tools: &Path) -> Result<Node> {
        if let Some(Running { address, pid, .. }) = self.running.clone() {
            return Ok(Node::new(Server::running(address.clone(), address, pid), None));
        }
        let directory = tempfile::tempdir()?;
        let how = match self.registry {
            Registry::Thuban => return plan.node(),
            Registry::Etcd => etcd::how(tools, directory.path())?,
            Registry::ZooKeeper => zookeeper::how(tools, directory.path())?,
        };
        let server = Server::foreign(how, directory.path(), plan.core)?;
        Ok(Node::new(server, Some(directory)))
    }

    /// As its program says it; empty of one that runs elsewhere.
    pub fn version(&self, plan: &Plan, tools: &Path) -> Result<String> {
        if self.running.is_some() {
            return Ok(String::new());
        }
        match self.registry {
            Registry::Thuban => said(&plan.thuban, "version"),
            Registry::Etcd => said(&etcd::program(tools)?, "--version"),
            Registry::ZooKeeper => zookeeper::version(tools),
        }
    }
}

/// The number in the first line that a program says when it is asked for its version.
fn said(program: &Path, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output().with_context(|| program.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().unwrap_or_default();
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    Ok(line.split_whitespace().find(is_number).unwrap_or(line).to_owned())
}

/// The first of `places` that is a file, or the program as the system has it.
fn found(name: &str, places: &[PathBuf]) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join(name));
    let program = places.iter().cloned().chain(installed).find(|program| program.is_file());
    program.with_context(|| format!("no {name} on this machine: .ci/install {name}"))
}

/// `N` ports of loopback that nobody had a moment ago.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Those of `with`, each where `at` says that it runs.
pub fn contestants(with: &[Registry], at: &[Running]) -> Result<Vec<Contestant>> {
    let mut all = vec![Contestant { registry: Registry::Thuban, running: None }];
    for registry in with.iter().copied().chain(at.iter().map(|running| running.registry)) {
        if all.iter().any(|contestant| contestant.registry == registry) {
            continue;
        }
        let mut places = at.iter().filter(|running| running.registry == registry);
        let running = places.next().cloned();
        ensure!(places.next().is_none(), "{} is given two addresses", registry.name());
        all.push(Contestant { registry, running });
    }
    if all.len() == 1 {
        bail!("nothing to compare with: name one with --with or --at");
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_which_registry_and_which_process() {
        let running: Running = "zookeeper=127.0.0.1:2181@42".parse().expect("an address");
        assert_eq!(running.registry, Registry::ZooKeeper);
        assert_eq!((running.address.as_str(), running.pid), ("127.0.0.1:2181", Some(42)));
        let running: Running = "etcd=127.0.0.1:2379".parse().expect("an address");
        assert_eq!((running.address.as_str(), running.pid), ("127.0.0.1:2379", None));
        for wrong in ["etcd", "etcd=127.0.0.1", "etcd=127.0.0.1:x", "redis=127.0.0.1:1", "etcd=127.0.0.1:1@x"] {
            assert!(wrong.parse::<Running>().is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn each_takes_part_once_and_thuban_first() {
        let at: Running = "etcd=127.0.0.1:2379".parse().expect("an address");
        let all = contestants(&[Registry::ZooKeeper, Registry::ZooKeeper], std::slice::from_ref(&at)).expect("three");
        let names: Vec<_> = all.iter().map(|contestant| contestant.registry.name()).collect();
        assert_eq!(names, ["thuban", "zookeeper", "etcd"]);
        assert_eq!(all[2].running, Some(at.clone()));
        assert!(contestants(&[], &[]).is_err());
        assert!(contestants(&[], &[at.clone(), at]).is_err());
    }

    #[test]
    fn ports_differ() {
        let [a, b, c] = free_ports::<3>().expect("ports");
        assert!(a != b && b != c && a != c);
    }
}
