//! Suspicions, expiry, sessions and freezes.

use std::sync::Arc;

use crate::keyed::KeyedSet;
use crate::model::{
    Cause, Freeze, FreezeScope, Health, Instance, InstanceKey, NodeIncarnation, RemovalReason, Revision, Session,
    SessionId, Suspicion,
};

use super::super::SessionState;
use super::super::planted::{Rule, holds};
use super::super::verdict::Refusal;
use super::{Applying, LeaseEvent, Result};

impl Applying<'_> {
    pub(super) fn suspect(&mut self, key: &InstanceKey, generation: Revision, age_ms: u64, cause: &Cause) -> Result {
        let instance = self.instance(key)?;
        if instance.generation != generation {
            return Err(Refusal::Generation);
        }
        if self.state.suspicions.contains_key(key) {
            return Err(Refusal::Already);
        }
        self.check_cause(&instance, cause)?;
        let suspicion = Suspicion { revision: self.revision, generation, age_ms, cause: cause.clone() };
        self.state.suspicions.insert(key.clone(), suspicion.clone());
        self.state.dirty.suspicions.insert(key.clone());
        instance.cell.suspect(self.revision);
        self.tell(LeaseEvent::Suspected { key: key.clone(), suspicion });
        Ok(())
    }

    /// What is said about a lease must be about the lease it has, and, of a session, about its newest epoch.
    fn check_cause(&self, instance: &Instance, cause: &Cause) -> Result {
        use crate::model::LeaseKind::{Checked, Stream, Ttl};
        let fits = match cause {
            Cause::Lapse => instance.lease().kind() == Ttl,
            Cause::Check { .. } => instance.lease().kind() == Checked,
            Cause::Session { session, .. } => {
                instance.lease().kind() == Stream && instance.lease().session() == Some(*session)
            }
        };
        if !fits { Err(Refusal::Generation) } else { self.check_epoch(cause) }
    }

    fn check_epoch(&self, cause: &Cause) -> Result {
        let Cause::Session { session, epoch } = cause else { return Ok(()) };
        let stands = self.state.sessions.get(session).is_none_or(|session| session.row.epoch == *epoch);
        self.epoch_if(stands)
    }

    /// Whether a session is still where somebody saw it.
    pub(super) fn epoch_if(&self, stands: bool) -> Result {
        if stands || !holds(Rule::Epoch) { Ok(()) } else { Err(Refusal::Epoch) }
    }

    /// The instance, if this very suspicion of it stands.
    fn suspected(&self, key: &InstanceKey, suspicion: Revision) -> Result<(Arc<Instance>, Suspicion)> {
        let standing = self.state.suspicions.get(key).filter(|s| s.revision == suspicion);
        let standing = standing.cloned().ok_or(Refusal::Suspicion)?;
        Ok((self.instance(key)?, standing))
    }

    pub(super) fn clear_suspicion(&mut self, key: &InstanceKey, age_ms: Option<u64>) {
        self.state.suspicions.remove(key);
        self.state.dirty.suspicions.insert(key.clone());
        if let Some(instance) = self.state.instance(key) {
            instance.cell.clear();
        }
        self.tell(LeaseEvent::Cleared { key: key.clone(), age_ms });
    }

    pub(super) fn refute(&mut self, key: &InstanceKey, suspicion: Revision, age_ms: u64) -> Result {
        let (instance, _) = self.suspected(key, suspicion)?;
        self.clear_suspicion(key, Some(age_ms));
        self.heal(key, &instance);
        Ok(())
    }

    fn heal(&mut self, key: &InstanceKey, instance: &Instance) {
        if !instance.is_healthy() {
            let health = Health::good(self.time_ms);
            self.put(key, Instance { health, revision: self.revision, ..instance.clone() });
        }
    }

    pub(super) fn confirm(&mut self, key: &InstanceKey, suspicion: Revision) -> Result {
        self.suspected(key, suspicion)?;
        self.tell(LeaseEvent::Confirmed { key: key.clone(), suspicion });
        Ok(())
    }

    pub(super) fn unhealthy(&mut self, key: &InstanceKey, suspicion: Revision) -> Result {
        let (instance, standing) = self.suspected(key, suspicion)?;
        self.check_epoch(&standing.cause)?;
        if !instance.is_healthy() {
            return Err(Refusal::Already);
        }
        self.check_barrier(&standing)?;
        let health = Health { reason: Some(standing.cause.reason()), since_ms: self.time_ms };
        self.put(key, Instance { health, revision: self.revision, ..instance.as_ref().clone() });
        self.tell(LeaseEvent::Unhealthy { key: key.clone(), by: self.node });
        Ok(())
    }

    pub(super) fn expire(&mut self, key: &InstanceKey, suspicion: Revision) -> Result {
        if !holds(Rule::ExpireFence) && self.instance(key)?.generation < suspicion {
            self.remove(key, RemovalReason::Expired);
            return Ok(());
        }
        let (instance, standing) = self.suspected(key, suspicion)?;
        self.check_epoch(&standing.cause)?;
        if instance.is_healthy() || instance.lease().remove_after().is_none() {
            return Err(Refusal::Suspicion);
        }
        self.remove(key, RemovalReason::Expired);
        Ok(())
    }

    pub(super) fn open_session(
        &mut self,
        id: SessionId,
        node: NodeIncarnation,
        grace_ms: u32,
        client: &Arc<str>,
    ) -> Result {
        if self.state.sessions.contains_key(&id) {
            return Err(Refusal::Already);
        }
        let row = Session {
            epoch: 1,
            node,
            grace_ms,
            client: client.clone(),
            opened_at_ms: self.time_ms,
            revision: self.revision,
        };
        self.state.sessions.insert(id, SessionState { row, leases: KeyedSet::default() });
        *self.state.sessions_of.entry(node).or_default() += 1;
        self.state.dirty.sessions.insert(id);
        self.tell(LeaseEvent::SessionAttached { session: id, epoch: 1, node, grace_ms });
        Ok(())
    }

    pub(super) fn attach_session(&mut self, id: SessionId, node: NodeIncarnation, epoch: u32) -> Result {
        let stands = self.state.sessions.get(&id).map(|session| session.row.epoch.checked_add(1) == Some(epoch));
        self.epoch_if(stands.ok_or(Refusal::Absent)?)?;
        let session = self.state.sessions.get_mut(&id).ok_or(Refusal::Absent)?;
        session.row.epoch = epoch;
        let before = std::mem::replace(&mut session.row.node, node);
        session.row.revision = self.revision;
        let grace_ms = session.row.grace_ms;
        let leases = session.leases_in_order();
        self.state.leave_node(before);
        *self.state.sessions_of.entry(node).or_default() += 1;
        self.state.dirty.sessions.insert(id);
        self.tell(LeaseEvent::SessionAttached { session: id, epoch, node, grace_ms });
        for key in leases {
            if self.state.suspicions.contains_key(&key) {
                self.clear_suspicion(&key, Some(0));
            }
            if let Ok(instance) = self.instance(&key) {
                self.heal(&key, &instance);
            }
        }
        Ok(())
    }

    pub(super) fn close_session(&mut self, id: SessionId, epoch: u32, deregister: bool) -> Result {
        let session = self.state.sessions.get(&id).ok_or(Refusal::Absent)?;
        self.epoch_if(session.row.epoch == epoch)?;
        if !deregister && !session.leases.is_empty() {
            return Err(Refusal::NotEmpty);
        }
        let node = session.row.node;
        for key in session.leases_in_order() {
            self.remove(&key, RemovalReason::Deregistered);
        }
        self.state.sessions.remove(&id);
        self.state.leave_node(node);
        self.state.dirty.sessions.insert(id);
        self.tell(LeaseEvent::SessionClosed { session: id });
        Ok(())
    }

    pub(super) fn freeze(&mut self, scope: &FreezeScope, lapsed: u32, of: u32) -> Result {
        if self.state.freezes.contains_key(scope) {
            return Err(Refusal::Already);
        }
        let is_there = match scope {
            FreezeScope::Service(service) => self.state.services.contains_key(service),
            FreezeScope::Node(node) => !self.state.is_gone(*node),
        };
        if !is_there {
            return Err(Refusal::Absent);
        }
        let freeze = Freeze { revision: self.revision, node: self.node, since_ms: self.time_ms, lapsed, of };
        self.state.freezes.insert(scope.clone(), freeze);
        self.state.dirty.freezes.insert(scope.clone());
        self.tell(LeaseEvent::Frozen { scope: scope.clone(), freeze: self.revision });
        Ok(())
    }

    pub(super) fn release(&mut self, scope: &FreezeScope, freeze: Revision) -> Result {
        let standing = self.state.freezes.get(scope).ok_or(Refusal::Absent)?;
        if standing.revision != freeze {
            return Err(Refusal::Base);
        }
        self.state.freezes.remove(scope);
        self.state.dirty.freezes.insert(scope.clone());
        self.tell(LeaseEvent::Released { scope: scope.clone() });
        Ok(())
    }
}
