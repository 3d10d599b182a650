use std::collections::BTreeMap;

use crate::model::limits::{ORIGIN_GAPS_MAX, ORIGIN_POSITIONS};
use crate::model::{NodeIncarnation, Origin, OriginRow, Position};

/// Which changes were seen, so that one appended twice is applied once.
#[derive(Default)]
pub(super) struct Origins(BTreeMap<NodeIncarnation, OriginRow>);

impl Origins {
    pub(super) fn get(&self, node: NodeIncarnation) -> Option<OriginRow> {
        self.0.get(&node).cloned()
    }

    pub(super) fn knows(&self, node: NodeIncarnation) -> bool {
        self.0.contains_key(&node)
    }

    pub(super) fn insert(&mut self, node: NodeIncarnation, row: OriginRow) {
        self.0.insert(node, row);
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeIncarnation> {
        self.0.keys().copied()
    }

    /// Notes a change; false when it was seen before.
    pub(super) fn admit(&mut self, origin: Origin, at: Position) -> bool {
        let row = self.0.entry(origin.node).or_default();
        row.last_seen = at;
        if origin.counter <= row.highest {
            let gap = row.gaps.binary_search(&origin.counter);
            return gap.map(|index| row.gaps.remove(index)).is_ok();
        }
        let first = (row.highest + 1).max(origin.counter.saturating_sub(ORIGIN_GAPS_MAX as u64));
        row.gaps.extend(first..origin.counter);
        let excess = row.gaps.len().saturating_sub(ORIGIN_GAPS_MAX);
        row.gaps.drain(..excess);
        row.highest = origin.counter;
        true
    }

    /// Forgets the long silent; says which.
    pub(super) fn forget(&mut self, at: Position) -> Vec<NodeIncarnation> {
        let floor = at.back(ORIGIN_POSITIONS);
        let silent: Vec<_> = self.0.iter().filter(|(_, row)| row.last_seen < floor).map(|(node, _)| *node).collect();
        silent.iter().for_each(|node| drop(self.0.remove(node)));
        silent
    }
}
