use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SECOND_US: u64 = 1_000_000;

/// At most so many a second, with a second's worth at once after a pause.
///
/// Kept as one number: the time at which the next request would be due if all came evenly. A request may be early by
/// up to a second.
pub(super) struct Rate {
    gap_us: u64,
    due_us: AtomicU64,
}

impl Rate {
    pub(super) fn per_second(count: u32) -> Self {
        Self { gap_us: (SECOND_US / u64::from(count.max(1))).max(1), due_us: AtomicU64::new(0) }
    }

    /// Takes one request's share, or says how long to wait for it.
    pub(super) fn spend(&self, now_us: u64) -> Result<(), Duration> {
        let mut due = self.due_us.load(Ordering::Relaxed);
        loop {
            let next = due.max(now_us) + self.gap_us;
            let early = next - now_us;
            if early > SECOND_US.max(self.gap_us) {
                return Err(Duration::from_micros(early - SECOND_US));
            }
            match self.due_us.compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => due = seen,
            }
        }
    }
}
