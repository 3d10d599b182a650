//! The other nodes, as far as they are called directly: heartbeats to a lease's owner, ages at a hand-over, who watches
//! there. What must be agreed on goes through the log instead.
//!
//! [`Peers`] is a node's way to the others; [`Host`] is what it answers them.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{InstanceKey, LogIdentity, NodeIncarnation, Position, Revision, ServiceKey};
use crate::node::Report;
use crate::watch::Subscription;

/// How long ago somebody heard an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Age {
    pub instance: InstanceKey,
    pub generation: Revision,
    pub age_ms: u64,
}

/// What the log is to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reading {
    /// What it appends comes back.
    #[default]
    Reads,
    /// It does not answer, for all that this node can tell.
    Away,
    /// It is lost. This node applies nothing more of that life, and waits for the next.
    Stopped,
}

/// How far a node is that answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    pub node: NodeIncarnation,
    pub log: LogIdentity,
    pub reading: Reading,
    /// Final for this life of the log, where `reading` is [`Reading::Stopped`].
    pub applied: Position,
    pub landed: Position,
}

/// Every call ends within a time of the adapter's choosing, at most a second, whatever the other node does; a hand-over
/// of many ages, which may take longer, at most a second after the other node took the last part of it.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// What this node is called now, and the members, without it, as the log shows them, with the address of each one's
    /// peer door. Who is not among them is not called any more; before the first word nobody is known.
    fn know(&self, me: NodeIncarnation, members: &[(NodeIncarnation, Arc<str>)]);

    /// The members that answered a moment ago. Who was only just made known may be missing for a moment.
    fn reachable(&self) -> Vec<NodeIncarnation>;

    /// Asks `node` whether it is there.
    async fn ask(&self, node: NodeIncarnation) -> Result<Reply, PeerError>;

    /// What `node` alone knows of itself, for people.
    async fn report(&self, node: NodeIncarnation) -> Result<Report, PeerError>;

    /// Who watches a service through `node`.
    async fn subscribers(&self, node: NodeIncarnation, service: &ServiceKey) -> Result<Vec<Subscription>, PeerError>;

    /// Asks `node` to take nothing new and to send its clients elsewhere.
    async fn drain(&self, node: NodeIncarnation) -> Result<(), PeerError>;

    /// Tells `node`, the owner, of heartbeats that arrived here.
    async fn heartbeats(&self, node: NodeIncarnation, heard: Vec<Age>) -> Result<(), PeerError>;

    /// Gives `node` the ages of leases that become its own.
    async fn hand_over(&self, node: NodeIncarnation, ages: Vec<Age>) -> Result<(), PeerError>;
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    #[error("no member {0:?}")]
    Unknown(NodeIncarnation),
    /// Or another one answers at its address.
    #[error("the node does not answer: {0}")]
    Away(String),
    /// It is there, and does not believe the caller.
    #[error("the node refuses this one's calls: {0}")]
    Refused(String),
}

/// The other end: what a node answers the others. Nothing here waits; what takes long is only begun.
pub trait Host: Send + Sync + 'static {
    /// The node as it is now. Who calls another one than [`Reply::node`] is told so, and none of the rest is asked.
    fn reply(&self) -> Reply;

    /// `from` heard instances whose leases are this node's. Large calls come in several parts.
    fn heartbeats(&self, from: NodeIncarnation, heard: Vec<Age>);

    /// Leases became this node's, and `from` knows their ages. Large calls come in several parts.
    fn hand_over(&self, from: NodeIncarnation, ages: Vec<Age>);

    /// What this node alone knows of itself, for people.
    fn report(&self) -> Report;

    /// Who watches a service through this node.
    fn subscribers(&self, service: &ServiceKey) -> Vec<Subscription>;

    /// Takes nothing new and sends clients elsewhere.
    fn drain(&self);
}
