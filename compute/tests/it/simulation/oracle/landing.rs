//! Only who holds the newest epoch lands, and at every watermark the store holds the state of that position, whole.

use super::{Evidence, Truth};

/// What was appended so long ago has landed, once nothing fails any more.
pub(in crate::simulation) const LANDED_MS: u64 = 2_500;

pub(super) fn check(evidence: &Evidence<'_>, truth: &Truth) -> Vec<String> {
    let mut wrong: Vec<String> = truth.landed_otherwise.iter().map(|line| format!("landing: {line}")).collect();
    for landed in evidence.landed.iter().filter(|landed| landed.epoch != landed.highest) {
        let (by, newest) = (landed.epoch.0, landed.highest.0);
        wrong.push(format!("landing: epoch {by} landed after epoch {newest} was taken"));
    }
    let marks = evidence.landed.iter().filter_map(|landed| landed.held.log).map(|log| log.watermark);
    let marks: Vec<_> = marks.collect();
    if marks.windows(2).any(|two| two[1] < two[0]) {
        wrong.push("landing: the watermark went back".into());
    }
    // A lander whose store failed waits up to 5 s before it tries again; nothing fails any more for longer than that.
    let due_ms = evidence.over_ms.saturating_sub(LANDED_MS);
    let due = evidence.appended_ms.iter().filter(|at| **at < due_ms).count() as u64;
    let landed = marks.last().map_or(0, |mark| mark.offset());
    if landed < due {
        wrong.push(format!("landing: only {landed} frames have landed of {due}"));
    }
    wrong
}
