//! When watchers to whom nothing happens are told how far the node is.
//!
//! Watchers come in groups that are told at different times, so that a node with many of them is never busy with all
//! at once. Those of one group are told the same revision: their next delta begins at it, so it can be shared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::Revision;
use crate::port::clock::MonoMs;

/// How often each is told; the contract says 10 s.
const PERIOD_MS: MonoMs = 8_000;
const GROUPS: u64 = 16;

#[derive(Default)]
pub(super) struct Pulse {
    joined: AtomicU64,
    told: [Mutex<(MonoMs, Revision)>; GROUPS as usize],
}

/// One watcher's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    group: u64,
    pub(super) due_ms: MonoMs,
}

impl Pulse {
    /// A place in the next group.
    pub(super) fn join(&self, now: MonoMs) -> Beat {
        let group = self.joined.fetch_add(1, Ordering::Relaxed) % GROUPS;
        Beat { group, due_ms: due_after(group, now) }
    }

    pub(super) fn next(&self, beat: Beat, now: MonoMs) -> Beat {
        Beat { due_ms: due_after(beat.group, now), ..beat }
    }

    /// What is told at this beat: what the first of the group found.
    pub(super) fn revision(&self, beat: Beat, now: Revision) -> Revision {
        let mut told = self.told[beat.group as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if beat.due_ms > told.0 {
            *told = (beat.due_ms, now);
        }
        told.1
    }
}

/// The first time of a group's beat behind `now`.
fn due_after(group: u64, now: MonoMs) -> MonoMs {
    let offset = group * PERIOD_MS / GROUPS;
    match now.checked_sub(offset) {
        Some(since) => offset + (since / PERIOD_MS + 1) * PERIOD_MS,
        None => offset,
    }
}
