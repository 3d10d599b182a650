//! Once nothing goes wrong any more, no dead instance is kept beyond the bound, and every live one is there.

use compute::model::{FreezeScope, InstanceKey, Op};

use super::super::history::Fate;
use super::{Evidence, Truth};

/// The longest TTL or grace and time to removal in a run, what the contract adds to each, and until those who are gone
/// are known to be.
pub(in crate::simulation) const KEPT_MS_MAX: u64 = 3_000 + 3_000 + 2_000 + 2_000 + 3_000;
/// Until a live one that was taken for dead has told somebody.
const BACK_MS: u64 = 6_000;

pub(super) fn check(evidence: &Evidence<'_>, truth: &Truth) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, fate) in &evidence.told.fates {
        let health = truth.health(key);
        match *fate {
            Fate::Silent { since_ms } => {
                let since_ms = since_ms.max(evidence.healed_ms);
                let is_over = evidence.is_calm || since_ms + KEPT_MS_MAX <= evidence.over_ms;
                if is_over && health.is_some() && !is_frozen(evidence, key) {
                    wrong.push(format!("dead: {key} is silent since {since_ms} and still there, healthy: {health:?}"));
                }
            }
            Fate::Lives { since_ms } => {
                let is_over = evidence.is_calm || since_ms.max(evidence.healed_ms) + BACK_MS <= evidence.over_ms;
                if is_over && health != Some(true) {
                    wrong.push(format!("dead: {key} lives since {since_ms} and is not there, healthy: {health:?}"));
                }
            }
            Fate::Left => {}
        }
    }
    wrong
}

/// Freezes have bounds of their own, longer than a run.
fn is_frozen(evidence: &Evidence<'_>, key: &InstanceKey) -> bool {
    let changes = evidence.decided.iter().flat_map(|decided| decided.entry.frame.changes.iter().zip(&decided.verdicts));
    changes.filter(|(_, verdict)| verdict.is_applied()).any(|(change, _)| match &change.op {
        Op::Freeze { scope: FreezeScope::Service(service), .. } => *service == key.service,
        Op::Freeze { .. } => true,
        _ => false,
    })
}
