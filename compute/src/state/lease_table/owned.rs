//! What becomes this node's because another gave it away or is gone.

use std::sync::Arc;

use crate::model::{Instance, InstanceKey, Revision, SessionId, Suspicion};
use crate::port::clock::MonoMs;
use crate::state::freeze::LeaseId;

use super::LeaseTable;
use super::sessions::Held;
use super::trouble::Stage;

impl LeaseTable {
    /// A lease that was another node's is this one's. Its time counts from `since`, from when this node became ready, or
    /// from what it heard or applied itself, whichever is latest; so does the time to the removal of one that is
    /// unhealthy, behind a full time. `standing`: the suspicion of it that stands, whoever raised it.
    ///
    /// `since` is `now` less the age that the last owner has handed over, if it has; then when that owner's last beacon
    /// was applied here, if it is gone; else now.
    pub fn take_over(
        &mut self,
        key: &InstanceKey,
        instance: &Arc<Instance>,
        standing: Option<&Suspicion>,
        since: MonoMs,
        now: MonoMs,
    ) {
        if self.slots.find(key).is_some_and(|lease| self.is_same(lease, instance)) {
            return self.replaced(key, instance);
        }
        let since = since.min(now);
        instance.cell.assume(since);
        let lease = self.enter(key, instance, now);
        if let Some(suspicion) = standing.filter(|standing| standing.generation == instance.generation) {
            self.suspected(key, suspicion, now);
            if !instance.is_healthy() {
                self.unhealthy(key, now);
            }
            self.begin_anew(lease, since, now);
        }
    }

    /// Another node, which received it, tells of a heartbeat. `age_ms`: how old it was when that was sent.
    pub fn heard_elsewhere(&mut self, key: &InstanceKey, generation: Revision, age_ms: u64, now: MonoMs) {
        let Some(lease) = self.find(key, generation) else { return };
        self.slots.get(lease).cell.assume(now.saturating_sub(age_ms));
        if self.troubles.get(lease).is_some_and(|trouble| trouble.stage != Stage::Wanting) {
            self.owe(lease);
        }
    }

    /// How old a lease is here, to be handed over to its next owner: since it was heard, or was given its time.
    pub fn age(&self, key: &InstanceKey, generation: Revision, now: MonoMs) -> Option<MonoMs> {
        let lease = self.find(key, generation)?;
        let floor = self.troubles.get(lease).map_or(0, |trouble| trouble.floor_ms);
        let term = self.term(lease);
        term.span().map(|_| term.age(floor, now))
    }

    /// This node answers for a session whose node is gone: its grace counts from `since`, and never from before this
    /// node was ready. Whoever holds it still attaches it anew, with the next epoch.
    pub fn session_owned(&mut self, session: SessionId, since: MonoMs, now: MonoMs) {
        let Some(place) = self.sessions.find(session) else { return };
        let since = since.min(now).max(self.ready_at.unwrap_or(0));
        let Some(session) = self.sessions.get_mut(place).filter(|session| session.held == Held::Elsewhere) else {
            return;
        };
        session.held = Held::Lost { since };
        session.floor_ms = 0;
        session.is_suspect = false;
        self.elsewhere -= session.leases;
        for lease in self.leases_of_session(place) {
            self.begin_anew(lease, since, now);
        }
        self.look_at_session(place);
    }

    /// Another node answers for it from now on.
    pub fn session_disowned(&mut self, session: SessionId) {
        let Some(place) = self.sessions.find(session) else { return };
        let Some(session) = self.sessions.get_mut(place).filter(|session| session.held != Held::Elsewhere) else {
            return;
        };
        session.held = Held::Elsewhere;
        session.is_suspect = false;
        self.elsewhere += session.leases;
        for lease in self.leases_of_session(place) {
            self.freezes.cleared(lease);
            self.owed.remove(&lease);
            let Some(trouble) = self.troubles.get_mut(lease) else { continue };
            if trouble.stage == Stage::Wanting {
                self.troubles.remove(lease);
            } else {
                trouble.unsay();
                self.troubles.look(lease, MonoMs::MAX);
            }
        }
        self.look_at_session(place);
    }

    /// What another node began with a lease goes on as of `since`: a full time first.
    fn begin_anew(&mut self, lease: LeaseId, since: MonoMs, now: MonoMs) {
        let span = self.term(lease).span().unwrap_or(0);
        let since = since.max(self.ready_at.unwrap_or(0));
        let Some(trouble) = self.troubles.get_mut(lease) else { return };
        trouble.floor_ms = since.max(1);
        if let Stage::Unhealthy { since: fell, .. } = &mut trouble.stage {
            *fell = since + span;
        }
        self.troubles.look(lease, now);
    }
}
