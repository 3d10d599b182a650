//! What a node alone knows of itself, as it tells people, also those who have asked another node.

use std::sync::Arc;

use crate::model::Position;

use super::{NodeStatus, Readiness};

/// Door and address.
pub type Address = (Arc<str>, Arc<str>);

/// What the log does not show of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Of the program.
    pub version: Arc<str>,
    /// Where clients and other nodes reach its doors.
    pub addresses: Vec<Address>,
    pub readiness: Readiness,
    /// Why it takes no renewals, though it answers reads: it hears nobody.
    pub isolated: Option<String>,
    /// Why it holds expiry back by itself.
    pub holding: Option<String>,
    /// For how long the log has been away for it; `None`: it is there.
    pub log_away_ms: Option<u64>,
    /// What the store said last, while it refuses or does not answer.
    pub store_error: Option<String>,
    pub applied: Position,
    /// Up to where it knows the rows to be in the store.
    pub landed: Position,
    pub lag: Lag,
    /// Rows that it keeps until they are in the store.
    pub unlanded: u64,
    /// Changes that it has accepted and the log does not have yet.
    pub overlay: u64,
    pub leases: Leases,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            version: "".into(),
            addresses: Vec::new(),
            readiness: Readiness::Ready,
            isolated: None,
            holding: None,
            log_away_ms: None,
            store_error: None,
            applied: Position::ZERO,
            landed: Position::ZERO,
            lag: Lag::default(),
            unlanded: 0,
            overlay: 0,
            leases: Leases::default(),
        }
    }
}

/// How far a node is behind the log, as it can tell by its own frames there; a node of a cluster appends one each 500 ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lag {
    /// Frames of the log up to its own newest one that it has not applied.
    pub frames: u64,
    /// For how long its newest frame has not come back; while the log is away, since when that is.
    pub ms: u64,
}

/// Leases by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leases {
    pub ttl: usize,
    pub stream: usize,
    pub checked: usize,
    pub permanent: usize,
    /// Standing suspicions among them.
    pub suspects: usize,
}

impl Leases {
    pub fn total(&self) -> usize {
        self.ttl + self.stream + self.checked + self.permanent
    }
}

impl NodeStatus {
    pub fn report(&self) -> Report {
        Report {
            version: self.version.clone(),
            addresses: self.addresses.clone(),
            readiness: self.readiness.clone(),
            isolated: self.isolated.clone(),
            holding: self.holding.clone(),
            log_away_ms: self.log_away_ms,
            store_error: self.store_error.clone(),
            applied: self.applied,
            landed: self.landed,
            lag: self.lag,
            unlanded: self.unlanded as u64,
            overlay: self.counted.overlay as u64,
            leases: self.counted.leases,
        }
    }
}
