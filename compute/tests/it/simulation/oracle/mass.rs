//! No service of three or more loses all of them within a window, who were all suspects when the first of them fell.
//!
//! Those who fall one after the other, each before the next is a suspect, and at several nodes, are not held back.

use std::collections::BTreeMap;

use compute::model::{InstanceKey, Op, ServiceKey};

use super::Evidence;

/// The window is 10 s on each node's clock, from when it looked.
const WINDOW_MS: u64 = 9_000;
const MEMBERS_MIN: usize = 3;
/// A node may decide on what it had read some time ago.
const LAG_MS: u64 = 300;

#[derive(Default)]
struct Service<'a> {
    members: BTreeMap<&'a InstanceKey, Member>,
    expired: Vec<Member>,
}

/// When it was suspected, and when it became unhealthy; 0: it is not.
#[derive(Clone, Copy, Default)]
struct Member {
    suspected_ms: u64,
    fell_ms: u64,
}

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut services: BTreeMap<&ServiceKey, Service<'_>> = BTreeMap::new();
    for decided in evidence.decided {
        let at_ms = evidence.appended_ms(decided);
        let changes = decided.entry.frame.changes.iter().zip(&decided.verdicts);
        for (change, _) in changes.filter(|(_, verdict)| verdict.is_applied()) {
            let Some(key) = named(&change.op) else { continue };
            let service = services.entry(&key.service).or_default();
            match &change.op {
                Op::Register { .. } | Op::Refute { .. } => drop(service.members.insert(key, Member::default())),
                Op::Deregister { .. } => drop(service.members.remove(key)),
                Op::Expire { .. } => service.expired.extend(service.members.remove(key)),
                Op::Suspect { .. } => service.members.entry(key).or_default().suspected_ms = at_ms,
                _ => {
                    service.members.entry(key).or_default().fell_ms = at_ms;
                    wrong.extend(service.lost(at_ms).map(|lost| {
                        format!("mass: {} lost all of its {lost} within a window, at {at_ms}", key.service)
                    }));
                }
            }
        }
    }
    wrong
}

fn named(op: &Op) -> Option<&InstanceKey> {
    match op {
        Op::Register { instance, .. }
        | Op::Refute { instance, .. }
        | Op::Deregister { instance, .. }
        | Op::Suspect { instance, .. }
        | Op::Expire { instance, .. }
        | Op::Unhealthy { instance, .. } => Some(instance),
        _ => None,
    }
}

impl Service<'_> {
    /// How many it has lost, if that is all of them in one window.
    fn lost(&self, now_ms: u64) -> Option<usize> {
        let is_new = |member: &&Member| member.fell_ms > 0 && member.fell_ms + WINDOW_MS > now_ms;
        let lost: Vec<_> = self.expired.iter().chain(self.members.values()).filter(is_new).collect();
        let is_all = self.members.values().filter(is_new).count() == self.members.len();
        let first_ms = lost.iter().map(|member| member.fell_ms).min()?;
        let were_suspects = lost.iter().all(|member| member.suspected_ms + LAG_MS <= first_ms);
        (is_all && lost.len() >= MEMBERS_MIN && were_suspects).then_some(lost.len())
    }
}
