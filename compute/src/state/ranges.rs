//! What waits to be landed, by where in the log it changed: on a shared log any node may have to land next, from
//! wherever the one before it stopped.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{LogState, Position, Rows};

use super::State;
use super::sealed::{Sealed, Unlanded};

/// A range of a shared log is closed when it is this long, or so many keys changed in it.
const RANGE_POSITIONS: u64 = 64;
const RANGE_KEYS: usize = 8_192;
/// Beyond this many the two smallest neighbours become one, unless that makes a range of more than so many keys: it could
/// only be landed as a whole.
const RANGES_MAX: usize = 32;
const MERGED_KEYS_MAX: usize = 65_536;
/// While the store is away a key is kept in several ranges, with what it was then. Beyond so many for each instance, and
/// at least these, ranges become one however large they are.
const KEPT_OF_INSTANCE: usize = 4;
const KEPT_MIN: usize = 262_144;

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
    /// The log at its end.
    upto: LogState,
    /// Shared with the landing that is under way.
    sealed: Arc<Sealed>,
}

impl Ranges {
    /// Nothing is known of what changed up to `floor`.
    pub(super) fn behind(floor: Position) -> Self {
        Self { since: floor, floor, ..Self::default() }
    }

    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    fn close(&mut self, upto: LogState, sealed: Sealed, instances: usize) {
        self.since = upto.watermark;
        if sealed.len() == 0 {
            return;
        }
        self.keys += sealed.len();
        self.closed.push_back(Range { upto, sealed: Arc::new(sealed) });
        if self.closed.len() > RANGES_MAX {
            self.merge_smallest(MERGED_KEYS_MAX);
        }
        if self.keys > KEPT_MIN.max(KEPT_OF_INSTANCE * instances) {
            self.merge_smallest(usize::MAX);
        }
    }

    /// Of those that no landing reads.
    fn merge_smallest(&mut self, keys_max: usize) {
        let size = |at: &usize| self.closed[*at].sealed.len() + self.closed[at + 1].sealed.len();
        let is_free = |at: usize| Arc::strong_count(&self.closed[at].sealed) == 1;
        let pairs = (0..self.closed.len().saturating_sub(1)).filter(|at| is_free(*at) && is_free(at + 1));
        let Some(at) = pairs.min_by_key(size).filter(|at| size(at) <= keys_max) else { return };
        let Some(later) = self.closed.remove(at + 1) else { return };
        let earlier = &mut self.closed[at];
        let (Some(into), Ok(from)) = (Arc::get_mut(&mut earlier.sealed), Arc::try_unwrap(later.sealed)) else {
            unreachable!("nobody else can begin to read a range while the state is borrowed");
        };
        self.keys -= into.len() + from.len();
        into.go_on(from);
        self.keys += into.len();
        earlier.upto = later.upto;
    }

    /// Those behind `landed`: at least one, and more while they have no more than `keys_max` keys together.
    fn behind_of(&self, landed: Position, keys_max: usize, end: LogState) -> Unlanded {
        let mut unlanded = Unlanded { ranges: Vec::new(), upto: end };
        let mut keys = 0;
        for range in self.closed.iter().filter(|range| range.upto.watermark > landed) {
            keys += range.sealed.len();
            if keys > keys_max && !unlanded.ranges.is_empty() {
                return unlanded;
            }
            unlanded.ranges.push(range.sealed.clone());
            unlanded.upto = range.upto;
        }
        unlanded.upto = end;
        unlanded
    }

    fn landed(&mut self, upto: Position) {
        while let Some(range) = self.closed.pop_front_if(|range| range.upto.watermark <= upto) {
            self.keys -= range.sealed.len();
            self.floor = range.upto.watermark;
        }
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
        if !self.ranges.closed.is_empty() {
            let before = self.ranges.behind_of(Position::ZERO, usize::MAX, self.log).rows();
            self.dirty.mark_all(&before);
        }
        self.ranges = Ranges::behind(self.log.watermark);
        let rows = std::mem::take(&mut self.dirty).rows(self);
        self.dirty.expect(&rows);
        rows
    }

    /// Gives back rows that were not landed; what has changed since keeps its newer value.
    pub fn give_back(&mut self, rows: &Rows) {
        self.dirty.mark_all(rows);
    }

    /// What changed behind the watermark `landed`, and maybe some of before, for landing by whichever node's turn it is:
    /// all of it up to [`State::log`], or as many ranges as have `keys_max` keys. It is given again until
    /// [`State::landed`] says that it need not be. Nothing is missing if `landed` is not below [`State::landable_from`].
    pub(crate) fn unlanded_behind(&mut self, landed: Position, keys_max: usize) -> Unlanded {
        self.close_range();
        self.ranges.behind_of(landed, keys_max, self.log)
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
        if (length >= RANGE_POSITIONS || self.dirty.len() >= RANGE_KEYS) && !self.members.is_empty() {
            self.close_range();
        }
    }

    fn close_range(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        let sealed = Sealed::seal(dirty, self);
        self.ranges.close(self.log, sealed, self.instances);
    }
}

#[cfg(test)]
mod tests;
