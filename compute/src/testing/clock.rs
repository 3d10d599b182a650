//! The `Clock` port for tests: [`ManualClock`], [`FaultyClock`] over any clock, and the [`suite`](suite::suite) that
//! every clock passes.

mod faulty;
pub mod suite;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::port::clock::{Clock, MonoMs};

pub use faulty::FaultyClock;

/// A clock that stands still until it is advanced.
pub struct ManualClock {
    mono_ms: watch::Sender<MonoMs>,
    wall_ms: AtomicU64,
}

impl ManualClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { mono_ms: watch::Sender::new(0), wall_ms: AtomicU64::new(1_700_000_000_000) })
    }

    pub fn advance(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.mono_ms.send_modify(|now| *now += ms);
    }

    /// Moves the wall clock alone, as an administrator or a broken time server would.
    pub fn set_wall_ms(&self, ms: u64) {
        self.wall_ms.store(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn mono_ms(&self) -> MonoMs {
        *self.mono_ms.borrow()
    }

    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn sleep_until(&self, until: MonoMs) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut now = self.mono_ms.subscribe();
        Box::pin(async move {
            while *now.borrow_and_update() < until {
                if now.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
