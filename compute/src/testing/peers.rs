//! The `Peers` port for tests: a [`MemoryNetwork`] whose links can be cut, [`FaultyPeers`] over any peers, and the
//! [`suite`](suite::suite) that every transport passes.

mod faulty;
pub mod suite;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::model::NodeIncarnation;
use crate::port::peers::{Age, PeerError, Peers};

pub use faulty::{CallFault, FaultyPeers, PeerRates};

/// What a node is told by another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    Heartbeats { from: NodeIncarnation, heard: Vec<Age> },
    HandOver { from: NodeIncarnation, ages: Vec<Age> },
}

/// Where a node finds what it was told; not bounded, for a test reads it or fails.
pub type Inbox = mpsc::UnboundedReceiver<Delivery>;

/// Nodes of one process that call each other.
#[derive(Default)]
pub struct MemoryNetwork(Mutex<Links>);

#[derive(Default)]
struct Links {
    nodes: BTreeMap<NodeIncarnation, mpsc::UnboundedSender<Delivery>>,
    /// From the first to the second nothing gets through.
    cut: BTreeSet<(NodeIncarnation, NodeIncarnation)>,
}

impl MemoryNetwork {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Adds a node: its way to the others, and what they tell it.
    pub fn join(self: &Arc<Self>, node: NodeIncarnation) -> (Arc<MemoryPeers>, Inbox) {
        let (sender, inbox) = mpsc::unbounded_channel();
        self.links().nodes.insert(node, sender);
        (Arc::new(MemoryPeers { network: Arc::clone(self), node }), inbox)
    }

    /// Removes a node, as its death does.
    pub fn leave(&self, node: NodeIncarnation) {
        self.links().nodes.remove(&node);
    }

    /// Nothing gets through from `from` to `to` any more; the other way is another link.
    pub fn cut(&self, from: NodeIncarnation, to: NodeIncarnation) {
        self.links().cut.insert((from, to));
    }

    /// All links are whole again.
    pub fn mend(&self) {
        self.links().cut.clear();
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One node's way to the others of its [`MemoryNetwork`].
pub struct MemoryPeers {
    network: Arc<MemoryNetwork>,
    node: NodeIncarnation,
}

impl MemoryPeers {
    fn deliver(&self, to: NodeIncarnation, what: Delivery) -> Result<(), PeerError> {
        let links = self.network.links();
        let inbox = links.nodes.get(&to).filter(|_| to != self.node).ok_or(PeerError::Unknown(to))?;
        if links.cut.contains(&(self.node, to)) {
            return Err(PeerError::Away("the link is cut".into()));
        }
        inbox.send(what).map_err(|_| PeerError::Away("nobody reads what it is told".into()))
    }
}

#[async_trait]
impl Peers for MemoryPeers {
    fn reachable(&self) -> Vec<NodeIncarnation> {
        let links = self.network.links();
        let reached = |node: &NodeIncarnation| *node != self.node && !links.cut.contains(&(self.node, *node));
        links.nodes.keys().copied().filter(reached).collect()
    }

    async fn heartbeats(&self, node: NodeIncarnation, heard: Vec<Age>) -> Result<(), PeerError> {
        self.deliver(node, Delivery::Heartbeats { from: self.node, heard })
    }

    async fn hand_over(&self, node: NodeIncarnation, ages: Vec<Age>) -> Result<(), PeerError> {
        self.deliver(node, Delivery::HandOver { from: self.node, ages })
    }
}

#[cfg(test)]
mod tests;
