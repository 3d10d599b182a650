//! The roll call: when this node's next beacon is due, and who has been silent for so many of them that it is gone.
//!
//! Pure: fed with what was applied. Nobody's clock is compared with anybody else's: a silence is counted in this node's
//! own beacons, which came back through the same log in which the other's are missing.

use std::collections::BTreeMap;

use crate::model::NodeIncarnation;
use crate::port::clock::MonoMs;

/// From a beacon's return to the next.
pub(super) const BEACON_MS: MonoMs = 500;
/// A member that is silent for this many of this node's own beacons is gone.
pub(super) const SILENT_BEACONS: u32 = 4;

pub(super) struct Roll {
    me: NodeIncarnation,
    is_under_way: bool,
    next_at: MonoMs,
    others: BTreeMap<NodeIncarnation, Heard>,
}

struct Heard {
    /// When this node applied its last beacon.
    at: MonoMs,
    /// Own beacons that have come back since.
    silent: u32,
}

impl Roll {
    /// The first beacon is due at once: it says that this node is ready.
    pub(super) fn new(me: NodeIncarnation, others: impl Iterator<Item = NodeIncarnation>, now: MonoMs) -> Self {
        let others = others.filter(|node| *node != me).map(|node| (node, Heard { at: now, silent: 0 }));
        Self { me, is_under_way: false, next_at: now, others: others.collect() }
    }

    pub(super) fn is_due(&self, now: MonoMs) -> bool {
        !self.is_under_way && now >= self.next_at
    }

    /// When the next one is due; `None` while one is under way.
    pub(super) fn next_deadline(&self) -> Option<MonoMs> {
        (!self.is_under_way).then_some(self.next_at)
    }

    /// This node's beacon is handed to the log.
    pub(super) fn sent(&mut self) {
        self.is_under_way = true;
    }

    /// It did not get into the log, for certain.
    pub(super) fn taken_back(&mut self, now: MonoMs) {
        self.is_under_way = false;
        self.next_at = now + BEACON_MS;
    }

    /// A beacon was applied; those that are gone after it, if it is this node's own.
    pub(super) fn heard(&mut self, node: NodeIncarnation, now: MonoMs) -> Vec<NodeIncarnation> {
        if node != self.me {
            self.others.insert(node, Heard { at: now, silent: 0 });
            return Vec::new();
        }
        self.is_under_way = false;
        self.next_at = now + BEACON_MS;
        for heard in self.others.values_mut() {
            heard.silent += 1;
        }
        let silent = self.others.iter().filter(|(_, heard)| heard.silent >= SILENT_BEACONS);
        silent.map(|(node, _)| *node).collect()
    }

    /// The log says that a member is gone; when this node last heard it.
    pub(super) fn gone(&mut self, node: NodeIncarnation) -> Option<MonoMs> {
        self.others.remove(&node).map(|heard| heard.at)
    }

    /// The log is away, or was: nobody's silence means anything, and the count begins anew.
    pub(super) fn log_is_away(&mut self) {
        self.others.values_mut().for_each(|heard| heard.silent = 0);
    }
}

#[cfg(test)]
mod tests;
