//! The other nodes, as far as they are called directly: heartbeats to a lease's owner, ages at a hand-over. What must
//! be agreed on goes through the log instead.

use async_trait::async_trait;

use crate::model::{InstanceKey, NodeIncarnation, Revision};

/// How long ago somebody heard an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Age {
    pub instance: InstanceKey,
    pub generation: Revision,
    pub age_ms: u64,
}

#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// The nodes that could be called now, without this one.
    fn reachable(&self) -> Vec<NodeIncarnation>;

    /// Tells `node`, the owner, of heartbeats that arrived here.
    async fn heartbeats(&self, node: NodeIncarnation, heard: Vec<Age>) -> Result<(), PeerError>;

    /// Gives `node` the ages of leases that become its own.
    async fn hand_over(&self, node: NodeIncarnation, ages: Vec<Age>) -> Result<(), PeerError>;
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    #[error("no member {0:?}")]
    Unknown(NodeIncarnation),
    #[error("the node does not answer: {0}")]
    Away(String),
}

/// No other nodes: the embedded registry.
pub struct Alone;

#[async_trait]
impl Peers for Alone {
    fn reachable(&self) -> Vec<NodeIncarnation> {
        Vec::new()
    }

    async fn heartbeats(&self, node: NodeIncarnation, _: Vec<Age>) -> Result<(), PeerError> {
        Err(PeerError::Unknown(node))
    }

    async fn hand_over(&self, node: NodeIncarnation, _: Vec<Age>) -> Result<(), PeerError> {
        Err(PeerError::Unknown(node))
    }
}
