//! What a node of a cluster has beside its doors: the way to the others, and gossip about who is where.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use compute::Registry;
use compute::port::{Chance, Clock};
use gateway::listen::BindError;
use gateway::peer::GrpcPeers;
use gateway::peer::gossip::{self, About, Gossip};
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Cluster, Config};
use crate::doors::Doors;
use crate::ending::Ending;

/// How often a node says anew how busy it is, and under which incarnation it goes.
const TELL: Duration = Duration::from_secs(2);

/// What the others, and people, are told of this node: where its doors are, and what runs.
pub(crate) fn advertise(config: &mut Config, doors: &Doors) {
    let bound = doors.reports().into_iter().filter_map(|report| Some((report.name, report.address?)));
    let cluster = config.cluster.as_ref();
    let shown = bound.map(|(door, bound)| (door.into(), advertised(cluster, bound).into()));
    config.node.addresses = shown.collect();
    config.node.version = env!("CARGO_PKG_VERSION").into();
    if let Some(bound) = doors.peer_address() {
        config.node.peer_address = advertised(cluster, bound).into();
    }
}

fn advertised(cluster: Option<&Cluster>, bound: SocketAddr) -> String {
    match cluster.and_then(|cluster| cluster.advertise.as_ref()) {
        Some(host) if host.contains(':') => format!("[{host}]:{}", bound.port()),
        Some(host) => format!("{host}:{}", bound.port()),
        None => bound.to_string(),
    }
}

/// Opens the socket for gossip, if the node is one of a cluster.
pub(crate) async fn bind(config: &Config) -> Result<Option<gossip::Bound>, BindError> {
    let Some(cluster) = &config.cluster else { return Ok(None) };
    let bound = Gossip::bind(cluster.gossip).await?;
    tracing::info!(door = Gossip::NAMED.door, address = %bound.local_addr(), "listening");
    Ok(Some(bound))
}

/// Gossips until it is dropped.
pub(crate) async fn gossip(
    config: &Config,
    (doors, bound): (&Doors, gossip::Bound),
    (registry, peers): (Registry, Arc<GrpcPeers>),
    (clock, chance): (Arc<dyn Clock>, &dyn Chance),
) -> Result<Option<AbortOnDropHandle<()>>, Ending> {
    let Some(cluster) = &config.cluster else { return Ok(None) };
    let say = {
        let (http, grpc) = doors.addresses();
        let at = |bound: SocketAddr| Arc::<str>::from(advertised(Some(cluster), bound));
        let (http, grpc, peer) = (at(http), at(grpc), config.node.peer_address.clone());
        move |registry: &Registry| about(registry, [peer.clone(), http.clone(), grpc.clone()])
    };
    let secret = cluster.peers.secret.clone();
    let mut said = gossip::Config::new(cluster.join.clone(), registry.status().log, secret);
    let host = cluster.advertise.as_ref().and_then(|host| host.parse::<IpAddr>().ok());
    said.advertise = host.map(|host| SocketAddr::new(host, 0));
    let around = (Arc::clone(&clock), chance);
    let gossip = Gossip::start(bound, said, &say(&registry), around, move |others| peers.hear(others)).await?;
    Ok(Some(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            clock.sleep(TELL).await;
            gossip.tell(&say(&registry)).await;
        }
    }))))
}

fn about(registry: &Registry, [peer, http, grpc]: [Arc<str>; 3]) -> About {
    let status = registry.status();
    let counted = status.counted;
    About {
        node: status.node,
        name: status.name,
        peer,
        http,
        grpc,
        connections: counted.sessions as u64,
        leases: counted.leases.total() as u64,
    }
}
