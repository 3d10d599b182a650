//! The `Chance` port for tests: [`SeededChance`], [`RiggedChance`] over any chance, and the [`suite`](suite::suite).

mod rigged;
pub mod suite;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::port::Chance;

pub use rigged::RiggedChance;

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

#[cfg(test)]
mod tests;
