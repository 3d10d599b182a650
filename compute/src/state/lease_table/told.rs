//! What the log shows of leases, what it refused, and what probes found.

use crate::model::{FreezeScope, InstanceKey, LeaseKind, Op, Revision, Suspicion};
use crate::port::clock::MonoMs;
use crate::state::freeze::{LeaseId, REFUSED_MS, Scope};
use crate::state::witness::younger;

use super::LeaseTable;
use super::term::Term;
use super::trouble::{Said, Stage, Trouble};

impl LeaseTable {
    /// A suspicion stands, whoever raised it. Its cell must be marked before, so that a heartbeat either is seen here or
    /// sees the mark. False: its lease is not here, and it is for the
    /// [`Witness`](crate::state::witness::Witness).
    pub fn suspected(&mut self, key: &InstanceKey, suspicion: &Suspicion, now: MonoMs) -> bool {
        let Some(lease) = self.find(key, suspicion.generation) else { return false };
        if self.slots.get(lease).lease().kind() == LeaseKind::Permanent {
            return true;
        }
        let stage = Stage::Standing { suspicion: suspicion.revision, since: now };
        let renewed = self.slots.get(lease).cell.renewed_ms();
        if self.troubles.get(lease).is_none() {
            self.take_off_wheel(lease);
            self.troubles.insert(lease, Trouble::new(stage, renewed));
        }
        // Two nodes may both believe that it is theirs: of another's suspicion this one is a witness.
        let is_witness = younger(&self.slots.get(lease).cell, suspicion.age_ms, now).is_some();
        if let Some(trouble) = self.troubles.get_mut(lease) {
            trouble.stage = stage;
            trouble.is_confirmed = false;
            trouble.is_void = false;
            trouble.unsay();
            if is_witness {
                trouble.basis_ms = 0;
            }
        }
        self.owe(lease);
        self.troubles.look(lease, now);
        true
    }

    /// Whether refutes are owed that [`LeaseTable::due`] has not given yet: they go before the next beacon.
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    fn take_off_wheel(&mut self, lease: LeaseId) {
        if self.slots.get(lease).lease().kind() == LeaseKind::Ttl {
            self.wheel.take_out(&mut self.slots, lease);
        }
    }

    /// Owes the log a refute, if the suspect was heard.
    pub(super) fn owe(&mut self, lease: LeaseId) {
        if self.troubles.get(lease).is_some_and(|trouble| self.is_heard(lease, trouble)) {
            self.owed.insert(lease);
        }
    }

    pub(super) fn is_heard(&self, lease: LeaseId, trouble: &Trouble) -> bool {
        match self.term(lease) {
            Term::Ttl { renewed, .. } => renewed > trouble.basis_ms,
            Term::Attached { .. } => true,
            Term::Checked { .. } => trouble.is_recovered,
            Term::Lost { .. } | Term::Elsewhere | Term::Endless => false,
        }
    }

    /// The second opinion on a failed check agrees.
    pub fn confirmed(&mut self, key: &InstanceKey, suspicion: Revision, now: MonoMs) {
        if let Some(lease) = self.slots.find(key)
            && self.troubles.get(lease).is_some_and(|trouble| trouble.stage.suspicion() == Some(suspicion))
        {
            self.confirm(lease, now);
        }
    }

    /// Nobody gives a second opinion on those checks any more: `was_second` of them is gone.
    pub fn unseconded(&mut self, was_second: &dyn Fn(&InstanceKey) -> bool, now: MonoMs) {
        let waits = |lease: LeaseId, trouble: &Trouble| {
            let is_open = matches!(trouble.stage, Stage::Standing { .. }) && !trouble.is_confirmed;
            is_open && matches!(self.term(lease), Term::Checked { .. }) && was_second(&self.slots.key(lease))
        };
        let waiting = self.troubles.iter().filter(|(lease, trouble)| waits(*lease, trouble));
        let waiting: Vec<_> = waiting.map(|(lease, _)| lease).collect();
        waiting.into_iter().for_each(|lease| self.confirm(lease, now));
    }

    fn confirm(&mut self, lease: LeaseId, now: MonoMs) {
        if let Some(trouble) = self.troubles.get_mut(lease) {
            trouble.is_confirmed = true;
            if trouble.said.is_none() {
                self.troubles.look(lease, now);
            }
        }
    }

    /// No suspicion stands any more. `age_ms`: somebody heard it that long ago. Without one, what follows in the log
    /// (a register, an end) says why.
    pub fn cleared(&mut self, key: &InstanceKey, age_ms: Option<u64>, now: MonoMs) {
        let Some(lease) = self.slots.find(key) else { return };
        let Some(trouble) = self.troubles.get_mut(lease) else { return };
        let Some(age_ms) = age_ms else {
            trouble.is_void = true;
            return self.troubles.look(lease, now);
        };
        let again = trouble.again.take();
        let (cell, at) = (&self.slots.get(lease).cell, now.saturating_sub(age_ms));
        if trouble.said == Some(Said::Refute) && trouble.refuted_age_ms == age_ms {
            // This node's own: its time goes on from the heartbeat itself, as if the log took no time.
            cell.spend(at);
        } else {
            cell.refuted(at);
        }
        self.calm(lease, now);
        if again.is_some() {
            self.suspect_check(lease, again, now);
        }
    }

    /// The log shows it unhealthy.
    pub fn unhealthy(&mut self, key: &InstanceKey, now: MonoMs) {
        let Some(lease) = self.slots.find(key) else { return };
        self.freezes.fell(lease);
        if let Some(trouble) = self.troubles.get_mut(lease)
            && let Some(suspicion) = trouble.stage.suspicion()
        {
            trouble.stage = Stage::Unhealthy { suspicion, since: now };
            // What held its end has served its purpose; another hold starts anew.
            trouble.floor_ms = 0;
            trouble.unsay();
            self.troubles.look(lease, now);
        }
    }

    /// The log did not take what [`LeaseTable::due`] gave, or apply made nothing of it.
    pub fn refused(&mut self, op: &Op, now: MonoMs) {
        match op {
            Op::Suspect { instance, .. }
            | Op::Refute { instance, .. }
            | Op::Unhealthy { instance, .. }
            | Op::Expire { instance, .. } => {
                if let Some(lease) = self.slots.find(instance)
                    && let Some(trouble) = self.troubles.get_mut(lease)
                    && trouble.said.is_some()
                {
                    trouble.unsay();
                    trouble.expires = false;
                    self.troubles.look(lease, now + REFUSED_MS);
                }
            }
            Op::CloseSession { session, .. } => {
                if let Some(place) = self.sessions.find(*session) {
                    self.look_at_session_at(place, now + REFUSED_MS);
                }
            }
            Op::Freeze { scope, .. } | Op::Release { scope, .. } => {
                let scope = self.scope(scope);
                self.freezes.refused(scope, now);
                self.settle_scope(scope);
            }
            _ => {}
        }
    }

    /// The log shows a freeze. Those of a service and of this node cover leases of this node; at boot, on a log of one
    /// process, so do those that its last incarnations made. On a shared log those are another node's.
    pub fn frozen(&mut self, scope: &FreezeScope, freeze: Revision, now: MonoMs) {
        if let FreezeScope::Node(node) = scope
            && *node != self.me
            && self.ready_at.is_some()
        {
            return;
        }
        let scope = self.scope(scope);
        self.freezes.frozen(scope, freeze, now);
    }

    /// The log shows its end, or the end of the service that it was for.
    pub fn released(&mut self, scope: &FreezeScope) {
        let scope = self.scope(scope);
        self.freezes.released(scope);
        self.settle_scope(scope);
    }

    fn settle_scope(&mut self, scope: Scope) {
        if let Scope::Service(service) = scope {
            self.settle(service);
        }
    }

    fn scope(&mut self, scope: &FreezeScope) -> Scope {
        match scope {
            FreezeScope::Node(node) => Scope::Node(*node),
            FreezeScope::Service(service) => Scope::Service(self.slots.name(service)),
        }
    }

    /// As many probes have failed as the check's threshold says. May be said again with each further failure.
    pub fn check_failed(&mut self, key: &InstanceKey, generation: Revision, detail: &str, now: MonoMs) {
        let Some(lease) = self.find_checked(key, generation) else { return };
        let Some(trouble) = self.troubles.get_mut(lease) else {
            return self.suspect_check(lease, Some(detail.into()), now);
        };
        if !trouble.is_recovered {
            if trouble.stage == Stage::Wanting {
                trouble.detail = Some(detail.into());
            }
            return;
        }
        if trouble.said == Some(Said::Refute) {
            trouble.again = Some(detail.into());
            return;
        }
        trouble.is_recovered = false;
        trouble.detail = Some(detail.into());
        self.owed.remove(&lease);
        self.troubles.look(lease, now);
    }

    /// As many probes have succeeded as the check's threshold says. May be said again with each further success.
    pub fn check_recovered(&mut self, key: &InstanceKey, generation: Revision, now: MonoMs) {
        let Some(lease) = self.find_checked(key, generation) else { return };
        let Some(trouble) = self.troubles.get_mut(lease) else { return };
        trouble.is_recovered = true;
        trouble.again = None;
        match trouble.stage {
            // The suspicion may be on its way: then it must be refuted when it comes.
            Stage::Wanting => self.troubles.look(lease, now),
            Stage::Standing { .. } | Stage::Unhealthy { .. } => {
                if trouble.said != Some(Said::Refute) {
                    self.owed.insert(lease);
                }
            }
        }
    }

    fn find_checked(&self, key: &InstanceKey, generation: Revision) -> Option<LeaseId> {
        self.find(key, generation).filter(|lease| self.slots.get(*lease).lease().kind() == LeaseKind::Checked)
    }

    fn suspect_check(&mut self, lease: LeaseId, detail: Option<Box<str>>, now: MonoMs) {
        self.suspect(lease, now);
        if let Some(trouble) = self.troubles.get_mut(lease) {
            trouble.detail = detail;
        }
    }
}
