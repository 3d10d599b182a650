use std::sync::Arc;

use super::{
    Freeze, FreezeScope, Instance, InstanceKey, LogIdentity, Namespace, NamespaceSettings, NodeIncarnation, Operator,
    Position, Process, Removal, Revision, ServiceKey, ServiceSettings, Session, SessionId, Suspicion, Tombstone,
};

/// One row to land: its value at the batch's end, or gone.
#[derive(Clone, PartialEq, Debug)]
pub enum Row<K, V> {
    Put(K, V),
    Delete(K),
}

impl<K, V> Row<K, V> {
    pub fn key(&self) -> &K {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }

    /// The key, and what it has; `None`: it is gone.
    pub fn into_parts(self) -> (K, Option<V>) {
        match self {
            Self::Put(key, value) => (key, Some(value)),
            Self::Delete(key) => (key, None),
        }
    }
}

impl<K, V> From<(K, Option<V>)> for Row<K, V> {
    fn from((key, value): (K, Option<V>)) -> Self {
        match value {
            Some(value) => Self::Put(key, value),
            None => Self::Delete(key),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct NamespaceRow {
    pub settings: NamespaceSettings,
    pub created_at_ms: u64,
    pub revision: Revision,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ServiceRow {
    pub settings: ServiceSettings,
    pub created_at_ms: u64,
    /// The last change of its settings or of any instance.
    pub revision: Revision,
    /// The last change of its settings: what `If-Match` compares.
    pub settings_revision: Revision,
    /// A register made it, nobody has described it since: it may be collected.
    pub implicit: bool,
    /// The last removal of an instance: the proof of an empty list.
    pub last_removal: Option<Removal>,
    /// Sum over its instances; checked at boot.
    pub digest: super::Digest,
}

/// An operator's word that outlived its instance.
#[derive(Clone, PartialEq, Debug, Hash)]
pub struct OverrideRow {
    pub operator: Operator,
    /// Log time at which it ends.
    pub until_ms: u64,
    /// For this process only; `None`: for whoever comes.
    pub only_for: Option<Process>,
}

impl OverrideRow {
    /// But for who said it, and when.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        let word = |row: &Self| Operator {
            author: self.operator.author.clone(),
            set_at_ms: 0,
            revision: Revision::ZERO,
            ..row.operator.clone()
        };
        (self.until_ms, &self.only_for, word(self)) == (other.until_ms, &other.only_for, word(other))
    }
}

pub type SessionRow = Session;
pub type SuspicionRow = Suspicion;
pub type FreezeRow = Freeze;

/// Which counters of an origin were applied: all up to `highest` but `gaps`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OriginRow {
    pub highest: u64,
    /// Rising; all below `highest`.
    pub gaps: Vec<u64>,
    /// Of its last change, so that the silent can be forgotten.
    pub last_seen: Position,
}

/// A node as its beacons show it. One that is gone is remembered as long as its origin is: what it said late must not
/// count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberRow {
    pub name: Arc<str>,
    /// Where other nodes reach it; may be empty.
    pub peer: Arc<str>,
    /// Log time of its first beacon.
    pub joined_ms: u64,
    pub joined: Revision,
    /// Its newest beacon, or what said that it is gone.
    pub seen: Revision,
    /// Everything up to here it has applied.
    pub applied: Position,
    /// Of what it has applied.
    pub rolling_hash: u64,
    /// Up to where it knows the rows to be in the store.
    pub landed: Position,
    /// It drains, and shall be given nothing any more.
    pub leaving: bool,
    pub gone: bool,
}

/// What apply carries from frame to frame beside the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogState {
    pub identity: LogIdentity,
    /// Everything up to it is in the rows.
    pub watermark: Position,
    /// The log's time there.
    pub time_ms: u64,
    /// The rolling hash of everything applied.
    pub rolling_hash: u64,
}

/// What apply reads, as rows: everything (a load) or what one range of the log changed (a landing).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rows {
    pub namespaces: Vec<Row<Namespace, NamespaceRow>>,
    pub services: Vec<Row<ServiceKey, ServiceRow>>,
    pub instances: Vec<Row<InstanceKey, Arc<Instance>>>,
    pub overrides: Vec<Row<InstanceKey, OverrideRow>>,
    pub tombstones: Vec<Row<InstanceKey, Tombstone>>,
    pub sessions: Vec<Row<SessionId, SessionRow>>,
    pub suspicions: Vec<Row<InstanceKey, SuspicionRow>>,
    pub freezes: Vec<Row<FreezeScope, FreezeRow>>,
    pub origins: Vec<Row<NodeIncarnation, OriginRow>>,
    pub members: Vec<Row<NodeIncarnation, MemberRow>>,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.namespaces.len()
            + self.services.len()
            + self.instances.len()
            + self.overrides.len()
            + self.tombstones.len()
            + self.sessions.len()
            + self.suspicions.len()
            + self.freezes.len()
            + self.origins.len()
            + self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
