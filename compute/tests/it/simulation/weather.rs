//! What lies between the nodes and the log, the store and each other: what is cut, slow, or faulty at this moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::level::Level;

/// Everything that is wrong now. Healed, nothing is.
#[derive(Clone, Default, Debug)]
pub(super) struct Sky {
    /// Nodes that do not reach the log, or the store.
    pub(super) cut_from_log: BTreeSet<Arc<str>>,
    pub(super) cut_from_store: BTreeSet<Arc<str>>,
    /// From the first to the second nothing gets through.
    pub(super) cut: BTreeSet<(Arc<str>, Arc<str>)>,
    /// How late a node reads the log, and how long it takes to write it.
    pub(super) reads_late_ms: BTreeMap<Arc<str>, u64>,
    pub(super) writes_late_ms: BTreeMap<Arc<str>, u64>,
    /// How long the store takes.
    pub(super) store_late_ms: u64,
    /// Of 100 calls of the log, and of the store, so many end badly.
    pub(super) log_faults: u64,
    pub(super) store_faults: u64,
    /// Of 100 calls between nodes so many are lost.
    pub(super) peers_lost: u64,
    /// What a node's wall clock shows more than the true time.
    pub(super) wall_ahead_ms: BTreeMap<Arc<str>, u64>,
}

pub(super) type Weather = Level<Sky>;
