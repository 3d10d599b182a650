//! What is turned away for want of the secret: counted, and logged now and then.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use compute::port::clock::MonoMs;

/// Between two lines of the log, however much is turned away.
const LOGGED_MS: MonoMs = 10_000;

#[derive(Default)]
pub(super) struct Refused {
    since_logged: AtomicU64,
    logged_ms: AtomicU64,
}

impl Refused {
    /// One more. `Some` when a line is due, with how many there were since the last.
    pub(super) fn note(&self, now_ms: MonoMs) -> Option<u64> {
        let count = self.since_logged.fetch_add(1, Relaxed) + 1;
        let last = self.logged_ms.load(Relaxed);
        let is_due = last == 0 || now_ms.saturating_sub(last) >= LOGGED_MS;
        // One of those who find it due writes the line.
        let is_mine = is_due && self.logged_ms.compare_exchange(last, now_ms.max(1), Relaxed, Relaxed).is_ok();
        is_mine.then(|| {
            self.since_logged.fetch_sub(count, Relaxed);
            count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{LOGGED_MS, Refused};

    #[test]
    fn a_line_is_due_by_time_and_not_by_number() {
        let refused = Refused::default();
        assert_eq!(refused.note(5), Some(1), "the first is told at once");
        assert!((0..100_000).all(|_| refused.note(5 + LOGGED_MS - 1).is_none()));
        assert_eq!(refused.note(5 + LOGGED_MS), Some(100_001));
        assert_eq!(refused.note(5 + LOGGED_MS), None);
        assert_eq!(refused.note(5 + 3 * LOGGED_MS), Some(2));
    }
}
