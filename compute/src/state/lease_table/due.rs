//! What is to be said now.

use crate::model::{Cause, FreezeScope, Lease, Op, Revision, ServiceKey};
use crate::port::clock::MonoMs;
use crate::state::freeze::{Candidate, LeaseId, Members, RESEND_MS, Ruling, Scope, Totals, Word};

use super::barred::is_past;
use super::term::Term;
use super::trouble::{Item, Said, Stage, Trouble};
use super::{Conditions, LeaseTable};

/// Most words given at once, a frame's worth; the rest is due at once.
const DUE_MAX: usize = 4_096;
/// How long a second opinion on a failed check is waited for, behind the check's timeout.
const OPINION_MS: MonoMs = 1_000;
/// Most healthy leases looked at in one call.
const FIRED_MAX: usize = 65_536;

/// What comes next for a lease in trouble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// It is in none.
    Calm,
    LookAt(MonoMs),
    /// Until every member has shown this suspicion.
    WaitFor(Revision),
    Say(Said),
    /// It would become unhealthy or go, if no freeze forbids it.
    Offer,
}

impl LeaseTable {
    /// What is to be appended now. Each is given once, and again when it was refused or has not come back for 2 s.
    ///
    /// `members` tells of a service as it is in the applied state.
    pub fn due(
        &mut self,
        now: MonoMs,
        conditions: Conditions,
        members: &dyn Fn(&ServiceKey) -> Members,
        out: &mut Vec<Op>,
    ) {
        if self.ready_at.is_none() {
            return;
        }
        let full = out.len() + DUE_MAX;
        self.say_refutes(now, full, out);
        if self.is_held {
            return;
        }
        self.fire(now);
        self.pass_barrier(conditions, now);
        let mut offered = Vec::new();
        self.work(now, conditions, full, &mut offered, out);
        let freezes_are_due = self.freezes.next_deadline().is_some_and(|at| at <= now);
        if offered.is_empty() && !freezes_are_due {
            return;
        }
        self.judge(now, &offered, members, out);
        let mut left = Vec::new();
        self.work(now, conditions, full, &mut left, out);
        // Nothing that was let go is offered again; what else came up waits for the next call.
        left.into_iter().for_each(|candidate: Candidate| self.troubles.look(candidate.lease, now));
    }

    fn say_refutes(&mut self, now: MonoMs, full: usize, out: &mut Vec<Op>) {
        while out.len() < full
            && let Some(lease) = self.owed.pop_first()
        {
            let is_owed = self.troubles.get(lease).is_some_and(|trouble| {
                trouble.stage != Stage::Wanting && !trouble.is_void && self.is_heard(lease, trouble)
            });
            if is_owed {
                self.say(lease, Said::Refute, now, out);
            }
        }
    }

    /// Has those looked at that waited until every member had shown their suspicions.
    fn pass_barrier(&mut self, conditions: Conditions, now: MonoMs) {
        while let Some((suspicion, lease)) = self.barred.pop(conditions.barrier, now) {
            let waits = |trouble: &Trouble| trouble.stage.suspicion() == Some(suspicion) && trouble.said.is_none();
            if self.troubles.get(lease).is_some_and(waits) {
                self.troubles.look(lease, now);
            }
        }
    }

    /// Looks at the TTL leases whose time has come. True when it stopped before the end.
    pub(super) fn fire(&mut self, now: MonoMs) -> bool {
        for _ in 0..FIRED_MAX {
            let Some(lease) = self.wheel.pop(&mut self.slots, now) else { return false };
            let at = self.term(lease).suspect_at(0);
            if at > now {
                self.wheel.put(&mut self.slots, lease, at);
            } else {
                self.suspect(lease, now);
            }
        }
        true
    }

    fn work(
        &mut self,
        now: MonoMs,
        conditions: Conditions,
        full: usize,
        offered: &mut Vec<Candidate>,
        out: &mut Vec<Op>,
    ) {
        while out.len() < full
            && let Some(item) = self.troubles.pop(now)
        {
            match item {
                Item::Session(place) => self.work_on_session(place, now, out),
                Item::Lease(lease) => self.work_on_lease(lease, now, conditions, offered, out),
            }
        }
    }

    fn work_on_session(&mut self, place: u32, now: MonoMs, out: &mut Vec<Op>) {
        let Some(session) = self.sessions.get_mut(place) else { return };
        session.look_at = MonoMs::MAX;
        if session.leases == 0 && !session.is_closed && session.close_at().is_some_and(|at| at <= now) {
            out.push(Op::CloseSession { session: session.id, epoch: session.epoch, deregister: false });
            return self.look_at_session_at(place, now + RESEND_MS);
        }
        if session.suspect_at().is_some_and(|at| at <= now) {
            self.suspect_session(place, now);
        }
        self.look_at_session(place);
    }

    fn work_on_lease(
        &mut self,
        lease: LeaseId,
        now: MonoMs,
        conditions: Conditions,
        offered: &mut Vec<Candidate>,
        out: &mut Vec<Op>,
    ) {
        let Some(trouble) = self.troubles.get_mut(lease) else { return };
        if trouble.said.is_some() {
            trouble.unsay();
        }
        let Some(trouble) = self.troubles.get(lease) else { return };
        match self.next_of(lease, trouble, now, conditions) {
            Next::Calm => self.calm(lease, now),
            Next::LookAt(at) => self.troubles.look(lease, at),
            Next::WaitFor(suspicion) => {
                self.troubles.look(lease, MonoMs::MAX);
                self.barred.wait(suspicion, lease, now);
            }
            Next::Say(said @ (Said::Unhealthy | Said::Expire)) => {
                if self.freezes.still_goes(lease) {
                    self.say(lease, said, now, out);
                } else if let Some(trouble) = self.troubles.get_mut(lease) {
                    trouble.may_go = false;
                }
            }
            Next::Say(said) => self.say(lease, said, now, out),
            Next::Offer => {
                let is_healthy = matches!(trouble.stage, Stage::Standing { .. });
                offered.push(Candidate { lease, service: self.slots.service(lease), is_healthy });
            }
        }
    }

    fn next_of(&self, lease: LeaseId, trouble: &Trouble, now: MonoMs, conditions: Conditions) -> Next {
        if trouble.is_void {
            return Next::Calm;
        }
        let goes = |said| if trouble.may_go { Next::Say(said) } else { Next::Offer };
        let is_heard = self.is_heard(lease, trouble);
        match trouble.stage {
            Stage::Wanting if is_heard => self.next_of_heard(lease, trouble),
            Stage::Standing { .. } | Stage::Unhealthy { .. } if is_heard => Next::Say(Said::Refute),
            Stage::Wanting => {
                let at = self.term(lease).suspect_at(trouble.floor_ms);
                if now < at { Next::LookAt(at) } else { Next::Say(Said::Suspect) }
            }
            Stage::Standing { suspicion, since } => match self.due_at(lease, trouble) {
                Some(at) if now < at => Next::LookAt(at),
                None => Next::LookAt(MonoMs::MAX),
                Some(_) => match self.term(lease) {
                    Term::Checked { .. } if conditions.is_alone || trouble.is_confirmed => goes(Said::Unhealthy),
                    Term::Checked { timeout, .. } if now < since + timeout + OPINION_MS => {
                        Next::LookAt(since + timeout + OPINION_MS)
                    }
                    Term::Checked { .. } => goes(Said::Unhealthy),
                    _ if is_past(conditions.barrier, suspicion) => goes(Said::Unhealthy),
                    _ => Next::WaitFor(suspicion),
                },
            },
            Stage::Unhealthy { .. } => match self.due_at(lease, trouble) {
                Some(at) if now < at => Next::LookAt(at),
                Some(_) => goes(Said::Expire),
                None => Next::LookAt(MonoMs::MAX),
            },
        }
    }

    /// A check that recovers while its suspicion may be on its way must be remembered until that is known.
    fn next_of_heard(&self, lease: LeaseId, trouble: &Trouble) -> Next {
        let is_check = matches!(self.term(lease), Term::Checked { .. });
        if is_check && trouble.was_suspected { Next::LookAt(MonoMs::MAX) } else { Next::Calm }
    }

    /// Brings those whose time is over before the freezes.
    fn judge(
        &mut self,
        now: MonoMs,
        offered: &[Candidate],
        members: &dyn Fn(&ServiceKey) -> Members,
        out: &mut Vec<Op>,
    ) {
        let (leases, slots) = (self.mortal(), &self.slots);
        let totals = Totals { leases, members: &|service| members(slots.service_key(service)) };
        let Ruling { go, words, idle } = self.freezes.judge(now, offered, &totals);
        for lease in go {
            if let Some(trouble) = self.troubles.get_mut(lease) {
                trouble.may_go = true;
                self.troubles.look(lease, now);
            }
        }
        out.extend(words.into_iter().map(|word| match word {
            Word::Freeze { scope, lapsed, of } => Op::Freeze { scope: self.named(scope), lapsed, of },
            Word::Release { scope, freeze } => Op::Release { scope: self.named(scope), freeze },
        }));
        idle.into_iter().for_each(|service| self.settle(service));
    }

    fn named(&self, scope: Scope) -> FreezeScope {
        match scope {
            Scope::Node(node) => FreezeScope::Node(node),
            Scope::Service(service) => FreezeScope::Service(self.slots.service_key(service).clone()),
        }
    }

    fn say(&mut self, lease: LeaseId, said: Said, now: MonoMs, out: &mut Vec<Op>) {
        let Some(trouble) = self.troubles.get(lease) else { return };
        let Some(op) = self.word(lease, trouble, said, now) else { return };
        if let Some(trouble) = self.troubles.get_mut(lease) {
            if let Op::Refute { age_ms, .. } = &op {
                trouble.refuted_age_ms = *age_ms;
            }
            trouble.said = Some(said);
            trouble.expires |= said == Said::Expire;
            trouble.was_suspected |= said == Said::Suspect;
        }
        out.push(op);
        self.troubles.look(lease, now + RESEND_MS);
    }

    fn word(&self, lease: LeaseId, trouble: &Trouble, said: Said, now: MonoMs) -> Option<Op> {
        let (instance, term) = (self.slots.key(lease), self.term(lease));
        let Some(suspicion) = trouble.stage.suspicion() else {
            let generation = self.slots.get(lease).generation;
            let age_ms = term.age(trouble.floor_ms, now);
            return Some(Op::Suspect { instance, generation, age_ms, cause: self.cause(lease, trouble)? });
        };
        match said {
            Said::Suspect => None,
            Said::Refute => {
                let age_ms = match term {
                    Term::Ttl { renewed, .. } => now.saturating_sub(renewed),
                    _ => 0,
                };
                Some(Op::Refute { instance, suspicion, age_ms })
            }
            Said::Unhealthy => Some(Op::Unhealthy { instance, suspicion }),
            Said::Expire => Some(Op::Expire { instance, suspicion }),
        }
    }

    fn cause(&self, lease: LeaseId, trouble: &Trouble) -> Option<Cause> {
        match self.slots.get(lease).lease() {
            Lease::Ttl { .. } => Some(Cause::Lapse),
            Lease::Stream { session, .. } => {
                let epoch = self.sessions.get(self.slots.list(lease))?.epoch;
                Some(Cause::Session { session: *session, epoch })
            }
            Lease::Checked { .. } => Some(Cause::Check { detail: trouble.detail.clone().unwrap_or_default() }),
            Lease::Permanent => None,
        }
    }
}
