//! ZooKeeper, from the jars that Maven has: one server. It forces each transaction to the disk, as it is delivered. It logs
//! nothing: its jars have no logger.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{free_ports, local};
use crate::process::Foreign;

/// The settings of a lone server; everything else is as delivered but the limit on connections of one address.
const SETTINGS: &str = "tickTime=2000\nmaxClientCnxns=0\nadmin.enableServer=false\nclientPortAddress=127.0.0.1\n";
const HEAP: &str = "-Xmx2g";

fn jars(tools: &Path) -> PathBuf {
    tools.join("zookeeper/lib")
}

pub(super) fn how(tools: &Path, directory: &Path) -> Result<Foreign> {
    version(tools)?;
    let [port] = free_ports()?;
    let folder = directory.to_str().context("a path of text")?;
    let settings = format!("{SETTINGS}clientPort={port}\ndataDir={folder}/zookeeper\n");
    std::fs::write(directory.join("zoo.cfg"), settings)?;
    let arguments = [
        "-cp".to_owned(),
        format!("{}/*", jars(tools).display()),
        HEAP.to_owned(),
        "org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned(),
        format!("{folder}/zoo.cfg"),
    ];
    let (http, grpc) = (local(port), local(port));
    Ok(Foreign { program: "java".into(), arguments: arguments.into(), variables: vec![], http, grpc })
}

/// In the name of its jar.
pub(super) fn version(tools: &Path) -> Result<String> {
    let none = || format!("no ZooKeeper in {}: .ci/install zookeeper", jars(tools).display());
    let entries = std::fs::read_dir(jars(tools)).with_context(none)?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_number = |version: &&str| version.starts_with(|c: char| c.is_ascii_digit());
    let version = |name: String| {
        let version = name.strip_prefix("zookeeper-")?.strip_suffix(".jar").filter(is_number)?;
        Some(version.to_owned())
    };
    names.filter_map(version).next().with_context(none)
}
