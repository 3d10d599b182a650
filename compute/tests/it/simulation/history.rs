//! What the clients of a run asked, saw and know: the material of the oracle.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compute::model::{Digest, InstanceKey, NodeIncarnation, Revision, ServiceKey};

/// A node said that it had heard an instance, or had registered it.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) key: InstanceKey,
    /// The incarnation that said so.
    pub(super) node: NodeIncarnation,
    /// The log was away for it.
    pub(super) is_away: bool,
    /// When it was asked, and when it had answered.
    pub(super) began_ms: u64,
    pub(super) ended_ms: u64,
}

/// A stream that a node held for the leases of a session.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) keys: Vec<InstanceKey>,
    pub(super) node: NodeIncarnation,
    pub(super) began_ms: u64,
    /// `None`: it is held at the end of the run.
    pub(super) ended_ms: Option<u64>,
}

/// A write that was acknowledged as being in the log.
#[derive(Clone, Debug)]
pub(super) struct Wrote {
    pub(super) key: InstanceKey,
    pub(super) what: &'static str,
    pub(super) revision: Revision,
    pub(super) is_landed: bool,
}

/// What a reader was shown.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) service: ServiceKey,
    /// The newest revision that this reader had seen of anything.
    pub(super) token: Revision,
    pub(super) revision: Revision,
    /// Everything up to here was applied there before it read.
    pub(super) applied: compute::model::Position,
    pub(super) digest: Digest,
    pub(super) count: usize,
}

/// What became of a provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Lives {
        since_ms: u64,
    },
    /// It says nothing any more, since then.
    Silent {
        since_ms: u64,
    },
    /// It said goodbye, and that was acknowledged.
    Left,
}

#[derive(Default)]
pub(super) struct History(Mutex<Told>);

#[derive(Default)]
pub(super) struct Told {
    pub(super) heard: Vec<Heard>,
    pub(super) held: Vec<Held>,
    pub(super) wrote: Vec<Wrote>,
    pub(super) read: Vec<Read>,
    pub(super) fates: BTreeMap<InstanceKey, Fate>,
    /// What the watchers had at the end of the run.
    pub(super) watched: Vec<(ServiceKey, Revision, Digest, usize)>,
    /// What a client saw that can't be.
    pub(super) wrong: Vec<String>,
}

impl History {
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
