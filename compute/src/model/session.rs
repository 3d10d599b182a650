use std::fmt;
use std::sync::Arc;

use super::{Cause, NodeIncarnation, Revision, ServiceKey};

/// Names a session for ever: 128 random bits. Whoever brings it holds the session, so it is a secret: its text form
/// shows only the first quarter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str("…")
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One client connection as the log knows it: its stream leases live while it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Which attachment is the newest; raised by each resume. Decisions about its leases name it.
    pub epoch: u32,
    /// The node that holds the connection.
    pub node: NodeIncarnation,
    pub grace_ms: u32,
    pub client: Arc<str>,
    pub opened_at_ms: u64,
    pub revision: Revision,
}

/// Someone thinks that an instance is gone, and has said so in the log. At most one stands for an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suspicion {
    /// The change that raised it: what `unhealthy`, `expire` and `refute` name.
    pub revision: Revision,
    /// The generation of the suspect.
    pub generation: Revision,
    /// How old the lease was for the node that suspects.
    pub age_ms: u64,
    pub cause: Cause,
}

/// What a mass-loss freeze holds back.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum FreezeScope {
    /// All leases that one node owns.
    Node(NodeIncarnation),
    /// The leases of one service.
    Service(ServiceKey),
}

impl fmt::Display for FreezeScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Service(key) => write!(f, "service {key}"),
        }
    }
}

/// Removals that are held back because too many would go at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Freeze {
    pub revision: Revision,
    /// The node that froze, and that releases.
    pub node: NodeIncarnation,
    pub since_ms: u64,
    /// How many leases would have gone, of how many.
    pub lapsed: u32,
    pub of: u32,
}
