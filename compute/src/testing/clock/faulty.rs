//! A clock as a bad machine has it: its time of day jumps, and it wakes late.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::port::clock::{Clock, MonoMs};

/// Over any clock, and faithful to it until it is told otherwise. What it does wrong a clock may do.
pub struct FaultyClock {
    inner: Arc<dyn Clock>,
    wall_off_ms: AtomicI64,
    late_ms: AtomicU64,
}

impl FaultyClock {
    pub fn over(inner: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { inner, wall_off_ms: AtomicI64::new(0), late_ms: AtomicU64::new(0) })
    }

    /// Moves the wall clock alone, forth or back, from where it is.
    pub fn jump_wall(&self, by_ms: i64) {
        self.wall_off_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// From now on sleepers wake this much later than they asked, as on a machine that is too busy.
    pub fn wake_late(&self, by_ms: u64) {
        self.late_ms.store(by_ms, Ordering::SeqCst);
    }
}

impl Clock for FaultyClock {
    fn mono_ms(&self) -> MonoMs {
        self.inner.mono_ms()
    }

    fn mono_us(&self) -> u64 {
        self.inner.mono_us()
    }

    fn wall_ms(&self) -> u64 {
        self.inner.wall_ms().saturating_add_signed(self.wall_off_ms.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, until: MonoMs) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.inner.sleep_until(until.saturating_add(self.late_ms.load(Ordering::SeqCst)))
    }
}
