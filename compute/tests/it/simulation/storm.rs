//! A bound on what one schedule may come to. Nodes that answer each other without an end are a finding, and not a test
//! that takes all the memory there is.

use std::sync::atomic::{AtomicU64, Ordering};

use super::level::Level;

/// Frames of one schedule: some hundreds are usual. Changes in them: some more.
pub(super) const FRAMES_MAX: u64 = 4_000;
const CHANGES_MAX: u64 = 40_000;
/// Waits of anybody for time to pass; some tens of thousands are usual.
const STEPS_MAX: u64 = 2_000_000;

pub(super) struct Storm {
    frames_max: u64,
    frames: AtomicU64,
    changes: AtomicU64,
    steps: AtomicU64,
    /// What there was too much of.
    broke: Level<Option<String>>,
}

impl Storm {
    pub(super) fn new(frames_max: u64) -> Self {
        let [frames, changes, steps] = Default::default();
        Self { frames_max, frames, changes, steps, broke: Level::default() }
    }

    /// A frame was appended, with so many changes.
    pub(super) fn frame(&self, changes: usize) {
        self.count(&self.frames, 1, self.frames_max, "frames");
        self.count(&self.changes, changes as u64, CHANGES_MAX, "changes");
    }

    /// Somebody waits for time to pass.
    pub(super) fn step(&self) {
        self.count(&self.steps, 1, STEPS_MAX, "steps");
    }

    /// Until there was too much of something: what is to be said of it. For ever, in most runs.
    pub(super) async fn broke(&self) -> String {
        self.broke.until(Option::is_some).await;
        self.broke.is(|broke| broke.clone().unwrap_or_default())
    }

    fn count(&self, counter: &AtomicU64, more: u64, max: u64, what: &str) {
        let before = counter.fetch_add(more, Ordering::Relaxed);
        if before <= max && before + more > max {
            self.broke.change(|broke| *broke = Some(format!("storm: more than {max} {what} in a schedule")));
        }
    }
}
