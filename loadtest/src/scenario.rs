//! What is loaded, and what must be true afterwards.

pub mod cluster;
pub mod memory;
pub mod read;
pub mod record;
pub mod register;
pub mod renew;
pub mod watch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use schemas::thuban::v1::registry_client::RegistryClient;
use tonic::transport::{Channel, Endpoint};

use crate::http::{Connection, request};
use crate::measure::Run;
use crate::process::Server;

/// How a benchmark is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `thuban` binary.
    pub thuban: PathBuf,
    /// This program, which serves as the bare server too.
    pub own: PathBuf,
    /// A node that runs already and is loaded in place of one of our own, and its process id.
    pub running: Option<Running>,
    /// The core of the server; the loader has the others.
    pub core: usize,
    pub warm_up: Duration,
    pub span: Duration,
    /// How often each measurement is repeated; the best counts, for neighbours only ever take away.
    pub repeats: usize,
}

#[derive(Clone, Debug)]
pub struct Running {
    pub http: String,
    pub grpc: String,
    pub pid: Option<u32>,
}

/// A node, on the embedded default in a directory of its own that goes with it, unless it runs already.
pub struct Node {
    pub server: Server,
    _directory: Option<tempfile::TempDir>,
}

impl Node {
    /// `directory` goes when the server has ended.
    pub fn new(server: Server, directory: Option<tempfile::TempDir>) -> Self {
        Self { server, _directory: directory }
    }
}

/// A node beside a bare server that answers the same bytes.
#[derive(Clone, Debug)]
pub struct Pair {
    pub node: Run,
    pub bare: Run,
}

impl Pair {
    /// Operations per CPU second of the node, as a share of the bare server's.
    pub fn share(&self) -> f64 {
        self.node.per_cpu_second / self.bare.per_cpu_second
    }

    /// Keeps the best of each side: what disturbs a run only ever makes it worse.
    fn better(best: Option<Self>, new: Self) -> Self {
        let pick = |old: Run, new: Run| if new.per_cpu_second > old.per_cpu_second { new } else { old };
        match best {
            Some(old) => Self { node: pick(old.node, new.node), bare: pick(old.bare, new.bare) },
            None => new,
        }
    }
}

impl Plan {
    pub fn node(&self) -> Result<Node> {
        if let Some(Running { http, grpc, pid }) = self.running.clone() {
            return Ok(Node { server: Server::running(http, grpc, pid), _directory: None });
        }
        let directory = tempfile::tempdir()?;
        let server = self.node_in(directory.path())?;
        Ok(Node { server, _directory: Some(directory) })
    }

    /// A node of our own, whatever else runs.
    pub fn node_in(&self, directory: &Path) -> Result<Server> {
        let directory = directory.to_str().context("a path of text")?;
        let arguments = ["serve", "--data-dir", directory, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"];
        Server::start(&self.thuban, &[&arguments[..], &["--log-level", "warn"]].concat(), self.core)
    }

    /// A bare server that answers what a node answers where `instances` instances are registered.
    pub async fn bare(&self, instances: usize) -> Result<Server> {
        let folder = tempfile::tempdir()?;
        record::record(self, instances).await?.write(folder.path())?;
        let bytes = folder.path().to_str().context("a path of text")?;
        Server::start(&self.own, &["bare", "--bytes", bytes], self.core)
    }
}

/// A number that this process has not used: what is registered under it is new.
pub fn unused() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
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

/// A node that can't take everything now is asked again after this time, for so long.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_FOR: Duration = Duration::from_secs(60);
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

/// A batch of which something was not taken for now is said again, as clients do.
async fn send_batch(connection: &mut Connection, items: &mut Vec<String>) -> Result<()> {
    let body = format!(r#"{{"items":[{}]}}"#, items.join(","));
    let deadline = Instant::now() + AGAIN_FOR;
    loop {
        let answer = connection.call(&request("POST", "/v1/batch/register", &body)).await?;
        let text = String::from_utf8_lossy(answer.body);
        let is_taken = answer.status == 200 && count_taken(&text) == items.len();
        if is_taken {
            items.clear();
            return Ok(());
        }
        let may_go_on = answer.status == 503
            || ["\"status\":202", "\"status\":503", "\"status\":504"].iter().any(|s| text.contains(s));
        ensure!(may_go_on && Instant::now() < deadline, "refused: {}", text.chars().take(500).collect::<String>());
        tokio::time::sleep(AGAIN).await;
    }
}

/// Items that the log has, made now or, where a batch is said again, before.
fn count_taken(text: &str) -> usize {
    ["\"status\":200", "\"status\":201"].iter().map(|status| text.matches(status).count()).sum()
}

pub async fn grpc(address: &str) -> Result<RegistryClient<Channel>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
    Ok(RegistryClient::new(channel))
}
