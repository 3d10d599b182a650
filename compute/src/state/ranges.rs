//! What waits to be landed, by where in the log it changed: on a shared log any node may have to land next, from
//! wherever the one before it stopped.

use std::collections::VecDeque;

use crate::model::{Position, Rows};

use super::State;
use super::dirty::Dirty;

/// A range of a shared log is closed when it is this long.
const RANGE_POSITIONS: u64 = 64;
/// Beyond this many the two smallest neighbours become one: while the store is away a key is kept at most this often.
const RANGES_MAX: usize = 32;

/// The ranges before the open one, which is [`State`]'s own.
#[derive(Default)]
pub(super) struct Ranges {
    /// The oldest first; each begins where the one before it ends.
    closed: VecDeque<Range>,
    /// In all of them together.
    keys: usize,
    /// Where the open range begins.
    since: Position,
    /// What changed up to here is not known any more.
    floor: Position,
}

struct Range {
    upto: Position,
    dirty: Dirty,
}

impl Ranges {
    /// Nothing is known of what changed up to `floor`.
    pub(super) fn behind(floor: Position) -> Self {
        Self { since: floor, floor, ..Self::default() }
    }

    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    fn close(&mut self, upto: Position, mut dirty: Dirty) {
        dirty.forget_values();
        self.since = upto;
        if dirty.len() == 0 {
            return;
        }
        self.keys += dirty.len();
        self.closed.push_back(Range { upto, dirty });
        if self.closed.len() > RANGES_MAX {
            self.merge_smallest();
        }
    }

    /// The smaller moves into the larger: however long the store is away, a key moves a few times only.
    fn merge_smallest(&mut self) {
        let size = |at: &usize| self.closed[*at].dirty.len() + self.closed[at + 1].dirty.len();
        let Some(at) = (0..self.closed.len().saturating_sub(1)).min_by_key(size) else { return };
        let Some(mut later) = self.closed.remove(at + 1) else { return };
        let earlier = &mut self.closed[at];
        self.keys -= earlier.dirty.len() + later.dirty.len();
        if earlier.dirty.len() < later.dirty.len() {
            std::mem::swap(&mut earlier.dirty, &mut later.dirty);
        }
        earlier.dirty.absorb(later.dirty);
        earlier.upto = later.upto;
        self.keys += earlier.dirty.len();
    }

    fn landed(&mut self, upto: Position) {
        while let Some(range) = self.closed.pop_front_if(|range| range.upto <= upto) {
            self.keys -= range.dirty.len();
            self.floor = range.upto;
        }
    }

    /// The keys of all, into the open range, which begins anew at `at`.
    fn take_all(&mut self, open: &mut Dirty, at: Position) {
        self.closed.drain(..).for_each(|range| open.absorb(range.dirty));
        *self = Self::behind(at);
    }
}

impl State {
    /// How many rows wait to be landed; one that changed in several ranges of the log counts in each.
    pub fn unlanded(&self) -> usize {
        self.dirty.len() + self.ranges.keys()
    }

    /// Takes what changed since the last time, coalesced to its values now, for landing up to
    /// [`State::log`] by the only node that lands.
    pub fn take_rows(&mut self) -> Rows {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.ranges.take_all(&mut dirty, self.log.watermark);
        let rows = dirty.rows(self);
        self.dirty.expect(&rows);
        rows
    }

    /// Gives back rows that were not landed; what has changed since keeps its newer value.
    pub fn give_back(&mut self, rows: &Rows) {
        self.dirty.mark_all(rows);
    }

    /// What changed behind the watermark `landed`, and maybe some of before, at its values now, for landing up to
    /// [`State::log`] by whichever node's turn it is. It is given again until [`State::landed`] says that it need not
    /// be. Nothing is missing if `landed` is not below [`State::landable_from`].
    pub fn take_rows_behind(&mut self, landed: Position) -> Rows {
        self.close_range();
        let mut behind = Dirty::default();
        for range in self.ranges.closed.iter().filter(|range| range.upto > landed) {
            behind.extend(&range.dirty);
        }
        behind.rows(self)
    }

    /// Rows up to there are in the store: they are given no more, but for those of a range that goes on behind it.
    pub fn landed(&mut self, upto: Position) {
        self.ranges.landed(upto);
        if upto >= self.log.watermark {
            self.dirty.clear();
            self.ranges = Ranges::behind(self.log.watermark);
        }
    }

    /// The least watermark from which this node could go on landing.
    pub fn landable_from(&self) -> Position {
        self.ranges.floor
    }

    /// Behind a frame: a log that one process has to itself has one range, which costs nothing.
    pub(super) fn turn_range(&mut self) {
        let length = self.log.watermark.packed() - self.ranges.since.packed();
        if length >= RANGE_POSITIONS && !self.members.is_empty() {
            self.close_range();
        }
    }

    fn close_range(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        self.ranges.close(self.log.watermark, dirty);
    }
}

#[cfg(test)]
mod tests;
