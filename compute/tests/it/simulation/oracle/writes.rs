//! No acknowledged write is lost: what a client was told is in the log, at that revision, applied, and about its
//! instance; what it was told has landed is in the store.

use std::collections::BTreeMap;

use compute::model::{InstanceKey, Op, Revision};

use super::Evidence;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<String> {
    let mut applied: BTreeMap<Revision, &InstanceKey> = BTreeMap::new();
    for decided in evidence.decided {
        let changes = decided.entry.frame.changes.iter().zip(&decided.verdicts).zip(0..);
        for ((change, _), place) in changes.filter(|((_, verdict), _)| verdict.is_applied()) {
            if let Some(key) = subject(&change.op) {
                applied.insert(decided.entry.position.at(place), key);
            }
        }
    }
    let landed = evidence.landed.iter().filter_map(|landed| landed.held.log).map(|log| log.watermark).max();
    let mut wrong = Vec::new();
    for wrote in &evidence.told.wrote {
        // An instance of a session is healed by an attach, which names none.
        if applied.get(&wrote.revision).is_none_or(|key| **key != wrote.key) {
            wrong.push(format!("writes: {} acknowledged and not in the log: {wrote:?}", wrote.what));
        }
        if wrote.is_landed && landed.is_none_or(|landed| landed < wrote.revision.position()) {
            wrong.push(format!("writes: acknowledged and not in the store: {wrote:?}"));
        }
    }
    wrong
}

fn subject(op: &Op) -> Option<&InstanceKey> {
    match op {
        Op::Register { instance, .. }
        | Op::Deregister { instance, .. }
        | Op::Operate { instance, .. }
        | Op::Refute { instance, .. }
        | Op::Unhealthy { instance, .. }
        | Op::EndOverride { instance, .. } => Some(instance),
        _ => None,
    }
}
