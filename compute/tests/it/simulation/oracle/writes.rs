//! No acknowledged write is lost: what a client was told is in the log, at that revision, applied, and about its
//! instance; what it was told has landed is in the store. And what a provider said before never comes over what it said
//! later: it speaks at one node after the other, and what it gave up on may still be under way.

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
    let mut wrong = outdated(evidence);
    let landed = evidence.landed.iter().filter_map(|landed| landed.held.log).map(|log| log.watermark).max();
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

/// Words of providers that came over newer ones.
fn outdated(evidence: &Evidence<'_>) -> Vec<String> {
    let mut newest: BTreeMap<&InstanceKey, (u64, u16)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for decided in evidence.decided {
        let changes = decided.entry.frame.changes.iter().zip(&decided.verdicts);
        for (change, _) in changes.filter(|(_, verdict)| verdict.is_applied()) {
            let Op::Register { instance, provider, .. } = &change.op else { continue };
            let process = provider.incarnation().and_then(|name| name.strip_prefix('p')?.parse().ok());
            let said = (process.unwrap_or(0), provider.weight());
            let newest = newest.entry(instance).or_default();
            if said < *newest {
                let at = decided.entry.position;
                wrong.push(format!("writes: at {at} {instance} is {said:?} again, and had said {newest:?}"));
            }
            *newest = said.max(*newest);
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
        | Op::KeepOverride { instance, .. }
        | Op::EndOverride { instance, .. } => Some(instance),
        _ => None,
    }
}
