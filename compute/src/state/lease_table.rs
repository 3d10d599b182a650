//! Which leases this node owns, how old they are, and what is to be said to the log about them.
//!
//! Nothing here is state that nodes share. The table is fed with what was applied and with what this node alone can
//! know (heartbeats, connections, probes); [`LeaseTable::due`] answers with changes to append. Time comes in as `now`.
//!
//! - Nobody goes on one word. At two thirds of its time a lease is suspect; only when the log has shown that, every
//!   member had its chance to object, and the time is over may it become unhealthy, and, `remove_after` later, go.
//! - A heartbeat is a store into the lease's [`LeaseCell`](crate::model::LeaseCell) and nothing else. The table reads
//!   the cell when a lease would be suspect, and before each further word: what was heard meanwhile refutes.
//! - Ages are this node's own. After [`LeaseTable::ready`], and after a [`LeaseTable::hold`] in which it lapsed, a
//!   lease has its full time again.
//! - TTL, checked and permanent leases of other nodes are not here: [`Witness`](crate::state::witness::Witness) looks
//!   after those. Stream leases all are, and their session says who answers for them.
//! - What was said and has not come back is said again; what was refused is thought over again.
//! - Mass losses are held back by [`freeze`](crate::state::freeze), through which every removal passes.
//!
//! Memory: 24 bytes a lease and its place in a hash table; only leases in trouble have more. A deadline per lease in an
//! ordered set, as smaller tables have it, would cost three times that, and a move for each heartbeat.

mod attached;
mod barred;
mod due;
mod owned;
mod sessions;
mod slots;
mod term;
mod told;
mod trouble;
mod wheel;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::limits::LEASE_MS_MIN;
use crate::model::{Instance, InstanceKey, Lease, LeaseKind, NodeIncarnation, Position, Revision};
use crate::port::clock::MonoMs;
use crate::state::freeze::{Freezes, LeaseId, ServiceId};

use barred::Barred;
use sessions::{Held, Sessions};
use slots::Slots;
use term::Term;
use trouble::{Stage, Trouble, Troubles};
use wheel::Wheel;

/// What holds for all leases at the moment of a decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conditions {
    /// This node is the only member: nobody can give a second opinion on a failed check.
    pub is_alone: bool,
    /// What every member has shown that it has applied. Whoever heard a suspect has said so before it showed the
    /// suspicion's position, so until all have shown that, nothing is unhealthy. `None`: there are no members, and what
    /// this node has applied is all there is to wait for.
    pub barrier: Option<Position>,
}

/// How many leases there are here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub ttl: usize,
    pub stream: usize,
    pub checked: usize,
    pub permanent: usize,
    pub sessions: usize,
    /// Suspicions that stand, of healthy instances.
    pub suspects: usize,
    pub unhealthy: usize,
}

/// The leases that this node owns.
pub struct LeaseTable {
    slots: Slots,
    wheel: Wheel,
    sessions: Sessions,
    troubles: Troubles,
    /// Suspects that were heard: refutes are said even while everything else is held.
    owed: BTreeSet<LeaseId>,
    freezes: Freezes,
    /// Suspects whose time is over while not every member has shown their suspicions.
    barred: Barred,
    me: NodeIncarnation,
    ready_at: Option<MonoMs>,
    is_held: bool,
    counts: [usize; 4],
    /// Stream leases whose session is at another node.
    elsewhere: usize,
}

/// Whether a loop that should have run at `expected` and ran at `actual` was late by more than a third of a TTL: then
/// heartbeats may have waited as long as it did.
pub fn is_late(expected: MonoMs, actual: MonoMs, ttl_ms: MonoMs) -> bool {
    actual.saturating_sub(expected) * 3 > ttl_ms
}

impl LeaseTable {
    pub fn new(me: NodeIncarnation) -> Self {
        Self {
            slots: Slots::new(),
            wheel: Wheel::new(),
            sessions: Sessions::default(),
            troubles: Troubles::default(),
            owed: BTreeSet::new(),
            freezes: Freezes::new(me),
            barred: Barred::default(),
            me,
            ready_at: None,
            is_held: false,
            counts: [0; 4],
            elsewhere: 0,
        }
    }

    /// A lease starts, or its generation or its terms have changed: its time counts from now.
    pub fn begin(&mut self, key: &InstanceKey, instance: &Arc<Instance>, now: MonoMs) {
        instance.cell.assume(now);
        self.enter(key, instance, now);
    }

    fn enter(&mut self, key: &InstanceKey, instance: &Arc<Instance>, now: MonoMs) -> LeaseId {
        let lease = match self.slots.find(key) {
            Some(lease) => {
                self.drop_trouble(lease);
                self.unlink(lease);
                self.slots.replace(lease, instance.clone());
                lease
            }
            None => {
                let lease = self.slots.insert(key, instance.clone());
                self.freezes.joined(self.slots.service(lease));
                lease
            }
        };
        self.link(lease, now);
        lease
    }

    /// A provider spoke through the log, and the terms of its lease are the same.
    pub fn heard(&mut self, key: &InstanceKey, instance: &Arc<Instance>, now: MonoMs) {
        match self.slots.find(key) {
            Some(lease) if self.is_same(lease, instance) => {
                instance.cell.assume(now);
                self.slots.replace(lease, instance.clone());
                self.calm(lease, now);
            }
            _ => self.begin(key, instance, now),
        }
    }

    /// Something that is no concern of leases changed. Without this the table keeps the old value in memory.
    pub fn replaced(&mut self, key: &InstanceKey, instance: &Arc<Instance>) {
        if let Some(lease) = self.slots.find(key)
            && self.is_same(lease, instance)
        {
            self.slots.replace(lease, instance.clone());
        }
    }

    /// A life of an instance is over, whoever said so, or its lease is another node's now.
    pub fn end(&mut self, key: &InstanceKey, generation: Revision, now: MonoMs) {
        let Some(lease) = self.find(key, generation) else { return };
        let trouble = self.troubles.remove(lease);
        let is_expired = trouble.is_some_and(|trouble| trouble.expires);
        self.owed.remove(&lease);
        self.freezes.ended(lease, is_expired, now);
        self.unlink(lease);
        let service = self.slots.service(lease);
        self.slots.remove(lease);
        self.settle(service);
    }

    /// From here on this node decides. Nobody was heard before: every lease has its full time, every session is lost.
    pub fn ready(&mut self, now: MonoMs) {
        self.ready_at = Some(now);
        for place in self.sessions.places() {
            if let Some(session) = self.sessions.get_mut(place)
                && session.held != Held::Elsewhere
            {
                session.held = Held::Lost { since: now };
                session.is_suspect = false;
            }
            self.look_at_session(place);
        }
        let troubled: Vec<_> = self.troubles.iter().map(|(lease, _)| lease).collect();
        for lease in troubled {
            let span = self.term(lease).span().unwrap_or(0);
            if let Some(trouble) = self.troubles.get_mut(lease) {
                trouble.floor_ms = now;
                if let Stage::Unhealthy { since, .. } = &mut trouble.stage {
                    *since = now + span;
                }
            }
            self.troubles.look(lease, now);
        }
        self.freezes.ready(now);
    }

    /// This node can't judge (not ready, behind, the log is away): nobody goes until [`LeaseTable::release`].
    pub fn hold(&mut self) {
        self.is_held = true;
    }

    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// It can judge again. What lapsed meanwhile has its full time from now; how many those are.
    pub fn release(&mut self, now: MonoMs) -> usize {
        if !std::mem::take(&mut self.is_held) || self.ready_at.is_none() {
            return 0;
        }
        self.spare(now, |due, _| due <= now)
    }

    /// This node's loop ran at `now` and should have at `expected`. A lease that lapsed in between has its full time
    /// from now, if that was more than a third of it; how many those are. Must come before [`LeaseTable::due`].
    pub fn late(&mut self, expected: MonoMs, now: MonoMs) -> usize {
        if self.is_held || self.ready_at.is_none() || !is_late(expected, now, LEASE_MS_MIN) {
            return 0;
        }
        self.spare(now, |due, span| due > expected && due <= now && is_late(expected, now, span))
    }

    /// Gives a full time to all whose end (and span) `is_hit`. What a mass loss froze has had its time already.
    fn spare(&mut self, now: MonoMs, is_hit: impl Fn(MonoMs, MonoMs) -> bool) -> usize {
        while self.fire(now) {}
        for place in self.sessions.places() {
            let Some(session) = self.sessions.get_mut(place) else { continue };
            let grace = session.grace();
            if session.suspect_at().is_some_and(|at| at <= now) {
                self.suspect_session(place, now);
            } else {
                continue;
            }
            if let Some(session) = self.sessions.get_mut(place)
                && session.close_at().is_some_and(|due| is_hit(due, grace))
            {
                session.floor_ms = now;
            }
            self.look_at_session(place);
        }
        let hit = self.troubles.iter().filter(|(lease, trouble)| {
            let Some(span) = self.term(*lease).span() else { return false };
            // One that was heard, and whose refute is under way, ends as if it had come.
            let heard = self.is_heard(*lease, trouble).then(|| self.ends_at(*lease, trouble)).flatten();
            let mut ends = self.due_at(*lease, trouble).into_iter().chain(heard);
            ends.any(|due| is_hit(due, span)) && !self.freezes.is_frozen_or_thawed(*lease)
        });
        let hit: Vec<_> = hit.map(|(lease, _)| lease).collect();
        for lease in &hit {
            if let Some(trouble) = self.troubles.get_mut(*lease) {
                trouble.floor_ms = now;
                trouble.unsay();
            }
            self.troubles.look(*lease, now);
        }
        hit.len()
    }

    /// When [`LeaseTable::due`] has something to say, if nothing happens before.
    pub fn next_deadline(&self) -> Option<MonoMs> {
        self.ready_at?;
        if !self.owed.is_empty() {
            return Some(0);
        }
        if self.is_held {
            return None;
        }
        let (wheel, barred) = (self.wheel.next_deadline(), self.barred.next_deadline());
        let soonest = [wheel, self.troubles.next_deadline(), self.freezes.next_deadline(), barred];
        soonest.into_iter().flatten().min()
    }

    pub fn counts(&self) -> Counts {
        let own = || self.troubles.iter().filter(|(lease, _)| !self.is_elsewhere(*lease));
        let stages = || own().map(|(_, trouble)| trouble.stage);
        Counts {
            ttl: self.count(LeaseKind::Ttl),
            stream: self.count(LeaseKind::Stream) - self.elsewhere,
            checked: self.count(LeaseKind::Checked),
            permanent: self.count(LeaseKind::Permanent),
            sessions: self.sessions.len(),
            suspects: stages().filter(|stage| matches!(stage, Stage::Standing { .. })).count(),
            unhealthy: stages().filter(|stage| matches!(stage, Stage::Unhealthy { .. })).count(),
        }
    }

    /// A stream lease of a session that another node holds.
    fn is_elsewhere(&self, lease: LeaseId) -> bool {
        let is_stream = self.slots.get(lease).lease().kind() == LeaseKind::Stream;
        is_stream && self.sessions.get(self.slots.list(lease)).is_some_and(|session| session.held == Held::Elsewhere)
    }

    /// How many leases of one kind there are here.
    pub fn counts_of(&self, kind: LeaseKind) -> usize {
        self.count(kind)
    }

    /// What kind of lease is here of an instance.
    pub fn kind(&self, key: &InstanceKey) -> Option<LeaseKind> {
        self.slots.find(key).map(|lease| self.slots.get(lease).lease().kind())
    }

    fn count(&self, kind: LeaseKind) -> usize {
        self.counts[kind as usize]
    }

    /// Leases that can lapse.
    fn mortal(&self) -> usize {
        self.count(LeaseKind::Ttl) + self.count(LeaseKind::Stream) + self.count(LeaseKind::Checked) - self.elsewhere
    }

    /// Whether there is a lease here of an instance.
    pub fn has(&self, key: &InstanceKey) -> bool {
        self.slots.find(key).is_some()
    }

    /// Since when it is among what this node's leases have lost within the window, if it is.
    pub fn counted_at(&self, key: &InstanceKey) -> Option<MonoMs> {
        self.freezes.counted_at(self.slots.find(key)?)
    }

    fn find(&self, key: &InstanceKey, generation: Revision) -> Option<LeaseId> {
        self.slots.find(key).filter(|lease| self.slots.get(*lease).generation == generation)
    }

    fn is_same(&self, lease: LeaseId, instance: &Instance) -> bool {
        let there = self.slots.get(lease);
        there.generation == instance.generation && there.lease() == instance.lease()
    }

    /// Puts a lease where its time is kept.
    fn link(&mut self, lease: LeaseId, now: MonoMs) {
        let instance = self.slots.get(lease);
        let kind = instance.lease().kind();
        self.counts[kind as usize] += 1;
        match instance.lease() {
            Lease::Ttl { .. } => self.put_on_wheel(lease),
            Lease::Stream { session, .. } => {
                let session = *session;
                self.join_session(lease, session, now);
            }
            Lease::Checked { .. } | Lease::Permanent => {}
        }
    }

    fn unlink(&mut self, lease: LeaseId) {
        let kind = self.slots.get(lease).lease().kind();
        self.counts[kind as usize] -= 1;
        match kind {
            LeaseKind::Ttl => self.wheel.take_out(&mut self.slots, lease),
            LeaseKind::Stream => self.leave_session(lease),
            LeaseKind::Checked | LeaseKind::Permanent => {}
        }
    }

    fn put_on_wheel(&mut self, lease: LeaseId) {
        let at = self.term(lease).suspect_at(0);
        self.wheel.put(&mut self.slots, lease, at);
    }

    /// A lease was heard. It is fine, unless that was long ago: then its time goes on from there. One whose session is
    /// lost is suspect again at once.
    fn calm(&mut self, lease: LeaseId, now: MonoMs) {
        let Some(trouble) = self.drop_trouble(lease) else { return };
        let is_suspect = match self.term(lease) {
            // A full time that it was given since then is not taken from it.
            Term::Ttl { renewed, .. } if trouble.floor_ms > renewed => true,
            Term::Ttl { .. } => {
                self.put_on_wheel(lease);
                false
            }
            Term::Lost { .. } => self.sessions.get(self.slots.list(lease)).is_some_and(|session| session.is_suspect),
            _ => false,
        };
        if is_suspect {
            self.suspect(lease, now);
            if let Some(new) = self.troubles.get_mut(lease) {
                new.floor_ms = trouble.floor_ms;
            }
        }
    }

    fn drop_trouble(&mut self, lease: LeaseId) -> Option<Trouble> {
        self.owed.remove(&lease);
        self.freezes.cleared(lease);
        self.troubles.remove(lease)
    }

    /// It would be said that a lease is suspect, if its time is over.
    fn suspect(&mut self, lease: LeaseId, now: MonoMs) {
        let basis = self.slots.get(lease).cell.renewed_ms();
        self.troubles.insert(lease, Trouble::new(Stage::Wanting, basis));
        self.troubles.look(lease, now);
    }

    /// Gives a service's number back when nothing here is of it.
    fn settle(&mut self, service: ServiceId) {
        if self.slots.leases_of(service) == 0 && !self.freezes.knows(service) {
            self.slots.unname(service);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
