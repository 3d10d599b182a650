//! When TTL leases must be looked at: a wheel of buckets, each the head of a list.
//!
//! A heartbeat moves nothing here: it is a store into the lease's cell. A lease is looked at when it would be two thirds
//! of its TTL old if nothing had been heard, and put where its newest heartbeat says. One whose time is beyond the
//! wheel's reach is put at its far end, and looked at on the way.

use crate::port::clock::MonoMs;
use crate::state::freeze::LeaseId;

use super::slots::{NONE, Slots};

/// Width of a bucket. A lease is looked at no earlier than its time and at most this much later.
pub(super) const BUCKET_MS: MonoMs = 50;
const BUCKETS: u64 = 4_096;
const WORDS: usize = (BUCKETS / 64) as usize;

pub(super) struct Wheel {
    heads: Box<[u32]>,
    /// Which buckets hold something.
    filled: [u64; WORDS],
    /// The tick of the first bucket that may still hold something.
    next: u64,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { heads: vec![NONE; BUCKETS as usize].into(), filled: [0; WORDS], next: 0 }
    }

    /// Has a lease that is in no list looked at, not before `at`.
    pub(super) fn put(&mut self, slots: &mut Slots, lease: LeaseId, at: MonoMs) {
        let tick = at.div_ceil(BUCKET_MS).clamp(self.next, self.next + BUCKETS - 1);
        let bucket = (tick % BUCKETS) as usize;
        slots.link(lease, bucket as u32, &mut self.heads[bucket]);
        self.filled[bucket / 64] |= 1 << (bucket % 64);
    }

    pub(super) fn take_out(&mut self, slots: &mut Slots, lease: LeaseId) {
        let list = slots.list(lease);
        if list != NONE {
            self.unlink(slots, lease, list as usize);
        }
    }

    fn unlink(&mut self, slots: &mut Slots, lease: LeaseId, bucket: usize) {
        slots.unlink(lease, &mut self.heads[bucket]);
        if self.heads[bucket] == NONE {
            self.filled[bucket / 64] &= !(1 << (bucket % 64));
        }
    }

    /// Takes out one whose time has come.
    pub(super) fn pop(&mut self, slots: &mut Slots, now: MonoMs) -> Option<LeaseId> {
        let last = now / BUCKET_MS;
        match self.first() {
            Some(tick) if tick <= last => {
                self.next = tick;
                let bucket = (tick % BUCKETS) as usize;
                let lease = LeaseId(self.heads[bucket]);
                self.unlink(slots, lease, bucket);
                Some(lease)
            }
            _ => {
                self.next = self.next.max(last + 1);
                None
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<MonoMs> {
        self.first().map(|tick| tick * BUCKET_MS)
    }

    /// The tick of the first bucket that holds something.
    fn first(&self) -> Option<u64> {
        let start = (self.next % BUCKETS) as usize;
        let (word, bit) = (start / 64, start % 64);
        // The word of the start comes twice: first what is ahead of the start, at last what is behind it.
        let ahead = self.filled[word] & (u64::MAX << bit);
        let rest = (1..=WORDS).map(|step| (word + step) % WORDS).map(|at| (at, self.filled[at]));
        let (at, bits) = std::iter::once((word, ahead)).chain(rest).find(|(_, bits)| *bits != 0)?;
        let bucket = at * 64 + bits.trailing_zeros() as usize;
        let distance = (bucket + BUCKETS as usize - start) % BUCKETS as usize;
        Some(self.next + distance as u64)
    }
}

#[cfg(test)]
mod tests;
