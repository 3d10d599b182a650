//! What a change that stands does.

use std::sync::Arc;

use crate::model::limits::{KEEP_AFTER_EXPIRY_MS, OVERRIDES_MAX};
use crate::model::{
    Cause, Freeze, FreezeScope, Health, HealthReason, Instance, InstanceKey, LeaseCell, MemberRow, NamespaceRow, Op,
    Operator, OverrideRow, Provider, Removal, RemovalReason, ServiceKey, ServiceSettings, Session, Suspicion,
};

use super::{Described, Gone, Model, Now, is_one_process, names, process};

impl Model {
    pub(super) fn take(&mut self, op: &Op, now: Now<'_>) {
        let Now { node, revision, time_ms, .. } = now;
        match op {
            Op::PutNamespace { namespace, settings, .. } => {
                let created_at_ms = self.namespaces.get(namespace).map_or(time_ms, |there| there.created_at_ms);
                let row = NamespaceRow { settings: settings.clone(), created_at_ms, revision };
                self.namespaces.insert(namespace.clone(), row);
            }
            Op::DeleteNamespace { namespace, .. } => drop(self.namespaces.remove(namespace)),
            Op::PutService { service, settings, .. } => self.describe(service, settings.clone(), false, now),
            Op::DeleteService { service, .. } | Op::CollectService { service, .. } => {
                self.services.remove(service);
                self.freezes.remove(&FreezeScope::Service(service.clone()));
                self.kept.retain(|key, _| key.service != *service);
            }
            Op::Register { instance, provider, .. } => self.register(instance, provider, now),
            Op::Deregister { instance, reason, .. } => self.remove(instance, *reason, now),
            Op::Expire { instance, .. } => self.remove(instance, RemovalReason::Expired, now),
            Op::Operate { instance, operator, .. } => {
                let said = |o: &Operator| Box::new(Operator { revision, set_at_ms: time_ms, ..o.clone() });
                let operator = operator.as_deref().map(said);
                self.change(instance, now, |there| there.operator = operator);
            }
            Op::KeepOverride { .. } | Op::EndOverride { .. } => self.words(op, now),
            Op::Suspect { instance, generation, age_ms, cause } => {
                let (generation, age_ms, cause) = (*generation, *age_ms, cause.clone());
                self.suspicions.insert(instance.clone(), Suspicion { revision, generation, age_ms, cause });
            }
            Op::Refute { instance, .. } => self.clear(instance, now),
            Op::Confirm { .. } => {}
            Op::Unhealthy { instance, .. } => {
                let reason = match &self.suspicions[instance].cause {
                    Cause::Lapse => HealthReason::LeaseLapsed,
                    Cause::Session { .. } => HealthReason::SessionLost,
                    Cause::Check { detail } => HealthReason::CheckFailed(detail.clone()),
                };
                self.change(instance, now, |there| there.health = Health { reason: Some(reason), since_ms: time_ms });
            }
            Op::OpenSession { session, node, grace_ms, client } => {
                let (node, grace_ms, client) = (*node, *grace_ms, client.clone());
                let opened = Session { epoch: 1, node, grace_ms, client, opened_at_ms: time_ms, revision };
                self.sessions.insert(*session, opened);
            }
            Op::AttachSession { session, node, epoch } => {
                let there = self.sessions.get_mut(session).expect("it stood");
                (there.node, there.epoch, there.revision) = (*node, *epoch, revision);
                self.held_by(*session).iter().for_each(|key| self.clear(key, now));
            }
            Op::CloseSession { session, .. } => {
                self.held_by(*session).iter().for_each(|key| self.remove(key, RemovalReason::Deregistered, now));
                self.sessions.remove(session);
            }
            Op::Freeze { scope, lapsed, of } => {
                let freeze = Freeze { revision, node, since_ms: time_ms, lapsed: *lapsed, of: *of };
                self.freezes.insert(scope.clone(), freeze);
            }
            Op::Release { scope, .. } => drop(self.freezes.remove(scope)),
            Op::Beacon { .. } => self.hear(op, now),
            Op::Gone { node } => {
                let there = self.nodes.get_mut(node).expect("it stood");
                (there.gone, there.seen) = (true, revision);
                self.freezes.remove(&FreezeScope::Node(*node));
            }
        }
    }

    /// What operators say where nobody is, and what has come to its end.
    fn words(&mut self, op: &Op, now: Now<'_>) {
        match op {
            Op::KeepOverride { instance, kept, .. } => {
                let mut kept = OverrideRow::clone(kept);
                (kept.operator.revision, kept.operator.set_at_ms) = (now.revision, now.time_ms);
                self.kept.insert(instance.clone(), kept);
            }
            Op::EndOverride { instance, operator } => {
                let live = self.living.get(instance).and_then(|there| there.operator.as_ref()).map(|o| o.revision);
                if live == Some(*operator) {
                    self.change(instance, now, |there| there.operator = None);
                } else {
                    self.kept.remove(instance);
                }
            }
            _ => {}
        }
    }

    /// A beacon: the one that shows most counts.
    fn hear(&mut self, op: &Op, now: Now<'_>) {
        let Op::Beacon { name, peer, applied, rolling_hash, digest: _, rebuilt: _, landed, leaving } = op else {
            return;
        };
        let first = MemberRow {
            name: name.clone(),
            peer: peer.clone(),
            joined_ms: now.time_ms,
            joined: now.revision,
            seen: now.revision,
            applied: *applied,
            rolling_hash: *rolling_hash,
            landed: *landed,
            leaving: *leaving,
            gone: false,
        };
        let there = self.nodes.entry(now.node).or_insert(first);
        there.seen = now.revision;
        if *applied >= there.applied {
            (there.name, there.peer, there.leaving) = (name.clone(), peer.clone(), *leaving);
            (there.applied, there.rolling_hash) = (*applied, *rolling_hash);
            there.landed = there.landed.max(*landed);
        }
    }

    /// Makes a service, or says something of one that is there.
    fn describe(&mut self, key: &ServiceKey, settings: ServiceSettings, implicit: bool, now: Now<'_>) {
        let (created_at_ms, created) =
            self.services.get(key).map_or((now.time_ms, now.revision), |there| (there.created_at_ms, there.created));
        let (described, touched) = (now.revision, now.revision);
        let service = Described { settings, created_at_ms, created, described, touched, implicit };
        self.services.insert(key.clone(), service);
    }

    fn register(&mut self, key: &InstanceKey, provider: &Provider, now: Now<'_>) {
        if !self.services.contains_key(&key.service) {
            self.describe(&key.service, ServiceSettings::default(), true, now);
        }
        self.suspicions.remove(key);
        let provider = provider.clone();
        let old = self.living.get(key).cloned();
        let goes_on = old.as_ref().is_some_and(|old| {
            old.provider.incarnation() == provider.incarnation() && old.lease().session() == provider.lease().session()
        });
        if goes_on {
            let health = |there: &mut Instance| {
                if there.health.reason.is_some() {
                    there.health = Health { reason: None, since_ms: now.time_ms };
                }
            };
            return self.change(key, now, |there| {
                there.provider = provider;
                health(there);
            });
        }
        let operator = match old {
            Some(old) => {
                let same = is_one_process(&old.provider, &provider);
                old.operator.filter(|word| word.keep_ms > 0 || same)
            }
            None => self.kept.remove(key).and_then(|kept| {
                let fits = kept.only_for.is_none_or(|process| names(&process, &provider));
                let over =
                    kept.until_ms <= now.time_ms || kept.operator.expires_at_ms.is_some_and(|at| at <= now.time_ms);
                (fits && !over).then(|| Box::new(kept.operator))
            }),
        };
        let instance = Instance {
            id: key.id.clone(),
            provider,
            health: Health { reason: None, since_ms: now.time_ms },
            operator,
            registered_at_ms: now.time_ms,
            generation: now.revision,
            revision: now.revision,
            cell: Arc::new(LeaseCell::default()),
        };
        self.living.insert(key.clone(), instance);
        self.touch(&key.service, now);
    }

    fn remove(&mut self, key: &InstanceKey, reason: RemovalReason, now: Now<'_>) {
        let old = self.living.remove(key).expect("it stood");
        self.suspicions.remove(key);
        if let Some(word) = old.operator {
            let process = process(&old.provider);
            let (keep_ms, only_for) = match (word.keep_ms, reason) {
                // Who did not say who it is can't come back as itself.
                (0, RemovalReason::Expired) if process.is_some() => (KEEP_AFTER_EXPIRY_MS, process),
                (keep_ms, _) => (keep_ms, None),
            };
            let until_ms = word.expires_at_ms.unwrap_or(u64::MAX).min(now.time_ms + keep_ms);
            if keep_ms > 0 && self.kept.len() < OVERRIDES_MAX {
                self.kept.insert(key.clone(), OverrideRow { operator: *word, until_ms, only_for });
            }
        }
        let removal = Removal { at_ms: now.time_ms, reason, author: now.author.clone(), revision: now.revision };
        self.removals.push(Gone { key: key.clone(), generation: old.generation, removal });
        self.touch(&key.service, now);
    }

    fn change(&mut self, key: &InstanceKey, now: Now<'_>, change: impl FnOnce(&mut Instance)) {
        let there = self.living.get_mut(key).expect("it stood");
        change(there);
        there.revision = now.revision;
        self.touch(&key.service, now);
    }

    fn touch(&mut self, service: &ServiceKey, now: Now<'_>) {
        self.services.get_mut(service).expect("it has instances").touched = now.revision;
    }

    /// Its provider was heard: nobody doubts it any more.
    fn clear(&mut self, key: &InstanceKey, now: Now<'_>) {
        self.suspicions.remove(key);
        if self.living[key].health.reason.is_some() {
            self.change(key, now, |there| there.health = Health { reason: None, since_ms: now.time_ms });
        }
    }
}
