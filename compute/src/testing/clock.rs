//! Time and chance that a test moves.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::port::Chance;
use crate::port::clock::{Clock, MonoMs};

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

/// Chance that is the same for the same seed.
pub struct SeededChance(AtomicU64);

impl SeededChance {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(seed)))
    }

    fn step(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Chance for SeededChance {
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.step().to_le_bytes());
        bytes[8..].copy_from_slice(&self.step().to_le_bytes());
        bytes
    }
}
