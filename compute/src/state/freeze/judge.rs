//! Who may go, who is held, and what is to be said about it.

use std::collections::BTreeSet;

use crate::port::clock::MonoMs;
use crate::state::planted::{Rule, holds};

use super::window::is_mass;
use super::{
    COMPARE_MS, Candidate, FREEZE_MS_MAX, Freezes, LeaseId, Mark, RESEND_MS, Ruling, Scope, ServiceId, Standing,
    Totals, Word,
};

impl Freezes {
    /// Rules on those whose time is over, and on those that waited. Who is neither let go now nor is told of later has
    /// been heard; a candidate that was held need not be brought again.
    pub fn judge(&mut self, now: MonoMs, candidates: &[Candidate], totals: &Totals<'_>) -> Ruling {
        let over = self.window.slide(now, &mut self.marks);
        over.leases.into_iter().for_each(|lease| self.drop_if_idle(lease));
        let mut ruling = Ruling { idle: over.services, ..Ruling::default() };
        let mut fresh = Vec::new();
        for candidate in candidates {
            self.admit(*candidate, now, &mut fresh, &mut ruling);
        }
        self.trip(now, &fresh, totals, &mut ruling.words);
        ruling.go.extend(fresh.iter().map(|candidate| candidate.lease));
        ruling.go.retain(|lease| self.still_goes(*lease));
        self.look(now, totals, &mut ruling);
        ruling.go.extend(self.pace.let_go(now, totals, &mut self.marks));
        ruling
    }

    /// Takes note of a candidate; one that no freeze covers is fresh.
    fn admit(&mut self, candidate: Candidate, now: MonoMs, fresh: &mut Vec<Candidate>, ruling: &mut Ruling) {
        let Candidate { lease, service, is_healthy } = candidate;
        let scopes = self.scopes_over(service);
        let mark = self.marks.entry(lease).or_insert(Mark::new(service, is_healthy));
        mark.is_healthy = is_healthy;
        if mark.thawed.is_some() {
            if mark.went_in_window(now) {
                ruling.go.push(lease);
            } else {
                mark.waits = true;
                self.pace.wait(lease, service);
            }
            return;
        }
        self.window.count(lease, mark, now);
        if scopes.is_empty() {
            fresh.push(candidate);
            return;
        }
        mark.waits = true;
        for scope in scopes {
            if let Some(standing) = self.standing.get_mut(&scope) {
                standing.leases.insert(lease);
            }
        }
    }

    /// Freezes what loses too much at once.
    fn trip(&mut self, now: MonoMs, fresh: &[Candidate], totals: &Totals<'_>, words: &mut Vec<Word>) {
        if !holds(Rule::Freeze) {
            return;
        }
        let (lost, of) = (self.window.lost(), totals.leases + self.window.gone_count());
        if !fresh.is_empty() && is_mass(lost, of) {
            let counted = self.marks.iter().filter(|(_, mark)| mark.counted.is_some());
            let leases = counted.map(|(lease, _)| *lease).collect();
            self.begin(Scope::Node(self.me), leases, lost as u32, of as u32, now, words);
            return;
        }
        let services: BTreeSet<ServiceId> = fresh.iter().map(|candidate| candidate.service).collect();
        for service in services {
            let loss = self.window.loss(service, (totals.members)(service), &self.marks);
            if loss.is_mass() {
                let leases = self.window.leases_of(service);
                self.begin(Scope::Service(service), leases, loss.lost, loss.all, now, words);
            }
        }
    }

    fn begin(
        &mut self,
        scope: Scope,
        leases: BTreeSet<LeaseId>,
        lapsed: u32,
        of: u32,
        now: MonoMs,
        words: &mut Vec<Word>,
    ) {
        let standing = Standing { leases, ask_at: now + RESEND_MS, ..Standing::new(now, true) };
        self.standing.insert(scope, standing);
        self.look_at = self.look_at.min(now + RESEND_MS);
        words.push(Word::Freeze { scope, lapsed, of });
    }

    /// Asks again for what the log has not shown, and ends the freezes whose time or reason is over.
    fn look(&mut self, now: MonoMs, totals: &Totals<'_>, ruling: &mut Ruling) {
        if now < self.look_at {
            return;
        }
        self.look_at = MonoMs::MAX;
        let scopes: Vec<_> = self.standing.keys().copied().collect();
        for scope in scopes {
            let next = self.look_at_one(scope, now, totals, ruling);
            self.look_at = self.look_at.min(next);
        }
    }

    fn look_at_one(&mut self, scope: Scope, now: MonoMs, totals: &Totals<'_>, ruling: &mut Ruling) -> MonoMs {
        let Some(standing) = self.standing.get(&scope) else { return MonoMs::MAX };
        if now < standing.ask_at {
            return standing.ask_at;
        }
        let (lapsed, of, is_mass) = self.share(scope, standing, totals);
        let ends_at = standing.since + FREEZE_MS_MAX;
        let word = match standing.freeze {
            // Never shown, and its reason is over. Should it still come out of the log it is ended again.
            None if !is_mass => {
                self.released(scope);
                ruling.idle.extend(scope.service());
                return MonoMs::MAX;
            }
            None => Word::Freeze { scope, lapsed, of },
            Some(freeze) if now >= ends_at || (standing.is_judged && !is_mass) => Word::Release { scope, freeze },
            Some(_) => return ends_at.min(now + COMPARE_MS),
        };
        ruling.words.push(word);
        if let Some(standing) = self.standing.get_mut(&scope) {
            standing.ask_at = now + RESEND_MS;
        }
        now + RESEND_MS
    }

    /// How many a freeze keeps, of how many, and whether that is too many to let go.
    fn share(&self, scope: Scope, standing: &Standing, totals: &Totals<'_>) -> (u32, u32, bool) {
        match scope {
            Scope::Node(_) => {
                let gone = self.window.gone_count();
                let (lost, of) = (standing.leases.len() + gone, totals.leases + gone);
                (lost as u32, of as u32, is_mass(lost, of))
            }
            Scope::Service(service) => {
                let members = (totals.members)(service);
                let loss = self.window.loss(service, members, &self.marks);
                let marks = standing.leases.iter().filter_map(|lease| self.marks.get(lease));
                let held = marks.filter(|mark| mark.is_healthy).count() as u32;
                (standing.leases.len() as u32, loss.all, loss.is_mass_if(members, held))
            }
        }
    }

    fn drop_if_idle(&mut self, lease: LeaseId) {
        let Some(mark) = self.marks.get(&lease) else { return };
        if !mark.waits && mark.thawed.is_none() && !self.is_kept(lease, mark.service) {
            self.marks.remove(&lease);
        }
    }
}

impl Scope {
    fn service(self) -> Option<ServiceId> {
        match self {
            Self::Node(_) => None,
            Self::Service(service) => Some(service),
        }
    }
}

impl Mark {
    fn new(service: ServiceId, is_healthy: bool) -> Self {
        Self { service, is_healthy, counted: None, was_healthy: is_healthy, waits: false, thawed: None, paced: None }
    }
}
