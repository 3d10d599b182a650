//! What is loaded, and what must be true afterwards.

pub mod memory;
pub mod read;
pub mod register;
pub mod renew;
pub mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use schemas::thuban::v1::registry_client::RegistryClient;
use tonic::transport::{Channel, Endpoint};

use crate::http::{Connection, request};
use crate::process::Server;

/// How a benchmark is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `thuban` binary.
    pub thuban: PathBuf,
    /// This program, which serves as the bare server too.
    pub own: PathBuf,
    /// The core of the server; the loader has the others.
    pub core: usize,
    pub warm_up: Duration,
    pub span: Duration,
    /// How often each measurement is repeated; the best counts, for neighbours only ever take away.
    pub repeats: usize,
}

/// A node on the embedded default, in a directory of its own that goes with it.
pub struct Node {
    pub server: Server,
    pub directory: tempfile::TempDir,
}

impl Plan {
    pub fn node(&self) -> Result<Node> {
        let directory = tempfile::tempdir()?;
        let server = self.node_in(directory.path())?;
        Ok(Node { server, directory })
    }

    pub fn node_in(&self, directory: &Path) -> Result<Server> {
        let directory = directory.to_str().context("a path of text")?;
        let arguments = ["serve", "--data-dir", directory, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"];
        Server::start(&self.thuban, &[&arguments[..], &["--log-level", "warn"]].concat(), self.core)
    }
}

/// The body of a register, with as many metadata keys.
pub fn provider(index: usize, keys: usize, lease: &str) -> String {
    let metadata: Vec<_> = (0..keys).map(|key| format!(r#""key-{key}":"value-{key}-{}""#, index % 97)).collect();
    let (a, b) = (index / 250 % 250, index % 250);
    format!(
        r#"{{"host":"10.0.{a}.{b}","port":8080,"zone":"eu-1a","version":"1.4.2","metadata":{{{}}},"lease":{lease}}}"#,
        metadata.join(",")
    )
}

/// A TTL so long that nothing lapses during a run.
pub const LONG: &str = r#"{"kind":"ttl","ttl_ms":86400000,"remove_after_ms":86400000}"#;

pub fn instances_path(service: &str) -> String {
    format!("/v1/namespaces/default/services/{service}/instances")
}

/// Registers `count` instances of each of `services` in batches.
pub async fn fill(address: &str, services: &[String], count: usize, keys: usize, lease: &str) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let mut items = Vec::new();
    for (s, service) in services.iter().enumerate() {
        for i in 0..count {
            let body = provider(s * count + i, keys, lease);
            let named = format!(r#"{{"namespace":"default","service":"{service}","id":"i-{i}","#);
            items.push(named + &body[1..]);
            if items.len() == 1_000 {
                send_batch(&mut connection, &mut items).await?;
            }
        }
    }
    if items.is_empty() { Ok(()) } else { send_batch(&mut connection, &mut items).await }
}

async fn send_batch(connection: &mut Connection, items: &mut Vec<String>) -> Result<()> {
    let body = format!(r#"{{"items":[{}]}}"#, items.join(","));
    let answer = connection.call(&request("POST", "/v1/batch/register", &body)).await?;
    let refused = String::from_utf8_lossy(answer.body).matches(r#""status":201"#).count() != items.len();
    ensure!(
        answer.status == 200 && !refused,
        "refused: {}",
        String::from_utf8_lossy(&answer.body[..answer.body.len().min(500)])
    );
    items.clear();
    Ok(())
}

pub async fn grpc(address: &str) -> Result<RegistryClient<Channel>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
    Ok(RegistryClient::new(channel))
}
