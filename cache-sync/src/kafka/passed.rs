//! Says what a reader passed over: at once, and then every 10 s at most, for there may be thousands in a row.

use std::sync::Arc;

use compute::port::Clock;

use super::record::Passed;

const SAID_MS: u64 = 10_000;

/// What one reader passed over and has not said yet.
pub(super) struct Passing {
    role: &'static str,
    clock: Arc<dyn Clock>,
    foreign: Run,
    outlived: Run,
}

/// How many, and between which offsets of the log.
#[derive(Default)]
struct Run {
    count: u64,
    first: u64,
    last: u64,
    said_ms: Option<u64>,
}

impl Passing {
    pub(super) fn new(role: &'static str, clock: &Arc<dyn Clock>) -> Self {
        Self { role, clock: Arc::clone(clock), foreign: Run::default(), outlived: Run::default() }
    }

    /// The record at Kafka's `offset` was passed over.
    pub(super) fn count(&mut self, passed: Passed, offset: u64) {
        let run = match passed {
            Passed::Foreign => {
                metrics::counter!("thuban_foreign_records_total").increment(1);
                &mut self.foreign
            }
            Passed::Outlived => {
                metrics::counter!("thuban_log_outlived_frames_total").increment(1);
                &mut self.outlived
            }
        };
        run.last = offset + 1;
        if run.count == 0 {
            run.first = run.last;
        }
        run.count += 1;
    }

    /// Says what was counted, if it is time; `is_over`: whatever the time.
    pub(super) fn say(&mut self, is_over: bool) {
        let (now_ms, role) = (self.clock.mono_ms(), self.role);
        if let Some((count, first, last)) = self.foreign.take(now_ms, is_over) {
            tracing::error!(
                role,
                count,
                first,
                last,
                "records in the topic of the change log that no node has written are passed over: keep others from writing to it"
            );
        }
        if let Some((count, first, last)) = self.outlived.take(now_ms, is_over) {
            tracing::warn!(role, count, first, last, "frames of an earlier life of the log are passed over");
        }
    }
}

impl Run {
    fn take(&mut self, now_ms: u64, is_over: bool) -> Option<(u64, u64, u64)> {
        let is_due = is_over || self.said_ms.is_none_or(|said| now_ms >= said + SAID_MS);
        if self.count == 0 || !is_due {
            return None;
        }
        self.said_ms = Some(now_ms);
        Some((std::mem::take(&mut self.count), self.first, self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_in_a_row_are_a_few_lines() {
        let mut run = Run::default();
        let mut lines = Vec::new();
        for offset in 1..=30_000 {
            run = Run {
                count: run.count + 1,
                first: if run.count == 0 { offset } else { run.first },
                last: offset,
                ..run
            };
            lines.extend(run.take(offset, false));
        }
        lines.extend(run.take(30_000, true));
        assert_eq!(lines, [(1, 1, 1), (10_000, 2, 10_001), (10_000, 10_002, 20_001), (9_999, 20_002, 30_000)]);
        assert_eq!(run.take(90_000, true), None);
    }
}
