use super::{Author, Revision};

/// Why an instance is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum RemovalReason {
    /// Its provider, or somebody in its name, said so.
    Deregistered,
    /// Its lease ended.
    Expired,
    /// An operator removed it.
    Operator,
}

impl RemovalReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deregistered => "deregistered",
            Self::Expired => "expired",
            Self::Operator => "operator",
        }
    }
}

/// The proof that an absent instance was removed: when, why, by whom, by which change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removal {
    /// Log time.
    pub at_ms: u64,
    pub reason: RemovalReason,
    pub author: Author,
    pub revision: Revision,
}

/// What is remembered of a removed instance for a bounded number of log positions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// The change that removed it.
    pub revision: Revision,
    /// The generation that it ended.
    pub generation: Revision,
}
