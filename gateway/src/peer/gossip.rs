//! What nodes tell each other in passing: where they are, and how busy. Over UDP, by chitchat.
//!
//! A hint, and never more: who is a member is in the log. It gives [`GrpcPeers`](super::GrpcPeers) the addresses of
//! nodes that the log has not shown yet, and lists their load. Every datagram is sealed with the cluster secret; what
//! is not is dropped unread.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState};
use compute::model::limits::{NODE_NAME_BYTES_MAX, PEER_BYTES_MAX};
use compute::model::{LogIdentity, NodeIncarnation};
use compute::port::{Chance, Clock};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

use super::Secret;
use crate::listen::{BindError, Named};
use sealed::Sealed;

mod sealed;
#[cfg(test)]
mod tests;

/// Between two rounds.
pub const INTERVAL_DEFAULT: Duration = Duration::from_millis(500);
/// After which a node that nobody hears is forgotten.
pub const FORGET_AFTER_DEFAULT: Duration = Duration::from_secs(600);
/// How many usual pauses a silence must last to mean that a node is not there.
const PHI_MAX: f64 = 8.0;
const SAMPLES: usize = 100;

/// What a node's gossip may be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where others reach it, if that is another address; port 0: the socket's own.
    pub advertise: Option<SocketAddr>,
    /// Where to begin: HOST:PORT of some nodes, found again by name each minute.
    pub seeds: Vec<String>,
    /// Nodes of another log are not listened to.
    pub cluster: LogIdentity,
    pub secret: Secret,
    pub interval: Duration,
    pub forget_after: Duration,
}

impl Config {
    pub fn new(seeds: Vec<String>, cluster: LogIdentity, secret: Secret) -> Self {
        let (interval, forget_after) = (INTERVAL_DEFAULT, FORGET_AFTER_DEFAULT);
        Self { advertise: None, seeds, cluster, secret, interval, forget_after }
    }
}

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    pub node: NodeIncarnation,
    pub name: Arc<str>,
    /// The addresses of its doors, as others reach them; empty where there is none.
    pub peer: Arc<str>,
    pub http: Arc<str>,
    pub grpc: Arc<str>,
    pub connections: u64,
    pub leases: u64,
}

const NODE: &str = "node";
const NAME: &str = "name";
const PEER: &str = "peer";
const HTTP: &str = "http";
const GRPC: &str = "grpc";
const CONNECTIONS: &str = "connections";
const LEASES: &str = "leases";

impl About {
    fn pairs(&self) -> Vec<(String, String)> {
        let pairs = [
            (NODE, format!("{:016x}", self.node.0)),
            (NAME, self.name.to_string()),
            (PEER, self.peer.to_string()),
            (HTTP, self.http.to_string()),
            (GRPC, self.grpc.to_string()),
            (CONNECTIONS, self.connections.to_string()),
            (LEASES, self.leases.to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// What is heard of a node; `None` while it is not whole, or when it is nothing that a node says.
    fn heard(state: &NodeState) -> Option<Self> {
        let text = |key, bytes_max: usize| {
            let value = state.get(key)?;
            let is_good = value.len() <= bytes_max && !value.chars().any(char::is_control);
            is_good.then(|| Arc::<str>::from(value))
        };
        let number = |key| state.get(key).and_then(|value| value.parse::<u64>().ok());
        let node = state.get(NODE).filter(|digits| digits.len() == 16)?;
        Some(Self {
            node: NodeIncarnation(u64::from_str_radix(node, 16).ok()?),
            name: text(NAME, NODE_NAME_BYTES_MAX)?,
            peer: text(PEER, PEER_BYTES_MAX)?,
            http: text(HTTP, PEER_BYTES_MAX)?,
            grpc: text(GRPC, PEER_BYTES_MAX)?,
            connections: number(CONNECTIONS)?,
            leases: number(LEASES)?,
        })
    }
}

/// A bound socket on which nobody gossips yet.
pub struct Bound {
    socket: UdpSocket,
    local: SocketAddr,
}

impl Bound {
    /// Where the socket really is.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// A running gossip; dropping it ends it.
pub struct Gossip {
    handle: ChitchatHandle,
    _listening: AbortOnDropHandle<()>,
}

impl Gossip {
    /// The name and the option of its socket.
    pub const NAMED: Named = Named { door: "gossip", option: "--gossip" };

    /// Opens the socket; port 0 becomes a port.
    pub async fn bind(addr: SocketAddr) -> Result<Bound, BindError> {
        let refused = |source| BindError::Address { named: Self::NAMED, addr, source };
        let socket = UdpSocket::bind(addr).await.map_err(refused)?;
        let local = socket.local_addr().map_err(refused)?;
        Ok(Bound { socket, local })
    }

    /// Begins. `told` hears what is known of the other live nodes, each time it changes.
    pub async fn start(
        Bound { socket, local }: Bound,
        config: Config,
        about: &About,
        (clock, chance): (Arc<dyn Clock>, &dyn Chance),
        told: impl Fn(&[About]) + Send + 'static,
    ) -> Result<Self, BindError> {
        let refused = |source| BindError::Address { named: Self::NAMED, addr: local, source };
        let reached = match config.advertise {
            Some(addr) if addr.port() > 0 => addr,
            Some(addr) => SocketAddr::new(addr.ip(), local.port()),
            None => local,
        };
        let sealed = Sealed::new(socket, &config.secret, clock);
        // Each life of a process is a node of its own to chitchat; an incarnation may change within one.
        let id = ChitchatId::new(format!("{:016x}", chance.number()), 0, reached);
        let chitchat = chitchat_config(&config, id.clone(), local);
        let handle = chitchat::spawn_chitchat(chitchat, about.pairs(), &sealed).await;
        let handle = handle.map_err(|error| refused(std::io::Error::other(error.to_string())))?;
        let live = handle.with_chitchat(|chitchat| chitchat.live_nodes_watcher()).await;
        let listening = tokio::spawn(listen(live, id, told));
        Ok(Self { handle, _listening: AbortOnDropHandle::new(listening) })
    }

    /// Says something new of this node.
    pub async fn tell(&self, about: &About) {
        let mut chitchat = self.handle.chitchat().lock_owned().await;
        let state = chitchat.self_node_state();
        for (key, value) in about.pairs() {
            state.set(key, value);
        }
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

fn chitchat_config(config: &Config, chitchat_id: ChitchatId, listen_addr: SocketAddr) -> ChitchatConfig {
    let failure_detector_config = FailureDetectorConfig {
        phi_threshold: PHI_MAX,
        sampling_window_size: SAMPLES,
        max_interval: config.interval * 10,
        initial_interval: config.interval * 2,
        dead_node_grace_period: config.forget_after,
    };
    ChitchatConfig {
        chitchat_id,
        cluster_id: config.cluster.to_string(),
        gossip_interval: config.interval,
        listen_addr,
        seed_nodes: config.seeds.clone(),
        failure_detector_config,
        marked_for_deletion_grace_period: config.forget_after,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}

type Live = tokio::sync::watch::Receiver<BTreeMap<ChitchatId, NodeState>>;

async fn listen(mut live: Live, me: ChitchatId, told: impl Fn(&[About]) + Send) {
    let nodes = metrics::gauge!("thuban_gossip_nodes");
    let mut before = Vec::new();
    loop {
        let heard: Vec<_> = {
            let states = live.borrow_and_update();
            states.iter().filter(|(id, _)| **id != me).filter_map(|(_, state)| About::heard(state)).collect()
        };
        nodes.set(heard.len() as f64);
        if heard != before {
            told(&heard);
            before = heard;
        }
        if live.changed().await.is_err() {
            return;
        }
    }
}
