//! No service of three or more loses all of them within a window, however many nodes own them.
//!
//! What a freeze has held and has let go is not counted: that "never trips another freeze", and goes one by one.

use std::collections::BTreeMap;

use compute::model::{FreezeScope, InstanceKey, Op, ServiceKey, SessionId};

use super::Evidence;

/// The window is 10 s on each node's clock, from when it looked.
const WINDOW_MS: u64 = 9_000;
const MEMBERS_MIN: usize = 3;

#[derive(Default)]
struct Service<'a> {
    members: BTreeMap<&'a InstanceKey, Member>,
    /// The same of those that are not there any more, unless they or others came in their places.
    expired: BTreeMap<&'a InstanceKey, u64>,
}

#[derive(Clone, Copy, Default)]
struct Member {
    session: Option<SessionId>,
    is_suspect: bool,
    /// It was a suspect when a freeze ended.
    is_thawed: bool,
    /// When it became unhealthy; 0: it is not.
    fell_ms: u64,
}

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut services: BTreeMap<&ServiceKey, Service<'_>> = BTreeMap::new();
    for decided in evidence.decided {
        let at_ms = evidence.appended_ms(decided);
        let changes = decided.entry.frame.changes.iter().zip(&decided.verdicts);
        for (change, _) in changes.filter(|(_, verdict)| verdict.is_applied()) {
            if let Op::Release { scope, .. } = &change.op {
                let is_over = |service: &ServiceKey| !matches!(scope, FreezeScope::Service(only) if only != service);
                services.iter_mut().filter(|(service, _)| is_over(service)).for_each(|(_, service)| service.thaw());
            }
            if let Op::AttachSession { session, .. } = &change.op {
                let members = services.values_mut().flat_map(|service| service.members.values_mut());
                members.filter(|member| member.session == Some(*session)).for_each(Member::rise);
            }
            let Some(key) = named(&change.op) else { continue };
            let service = services.entry(&key.service).or_default();
            match &change.op {
                Op::Register { provider, .. } => service.joined(key, provider.lease().session()),
                Op::Refute { .. } => service.members.entry(key).or_default().rise(),
                Op::Deregister { .. } => drop(service.members.remove(key)),
                Op::Expire { .. } => service.expire(key),
                Op::Suspect { .. } => service.members.entry(key).or_default().is_suspect = true,
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

impl Member {
    /// It was heard.
    fn rise(&mut self) {
        *self = Self { session: self.session, ..Self::default() };
    }
}

impl<'a> Service<'a> {
    fn joined(&mut self, key: &'a InstanceKey, session: Option<SessionId>) {
        let is_new = self.members.insert(key, Member { session, ..Member::default() }).is_none();
        if is_new && self.expired.remove(key).is_none() {
            let oldest = self.expired.iter().min_by_key(|(_, fell_ms)| **fell_ms).map(|(key, _)| *key);
            oldest.and_then(|oldest| self.expired.remove(oldest));
        }
    }

    fn expire(&mut self, key: &'a InstanceKey) {
        let counted = self.members.remove(key).filter(|member| !member.is_thawed);
        self.expired.extend(counted.map(|member| (key, member.fell_ms)));
    }

    fn thaw(&mut self) {
        self.members.values_mut().for_each(|member| member.is_thawed |= member.is_suspect);
    }

    /// How many it has lost, if that is all of them in one window.
    fn lost(&self, now_ms: u64) -> Option<usize> {
        let is_new = |fell_ms: u64| fell_ms > 0 && fell_ms + WINDOW_MS > now_ms;
        let is_all = self.members.values().all(|member| is_new(member.fell_ms));
        let counted = self.members.values().filter(|member| !member.is_thawed).map(|member| member.fell_ms);
        let lost = counted.chain(self.expired.values().copied()).filter(|fell_ms| is_new(*fell_ms)).count();
        (is_all && lost >= MEMBERS_MIN).then_some(lost)
    }
}
