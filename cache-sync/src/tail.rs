//! The most recent frames of a log in memory, for its readers.

use std::collections::VecDeque;

use compute::model::{Entry, Position};

/// What a frame takes beside its bytes, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// The most recent frames without a gap, up to the last one.
#[derive(Default)]
pub(crate) struct Tail {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Tail {
    /// Adds the next frame, of this many bytes, and forgets the oldest ones beyond `bytes_max`.
    pub(crate) fn push(&mut self, entry: Entry, bytes: usize, bytes_max: usize) {
        let bytes = bytes + ENTRY_OVERHEAD_BYTES;
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
        while self.bytes > bytes_max && self.entries.len() > 1 {
            if let Some((_, bytes)) = self.entries.pop_front() {
                self.bytes -= bytes;
            }
        }
    }

    /// Frames behind `after`, if it holds them; `None`: they are older, or not there yet.
    pub(crate) fn behind(&self, after: Position, max: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.0.position.offset();
        let skip = (after.offset() + 1).checked_sub(first)? as usize;
        // It may hold less than what the log's ends say while a push is under way, never more.
        let entries: Vec<_> = self.entries.range(skip.min(self.entries.len())..).take(max).collect();
        (!entries.is_empty()).then(|| entries.into_iter().map(|(entry, _)| entry.clone()).collect())
    }

    /// The frame of this offset, if it is here.
    pub(crate) fn at(&self, offset: u64) -> Option<&Entry> {
        let first = self.entries.front()?.0.position.offset();
        self.entries.get(offset.checked_sub(first)? as usize).map(|(entry, _)| entry)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}
