//! How much of the write-ahead log is used, and when it is to be emptied into the file.

/// Its size on disk from the start; longer than what is used before it is emptied by what a large group takes.
pub(super) const AHEAD_BYTES: u64 = 8 * 1024 * 1024;
const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// Kept free while it can't be emptied, so that a full disk does not also forbid the trim that would help: deleting rows,
/// and moving what is left to the front of the file.
const RESERVE_BYTES: u64 = 3 * 1024 * 1024;

/// An account: SQLite does not say how much it has used. Numbers are a little high.
pub(super) struct Ahead {
    used_bytes: u64,
    empty_at_bytes: u64,
    /// The file can't grow, and so it can't be emptied.
    is_stuck: bool,
}

impl Ahead {
    pub(super) fn empty() -> Self {
        Self { used_bytes: 0, empty_at_bytes: CHECKPOINT_BYTES, is_stuck: false }
    }

    /// As an earlier life left it, on a disk that is full.
    pub(super) fn stuck(used_bytes: u64) -> Self {
        Self { used_bytes, empty_at_bytes: used_bytes + CHECKPOINT_BYTES / 2, is_stuck: true }
    }

    pub(super) fn add(&mut self, bytes: u64) {
        self.used_bytes += bytes;
    }

    pub(super) fn is_due(&self) -> bool {
        self.used_bytes >= self.empty_at_bytes
    }

    /// Space was made, so that emptying it may succeed again.
    pub(super) fn make_due(&mut self) {
        self.empty_at_bytes = self.used_bytes;
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Whether so much more should not be written before it could be emptied.
    pub(super) fn has_no_room(&self, bytes: u64) -> bool {
        self.is_stuck && self.used_bytes + bytes > AHEAD_BYTES - RESERVE_BYTES
    }

    /// It could not be emptied, and what failed is not tried again before there is more to do.
    pub(super) fn failed(&mut self, is_full: bool) {
        self.is_stuck = is_full;
        self.empty_at_bytes = self.used_bytes + CHECKPOINT_BYTES / 2;
    }
}
