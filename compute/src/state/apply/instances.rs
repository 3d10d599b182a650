//! What providers and operators say of instances.

use std::sync::Arc;

use crate::model::limits::{KEEP_AFTER_EXPIRY_MS, OVERRIDES_MAX};
use crate::model::{
    Base, Health, Instance, InstanceKey, Lease, LeaseCell, Operator, OverrideRow, Position, Provider, RemovalReason,
    Revision, ServiceSettings, Tombstone,
};
use crate::watch::Recorded;

use super::super::planted::{Rule, holds};
use super::super::verdict::Refusal;
use super::{Applying, LeaseEvent, Result};

impl Applying<'_> {
    pub(super) fn register(
        &mut self,
        key: &InstanceKey,
        provider: &Provider,
        base: Base,
        epoch: Option<u32>,
    ) -> Result {
        self.check_session(provider.lease(), epoch)?;
        let old = self.state.instance(key).cloned();
        self.check_base(key, old.as_deref(), base)?;
        if !self.state.services.contains_key(&key.service) {
            self.make_service(&key.service, ServiceSettings::default(), true)?;
        }
        let is_suspect = self.state.suspicions.contains_key(key);
        let (new, event): (Instance, ToEvent) = match &old {
            Some(old) if !old.provider.is_reborn_as(provider) => {
                let same_terms = old.lease() == provider.lease();
                let event = if same_terms { heard } else { began };
                (self.replaced(old, provider), event)
            }
            _ => (self.born(key, old.as_deref(), provider), began),
        };
        if let Some(old) = &old {
            self.leave_session(key, old);
        }
        if let Some(session) = provider.lease().session().and_then(|id| self.state.sessions.get_mut(&id)) {
            session.leases.insert(key.clone());
        }
        if is_suspect {
            self.clear_suspicion(key, None);
        }
        let has_word = new.operator.is_some() || old.as_ref().is_some_and(|old| old.operator.is_some());
        let instance = self.put(key, new);
        if old.is_none() {
            self.state.instances += 1;
            self.state.time_service(&key.service);
        }
        if has_word {
            self.state.time_override(key);
        }
        self.tell(event(key.clone(), instance));
        Ok(())
    }

    fn check_session(&self, lease: &Lease, epoch: Option<u32>) -> Result {
        let Some(id) = lease.session() else { return Ok(()) };
        let session = self.state.sessions.get(&id).ok_or(Refusal::Epoch)?;
        self.epoch_if(Some(session.row.epoch) == epoch)
    }

    fn check_base(&self, key: &InstanceKey, old: Option<&Instance>, base: Base) -> Result {
        if !holds(Rule::Base) {
            return Ok(());
        }
        match (old, base) {
            (Some(old), Base::At(revision)) if old.revision == revision => Ok(()),
            (None, Base::Absent(position)) => {
                if !self.is_fresh(base) {
                    return Err(Refusal::BaseTooOld);
                }
                // It came and went since the accepting node looked.
                let removed = self.state.tombstones.get(key).map(|t| t.revision.position());
                if removed.is_some_and(|removed| removed > position) { Err(Refusal::Base) } else { Ok(()) }
            }
            _ => Err(Refusal::Base),
        }
    }

    /// The same life with another provider part.
    fn replaced(&self, old: &Instance, provider: &Provider) -> Instance {
        let health = if old.is_healthy() { old.health.clone() } else { Health::good(self.time_ms) };
        Instance { provider: provider.clone(), health, revision: self.revision, ..old.clone() }
    }

    /// A new life: of an absent instance, or in the place of `old`.
    fn born(&mut self, key: &InstanceKey, old: Option<&Instance>, provider: &Provider) -> Instance {
        let operator = match old {
            Some(old) => self.inherited(old, provider),
            None => self.take_kept(key, provider),
        };
        Instance {
            id: key.id.clone(),
            provider: provider.clone(),
            health: Health::good(self.time_ms),
            operator,
            registered_at_ms: self.time_ms,
            generation: self.revision,
            revision: self.revision,
            cell: Arc::new(LeaseCell::default()),
        }
    }

    /// An operator's word goes on to another process at the same address only when it was told to outlive the first.
    fn inherited(&self, old: &Instance, provider: &Provider) -> Option<Box<Operator>> {
        let goes_on = |o: &Operator| o.keep_ms > 0 || old.provider.is_same_process_as(provider);
        old.operator.clone().filter(|o| goes_on(o))
    }

    fn take_kept(&mut self, key: &InstanceKey, provider: &Provider) -> Option<Box<Operator>> {
        let kept = self.state.overrides.get(key)?;
        let fits = kept.only_for.as_ref().is_none_or(|process| process.is_of(provider));
        let stands = kept.until_ms > self.time_ms && kept.operator.expires_at_ms.is_none_or(|at| at > self.time_ms);
        let kept = self.state.overrides.remove(key)?;
        self.kept_changed(key);
        (fits && stands).then(|| Box::new(kept.operator))
    }

    pub(super) fn deregister(&mut self, key: &InstanceKey, generation: Revision, reason: RemovalReason) -> Result {
        if self.instance(key)?.generation != generation {
            return Err(Refusal::Generation);
        }
        self.remove(key, reason);
        Ok(())
    }

    /// Takes out an instance that is there.
    pub(super) fn remove(&mut self, key: &InstanceKey, reason: RemovalReason) {
        let removal = self.removal(reason);
        let Some(service) = self.state.services.get_mut(&key.service) else { return };
        let Some(old) = service.remove(&key.id, removal.clone()) else { return };
        self.state.instances -= 1;
        self.state.digest = self.state.digest.minus(old.digest());
        self.leave_session(key, &old);
        if self.state.suspicions.contains_key(key) {
            self.clear_suspicion(key, None);
        }
        if let Some(operator) = old.operator.as_deref() {
            self.keep_override(key, &old, operator, reason);
            self.state.time_override(key);
        }
        let tombstone = Tombstone { revision: self.revision, generation: old.generation };
        self.state.tombstones.insert(key.clone(), tombstone);
        self.state.dirty.tombstones.insert(key.clone());
        self.state.dirty.instances.insert(key.clone(), None);
        self.record(&key.service, Recorded::Removed(key.id.clone(), removal));
        self.tell(LeaseEvent::Ended { key: key.clone(), generation: old.generation });
        self.state.time_service(&key.service);
    }

    /// An operator's word outlives its instance as long as it was told to, and a little after an expiry, for the same
    /// process: it may only have been cut off.
    fn keep_override(&mut self, key: &InstanceKey, old: &Instance, operator: &Operator, reason: RemovalReason) {
        let (keep_ms, only_for) = match (operator.keep_ms, reason, old.provider.process()) {
            (0, RemovalReason::Expired, Some(process)) => (KEEP_AFTER_EXPIRY_MS, Some(process)),
            (0, ..) => return,
            (keep_ms, ..) => (keep_ms, None),
        };
        if self.state.overrides.len() >= OVERRIDES_MAX {
            self.out.unkept += 1;
            return;
        }
        let until_ms = self.time_ms.saturating_add(keep_ms).min(operator.expires_at_ms.unwrap_or(u64::MAX));
        let row = OverrideRow { operator: operator.clone(), until_ms, only_for };
        self.state.overrides.insert(key.clone(), row);
        self.kept_changed(key);
    }

    /// An operator's word where nobody is.
    pub(super) fn keep(
        &mut self,
        key: &InstanceKey,
        absent: Position,
        over: Option<Revision>,
        kept: &OverrideRow,
    ) -> Result {
        if !self.state.services.contains_key(&key.service) {
            return Err(Refusal::Absent);
        }
        let there = self.state.instance(key).cloned();
        self.check_base(key, there.as_deref(), Base::Absent(absent))?;
        if self.state.overrides.get(key).map(|there| there.operator.revision) != over {
            return Err(Refusal::Base);
        }
        let operator = Operator { revision: self.revision, set_at_ms: self.time_ms, ..kept.operator.clone() };
        self.state.overrides.insert(key.clone(), OverrideRow { operator, ..kept.clone() });
        self.kept_changed(key);
        Ok(())
    }

    fn leave_session(&mut self, key: &InstanceKey, old: &Instance) {
        if let Some(session) = old.lease().session().and_then(|id| self.state.sessions.get_mut(&id)) {
            session.leases.remove(key);
        }
    }

    pub(super) fn operate(
        &mut self,
        key: &InstanceKey,
        generation: Revision,
        base: Revision,
        operator: Option<&Operator>,
    ) -> Result {
        let old = self.instance(key)?;
        if old.generation != generation {
            return Err(Refusal::Generation);
        }
        if old.revision != base && holds(Rule::Base) {
            return Err(Refusal::Base);
        }
        self.set_operator(key, &old, operator);
        Ok(())
    }

    fn set_operator(&mut self, key: &InstanceKey, old: &Instance, operator: Option<&Operator>) {
        let revision = self.revision;
        let operator = operator.map(|o| Box::new(Operator { revision, set_at_ms: self.time_ms, ..o.clone() }));
        self.put(key, Instance { operator, revision, ..old.clone() });
        self.state.time_override(key);
    }

    pub(super) fn end_override(&mut self, key: &InstanceKey, operator: Revision) -> Result {
        if let Ok(old) = self.instance(key)
            && old.operator.as_ref().is_some_and(|o| o.revision == operator)
        {
            self.set_operator(key, &old, None);
            return Ok(());
        }
        if self.state.overrides.get(key).is_some_and(|kept| kept.operator.revision == operator) {
            self.state.overrides.remove(key);
            self.kept_changed(key);
            return Ok(());
        }
        Err(Refusal::Absent)
    }
}

/// Tells of a register, once the instance is in its place.
type ToEvent = fn(InstanceKey, Arc<Instance>) -> LeaseEvent;

fn began(key: InstanceKey, instance: Arc<Instance>) -> LeaseEvent {
    LeaseEvent::Began { key, instance }
}

fn heard(key: InstanceKey, instance: Arc<Instance>) -> LeaseEvent {
    LeaseEvent::Heard { key, instance }
}
