//! When the next round of wake-ups may start.
//!
//! Closed, it delays nothing: the first change after quiet goes out at once. It opens a step when most of those who
//! were woken by the last round have not come to read when the next one is due, so that the changes in between merge,
//! and closes by steps once they keep up. A span is counted from the end of the last round and never extended, so
//! constant churn can't starve anybody.

use crate::port::clock::MonoMs;

/// How far apart rounds are, by how far the window is open.
const SPANS_MS: [MonoMs; 4] = [0, 5, 20, 100];
/// Fewer wake-ups than this are no load, however late they are read.
const WOKEN_MIN: u64 = 64;
/// As many rounds in a row must have been read in time before it closes a step.
const CALM_ROUNDS: u32 = 4;
/// Without a round for this long, and nobody late, it closes at once.
const QUIET_MS: MonoMs = 200;

/// What became of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) woken: u64,
    /// Those of them who have not come to read yet.
    pub(super) waiting: u64,
}

impl Round {
    fn is_late(self) -> bool {
        self.woken >= WOKEN_MIN && self.waiting * 2 > self.woken
    }
}

#[derive(Debug, Default)]
pub(super) struct Window {
    level: usize,
    calm: u32,
    ended_ms: Option<MonoMs>,
}

impl Window {
    /// How long the next round, for which there is work at `now`, must wait.
    pub(super) fn delay(&mut self, now: MonoMs, last: Round) -> MonoMs {
        let Some(ended) = self.ended_ms else { return 0 };
        let since = now.saturating_sub(ended);
        if last.is_late() {
            self.level = (self.level + 1).min(SPANS_MS.len() - 1);
            self.calm = 0;
        } else if since >= QUIET_MS {
            self.level = 0;
            self.calm = 0;
        } else {
            self.calm += 1;
            if self.calm >= CALM_ROUNDS {
                self.level = self.level.saturating_sub(1);
                self.calm = 0;
            }
        }
        self.span_ms().saturating_sub(since)
    }

    pub(super) fn ended(&mut self, now: MonoMs) {
        self.ended_ms = Some(now);
    }

    pub(super) fn span_ms(&self) -> MonoMs {
        SPANS_MS[self.level]
    }
}
