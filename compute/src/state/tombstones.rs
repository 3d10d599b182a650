use std::collections::VecDeque;

use crate::keyed::Keyed;
use crate::model::limits::TOMBSTONE_POSITIONS;
use crate::model::{GENERATIONS_FIRST, InstanceKey, Position, Revision, Tombstone};

/// Removals of the last [`TOMBSTONE_POSITIONS`] positions.
#[derive(Default)]
pub(super) struct Tombstones {
    by_key: Keyed<InstanceKey, Tombstone>,
    /// In the order of removal; an entry whose instance was removed again since is void.
    by_age: VecDeque<(Position, InstanceKey)>,
}

impl Tombstones {
    pub(super) fn get(&self, key: &InstanceKey) -> Option<&Tombstone> {
        self.by_key.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &InstanceKey> {
        self.by_key.keys()
    }

    /// Who was removed by a change, unless it was there again and has gone since.
    pub(super) fn removed_by(&self, revision: Revision) -> Option<&InstanceKey> {
        let at = revision.position();
        let first = self.by_age.partition_point(|(other, _)| *other < at);
        let mut there = self.by_age.range(first..).take_while(|(other, _)| *other == at).map(|(_, key)| key);
        there.find(|key| self.by_key.get(*key).is_some_and(|gone| gone.revision == revision))
    }

    pub(super) fn insert(&mut self, key: InstanceKey, tombstone: Tombstone) {
        let at = tombstone.revision.position();
        // Loaded rows come by key: keep the queue in order of age whatever the order of insertion.
        let index = self.by_age.partition_point(|(other, _)| *other <= at);
        self.by_age.insert(index, (at, key.clone()));
        self.by_key.insert(key, tombstone);
    }

    /// Bases from before this are refused: what was removed by then may be forgotten.
    pub(super) fn floor(at: Position) -> Position {
        let floor = at.back(TOMBSTONE_POSITIONS);
        // A first generation follows the empty state; a later one follows rows, whose removals are not known here.
        if floor.offset() == 0 && floor.generation() <= *GENERATIONS_FIRST.end() { Position::ZERO } else { floor }
    }

    /// Forgets what is below the floor; says which.
    pub(super) fn forget(&mut self, at: Position) -> Vec<InstanceKey> {
        let floor = Self::floor(at);
        let mut forgotten = Vec::new();
        while let Some((position, _)) = self.by_age.front()
            && *position < floor
        {
            let Some((position, key)) = self.by_age.pop_front() else { break };
            if self.by_key.get(&key).is_some_and(|t| t.revision.position() == position) {
                self.by_key.remove(&key);
                forgotten.push(key);
            }
        }
        forgotten
    }
}

#[cfg(test)]
mod tests;
