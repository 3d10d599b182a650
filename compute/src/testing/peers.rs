//! The `Peers` port for tests: a [`MemoryNetwork`] whose links can be cut, [`FaultyPeers`] over any peers, an
//! [`InboxHost`] that keeps what it is told, and the [`suite`](suite::suite) that every transport passes.

mod faulty;
mod inbox;
pub mod suite;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::model::{NodeIncarnation, ServiceKey};
use crate::node::Report;
use crate::port::peers::{Age, Host, PeerError, Peers, Reply};
use crate::watch::Subscription;

pub use faulty::{CallFault, FaultyPeers, PeerRates};
pub use inbox::{Delivery, Inbox, InboxHost};

/// Nodes of one process that call each other. Each has an address, which the next life of a node may have again.
#[derive(Default)]
pub struct MemoryNetwork(Mutex<Links>);

#[derive(Default)]
struct Links {
    /// Who answers at an address.
    hosts: BTreeMap<Arc<str>, Arc<dyn Host>>,
    /// From the first to the second nothing gets through.
    cut: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Nobody believes who calls from there.
    strangers: BTreeSet<Arc<str>>,
}

impl MemoryNetwork {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The way to the others of a node that is, or will be, at `address`.
    pub fn enter(self: &Arc<Self>, address: &str) -> Arc<MemoryPeers> {
        Arc::new(MemoryPeers { network: Arc::clone(self), address: address.into(), known: Mutex::default() })
    }

    /// From now on `host` answers at `address`.
    pub fn serve(&self, address: &str, host: Arc<dyn Host>) {
        self.links().hosts.insert(address.into(), host);
    }

    /// Nobody answers at `address` any more, as after a death.
    pub fn leave(&self, address: &str) {
        self.links().hosts.remove(address);
    }

    /// Nothing gets through from `from` to `to` any more; the other way is another link. An answer goes with its call.
    pub fn cut(&self, from: &str, to: &str) {
        self.links().cut.insert((from.into(), to.into()));
    }

    /// Whoever calls from `address` is refused, as one with another secret is.
    pub fn distrust(&self, address: &str) {
        self.links().strangers.insert(address.into());
    }

    /// All links are whole again, and everybody is believed.
    pub fn mend(&self) {
        let mut links = self.links();
        links.cut.clear();
        links.strangers.clear();
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One node's way to the others of its [`MemoryNetwork`].
pub struct MemoryPeers {
    network: Arc<MemoryNetwork>,
    address: Arc<str>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    me: Option<NodeIncarnation>,
    members: BTreeMap<NodeIncarnation, Arc<str>>,
}

impl MemoryPeers {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This node's name, and who answers for `node`.
    fn reach(&self, node: NodeIncarnation) -> Result<(NodeIncarnation, Arc<dyn Host>), PeerError> {
        let (me, address) = {
            let known = self.known();
            let address = known.members.get(&node).cloned();
            known.me.zip(address).ok_or(PeerError::Unknown(node))?
        };
        let host = {
            let links = self.network.links();
            if links.cut.contains(&(Arc::clone(&self.address), Arc::clone(&address))) {
                return Err(PeerError::Away("the link is cut".into()));
            }
            links.hosts.get(&address).cloned()
        };
        let host = host.ok_or_else(|| PeerError::Away(format!("nobody answers at {address}")))?;
        if self.network.links().strangers.contains(&self.address) {
            return Err(PeerError::Refused(format!("{address} does not believe it")));
        }
        match host.reply().node {
            there if there == node => Ok((me, host)),
            other => Err(PeerError::Away(format!("at {address} is {other:?}"))),
        }
    }
}

#[async_trait]
impl Peers for MemoryPeers {
    fn know(&self, me: NodeIncarnation, members: &[(NodeIncarnation, Arc<str>)]) {
        let members = members.iter().filter(|(node, _)| *node != me).cloned().collect();
        *self.known() = Known { me: Some(me), members };
    }

    fn reachable(&self) -> Vec<NodeIncarnation> {
        let members: Vec<_> = self.known().members.keys().copied().collect();
        members.into_iter().filter(|node| self.reach(*node).is_ok()).collect()
    }

    async fn ask(&self, node: NodeIncarnation) -> Result<Reply, PeerError> {
        self.reach(node).map(|(_, host)| host.reply())
    }

    async fn report(&self, node: NodeIncarnation) -> Result<Report, PeerError> {
        self.reach(node).map(|(_, host)| host.report())
    }

    async fn subscribers(&self, node: NodeIncarnation, service: &ServiceKey) -> Result<Vec<Subscription>, PeerError> {
        self.reach(node).map(|(_, host)| host.subscribers(service))
    }

    async fn drain(&self, node: NodeIncarnation) -> Result<(), PeerError> {
        self.reach(node).map(|(_, host)| host.drain())
    }

    async fn heartbeats(&self, node: NodeIncarnation, heard: Vec<Age>) -> Result<(), PeerError> {
        self.reach(node).map(|(me, host)| host.heartbeats(me, heard))
    }

    async fn hand_over(&self, node: NodeIncarnation, ages: Vec<Age>) -> Result<(), PeerError> {
        self.reach(node).map(|(me, host)| host.hand_over(me, ages))
    }
}

#[cfg(test)]
mod tests;
