//! No live instance becomes unhealthy, or goes.
//!
//! What a node has heard, and has acknowledged, binds all of them as long as the log does not say that this node is
//! gone; a node that is gone takes along what it had not said, and honest clients have told another by then.
//!
//! A suspect whom a node has heard while the log was away for it is answered at once, and the refute follows when the
//! log is back. What is said of it on the suspicion that stood by then may come first: it was silent for long.

use std::collections::{BTreeMap, BTreeSet};

use compute::model::{InstanceKey, NodeIncarnation, Op, Revision};

use super::Evidence;

/// Clocks go wrong by 2 of 1,000, and calls take their time.
const TOLERANCE_MS: u64 = 60;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut gone = BTreeSet::new();
    let mut unhealthy_ms: BTreeMap<&InstanceKey, u64> = BTreeMap::new();
    let mut spans: BTreeMap<&InstanceKey, u64> = BTreeMap::new();
    for decided in evidence.decided {
        let at_ms = evidence.appended_ms(decided);
        let changes = decided.entry.frame.changes.iter().zip(&decided.verdicts);
        for (change, _) in changes.filter(|(_, verdict)| verdict.is_applied()) {
            let case = |key, suspicion: &Revision, span_ms, since_ms| {
                let suspected_ms = evidence.read_ms(suspicion.position());
                Case { evidence, gone: &gone, key, at_ms, suspected_ms, span_ms, since_ms }
            };
            match &change.op {
                Op::Gone { node } => drop(gone.insert(*node)),
                Op::Register { instance, provider, .. } => {
                    let span_ms = match provider.lease() {
                        compute::model::Lease::Ttl { ttl_ms, .. } => u64::from(*ttl_ms),
                        _ => 0,
                    };
                    spans.insert(instance, span_ms);
                }
                Op::Unhealthy { instance, suspicion } => {
                    let span_ms = spans.get(instance).copied().unwrap_or_default();
                    wrong.extend(case(instance, suspicion, span_ms, 0).why("became unhealthy"));
                    unhealthy_ms.insert(instance, at_ms);
                }
                Op::Expire { instance, suspicion } => {
                    let since_ms = unhealthy_ms.get(instance).copied().unwrap_or_default();
                    wrong.extend(case(instance, suspicion, u64::MAX, since_ms).why("was removed"));
                }
                _ => {}
            }
        }
    }
    wrong
}

struct Case<'a> {
    evidence: &'a Evidence<'a>,
    gone: &'a BTreeSet<NodeIncarnation>,
    key: &'a InstanceKey,
    /// When the word was appended.
    at_ms: u64,
    /// When the suspicion was that it rests on.
    suspected_ms: u64,
    /// Heard within two thirds of this before that, and later than this, it lives.
    ///
    /// That is all that is promised of a single heartbeat which came to another node than the owner. The suspicion is
    /// said two thirds of the TTL after the last one that the owner knew, and takes a time to be read there; meanwhile
    /// it says how old that heartbeat was, and one that came less than this time behind it seems older and does not
    /// refute. Nobody is unhealthy before a whole TTL, nor before that reading, so at least two thirds are left. A
    /// client that renews at the intervals of the contract is heard again in them, and then by whoever has read it.
    span_ms: u64,
    since_ms: u64,
}

impl Case<'_> {
    fn why(&self, became: &str) -> Option<String> {
        let Self { key, at_ms, .. } = self;
        let heard = self.evidence.told.heard.iter().find(|heard| {
            let young = (self.span_ms / 3).saturating_mul(2).saturating_sub(TOLERANCE_MS);
            heard.key == **key
                && !self.gone.contains(&heard.node)
                && !(heard.is_away && heard.began_ms > self.suspected_ms)
                && heard.ended_ms < *at_ms
                && heard.began_ms > self.since_ms
                && at_ms - heard.began_ms < young
        });
        if let Some(heard) = heard {
            return Some(format!("leases: {key} {became} at {at_ms}, and was heard: {heard:?}"));
        }
        let held = self.evidence.told.held.iter().find(|held| {
            held.keys.contains(key)
                && !self.gone.contains(&held.node)
                && held.began_ms < *at_ms
                && held.ended_ms.is_none_or(|ended| ended > *at_ms)
        });
        held.map(|held| format!("leases: {key} {became} at {at_ms}, and its session was held: {held:?}"))
    }
}
