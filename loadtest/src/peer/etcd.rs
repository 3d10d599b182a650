//! etcd, from Debian's package `etcd-server`: one member.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{found, free_ports, local};
use crate::process::Foreign;

/// More than a run writes; at the default of 2 GiB it would refuse.
const QUOTA_BYTES: u64 = 8 << 30;

pub(super) fn program(tools: &Path) -> Result<PathBuf> {
    found("etcd", &[tools.join("debian/etcd-server/usr/bin/etcd")])
}

pub(super) fn how(tools: &Path, directory: &Path) -> Result<Foreign> {
    let [client, peer] = free_ports()?.map(local);
    let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
    let folder = directory.to_str().context("a path of text")?;
    let options = [
        ("--name", "one".to_owned()),
        ("--data-dir", format!("{folder}/etcd")),
        ("--listen-client-urls", client_url.clone()),
        ("--advertise-client-urls", client_url),
        ("--listen-peer-urls", peer_url.clone()),
        ("--initial-advertise-peer-urls", peer_url.clone()),
        ("--initial-cluster", format!("one={peer_url}")),
        ("--quota-backend-bytes", QUOTA_BYTES.to_string()),
        ("--log-level", "error".to_owned()),
    ];
    let arguments = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    Ok(Foreign { program: program(tools)?, arguments, variables: vec![], http: client.clone(), grpc: client })
}
