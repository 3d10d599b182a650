//! Leases, as far as they are this node's: what it hears of them, and what it says to the log about them.

use std::collections::BTreeSet;
use std::sync::Arc;

use metrics::{counter, gauge};

use crate::model::{
    Author, FreezeScope, Instance, InstanceKey, LeaseKind, MemberRow, NodeIncarnation, Op, Position, SessionId,
};
use crate::node::checks::{CheckEvent, Feed};
use crate::node::link::{CheckWord, Link};
use crate::port::clock::MonoMs;
use crate::state::freeze::{Elsewhere, Members, WINDOW_MS};
use crate::state::lease_table::{Conditions, Counts, LeaseTable};
use crate::state::ownership::{Ownership, Standing};
use crate::state::witness::{Opinion, Witness, second_opinion};
use crate::state::{Applied, LeaseEvent, State};
use crate::watch::Recorded;

use super::{Applier, Item};

mod owning;

pub(super) use owning::HandOver;

/// Why this node holds expiry back by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Hold {
    LogAway,
    NotReady,
}

impl Hold {
    fn word(self) -> &'static str {
        match self {
            Self::LogAway => "log_away",
            Self::NotReady => "not_ready",
        }
    }
}

/// The last time that this node's own loop was so late that leases lapsed meanwhile.
#[derive(Clone, Copy)]
struct Late {
    at: MonoMs,
    late_ms: MonoMs,
    spared: usize,
}

/// For how long a late loop is shown: as long as a window in which losses are counted.
const LATE_SHOWN_MS: MonoMs = 10_000;

pub(super) struct Expiry {
    me: NodeIncarnation,
    table: LeaseTable,
    checks: Feed,
    /// What it heard of the leases of others.
    pub(super) witness: Witness,
    /// What others' leases have lost of late, those that were this node's then, and all before this node kept any.
    elsewhere: Elsewhere,
    /// Whose leases are whose; of no members: all are this node's.
    ownership: Ownership,
    /// Leases change hands.
    pass: Option<owning::Pass>,
    holds: BTreeSet<Hold>,
    late: Option<Late>,
}

impl Expiry {
    /// Takes over the leases of a state that has just been loaded, as far as they are this node's; each has its full time
    /// from now.
    pub(super) fn ready(me: NodeIncarnation, state: &State, checks: &Feed, now: MonoMs) -> Self {
        let (table, checks) = (LeaseTable::new(me), checks.clone());
        let (witness, ownership) = (Witness::default(), ownership_of(state));
        let (elsewhere, holds) = (Elsewhere::default(), BTreeSet::new());
        let mut expiry = Self { me, table, checks, witness, elsewhere, ownership, pass: None, holds, late: None };
        for (id, session) in state.sessions() {
            let is_mine = expiry.ownership.owner_of_session(id, session.node).is_none_or(|node| node == me);
            expiry.table.session_attached(*id, session.epoch, session.grace_ms, is_mine, now);
        }
        // In the order of their names: which lease gets which number decides who goes first where not all may go.
        let mut services: Vec<_> = state.services().collect();
        services.sort_unstable_by_key(|(service, _)| *service);
        for (service, entry) in services {
            for instance in entry.instances() {
                let key = service.instance(instance.id.clone());
                if expiry.keeps(&key, instance) {
                    expiry.table.begin(&key, instance, now);
                    expiry.check_begins(&key, instance);
                }
            }
        }
        for (key, suspicion) in state.suspicions() {
            expiry.table.suspected(key, suspicion, now);
            if state.instance(key).is_some_and(|instance| !instance.is_healthy()) {
                expiry.table.unhealthy(key, now);
            }
        }
        let is_mine = |scope: &FreezeScope| match scope {
            FreezeScope::Node(node) => expiry.ownership.is_embedded() || *node == me,
            FreezeScope::Service(_) => true,
        };
        let freezes: Vec<_> = state.freezes().filter(|(scope, _)| is_mine(scope)).collect();
        for (scope, freeze) in freezes {
            expiry.table.frozen(scope, freeze.revision, now);
        }
        expiry.table.ready(now);
        expiry.recall(state, now);
        expiry
    }

    /// What fell within the last window, as far as the state shows it: who is there and unhealthy, and who of each service
    /// expired last. How long ago that was says the log's time, for there is no other; where that has jumped, less is
    /// recalled.
    fn recall(&mut self, state: &State, now: MonoMs) {
        let now_ms = state.log().time_ms;
        let is_recent = |at_ms: u64| at_ms + WINDOW_MS > now_ms;
        let mut falls = Vec::new();
        for (service, entry) in state.services() {
            let gone = state.last_expired(service).filter(|(_, at_ms)| is_recent(*at_ms));
            falls.extend(gone.map(|(key, at_ms)| (at_ms, key.clone(), true)));
            if entry.counts().healthy < entry.counts().all {
                let fallen = entry.instances().iter().filter(|there| !there.is_healthy());
                let fallen = fallen.filter(|there| is_recent(there.health.since_ms));
                falls.extend(fallen.map(|there| (there.health.since_ms, service.instance(there.id.clone()), false)));
            }
        }
        falls.sort_unstable();
        for (at_ms, key, is_gone) in falls {
            self.elsewhere.fell(&key, now.saturating_sub(now_ms.saturating_sub(at_ms)));
            if is_gone {
                self.elsewhere.ended(&key);
            }
        }
    }

    /// What this node holds back, and owes as a witness, whatever became of its state.
    pub(super) fn go_on_from(&mut self, old: Self) {
        self.witness = old.witness;
        self.late = old.late;
        for hold in old.holds {
            self.table.hold();
            self.holds.insert(hold);
        }
    }

    /// Whether the table keeps this lease: stream leases all, for they go with their sessions, and of the others those
    /// that are this node's.
    fn keeps(&self, key: &InstanceKey, instance: &Instance) -> bool {
        instance.lease().kind() == LeaseKind::Stream || self.ownership.is_owner(self.me, key)
    }

    fn check_begins(&self, key: &InstanceKey, instance: &Arc<Instance>) {
        if instance.lease().kind() == LeaseKind::Checked {
            self.checks.tell(CheckEvent::Began { key: key.clone(), instance: instance.clone() });
        } else if self.is_checked(key) {
            // It was a checked one until now.
            self.checks.tell(CheckEvent::Ended { key: key.clone(), generation: instance.generation });
        }
    }

    fn is_checked(&self, key: &InstanceKey) -> bool {
        self.table.counts_of(LeaseKind::Checked) > 0 && self.table.kind(key) == Some(LeaseKind::Checked)
    }

    /// The probe that this node is asked for, if it is.
    fn hear(&mut self, event: &LeaseEvent, state: &State, link: &Link, now: MonoMs) -> Option<Opinion> {
        self.count_elsewhere(event, state, now);
        match event {
            LeaseEvent::Began { key, instance } | LeaseEvent::Heard { key, instance } if !self.keeps(key, instance) => {
                self.witness.registered(instance, now);
                // A stream lease was kept here until now.
                self.table.end(key, instance.generation, now);
            }
            LeaseEvent::Suspected { key, suspicion } => {
                // The table knows what it has: while leases change hands, that is not what this node owns.
                if !self.table.suspected(key, suspicion, now) {
                    let instance = state.instance(key)?;
                    self.witness.suspected(key, instance, suspicion, now);
                    return second_opinion(&self.ownership, self.me, key, instance, suspicion);
                }
            }
            LeaseEvent::Began { key, instance } => {
                self.check_begins(key, instance);
                self.table.begin(key, instance, now);
            }
            LeaseEvent::Heard { key, instance } => {
                // Its address may be another one; where nothing that is probed has changed, nothing begins anew.
                if instance.lease().kind() == LeaseKind::Checked {
                    self.check_begins(key, instance);
                }
                self.table.heard(key, instance, now);
            }
            LeaseEvent::Ended { key, generation } => {
                self.witness.ended(key);
                if self.is_checked(key) {
                    self.checks.tell(CheckEvent::Ended { key: key.clone(), generation: *generation });
                }
                self.table.end(key, *generation, now);
            }
            LeaseEvent::Confirmed { key, suspicion } => self.table.confirmed(key, *suspicion, now),
            LeaseEvent::Cleared { key, age_ms } => {
                let others = state.instance(key).filter(|_| !self.table.has(key));
                self.witness.cleared(key, others.map(Arc::as_ref), *age_ms, now);
                self.table.cleared(key, *age_ms, now);
                if self.is_checked(key) {
                    self.checks.tell(CheckEvent::Cleared { key: key.clone() });
                }
            }
            LeaseEvent::Unhealthy { key, .. } => self.table.unhealthy(key, now),
            LeaseEvent::SessionAttached { session, epoch, node, grace_ms } => {
                self.table.session_attached(*session, *epoch, *grace_ms, *node == self.me, now);
                link.session_moved(*session, *epoch);
            }
            LeaseEvent::SessionClosed { session } => self.table.session_closed(*session),
            LeaseEvent::Frozen { scope, freeze } => {
                let (lapsed, of) = state.freeze(scope).map_or((0, 0), |standing| (standing.lapsed, standing.of));
                tracing::warn!(%scope, lapsed, of, "frozen: too many leases lapse at once, and none is ended");
                self.table.frozen(scope, *freeze, now);
            }
            LeaseEvent::Released { scope } => {
                tracing::info!(%scope, "frozen no more");
                self.table.released(scope);
            }
        }
        None
    }

    fn count_elsewhere(&mut self, event: &LeaseEvent, state: &State, now: MonoMs) {
        match event {
            // Not by who owns it now: a lease that is changing hands would be counted by neither.
            LeaseEvent::Unhealthy { key, by } if *by != self.me && self.table.counted_at(key).is_none() => {
                self.elsewhere.fell(key, now);
            }
            LeaseEvent::Began { key, .. } => self.elsewhere.began(key),
            // Of one that is gone the suspicion is cleared too, and nobody has heard it.
            LeaseEvent::Cleared { key, .. } if state.instance(key).is_none() => {}
            LeaseEvent::Heard { key, .. } | LeaseEvent::Cleared { key, .. } => self.elsewhere.rose(key),
            // It has fallen elsewhere and goes here, where that is counted.
            LeaseEvent::Ended { key, .. } if self.table.counted_at(key).is_some() => self.elsewhere.rose(key),
            LeaseEvent::Ended { key, .. } => self.elsewhere.ended(key),
            _ => {}
        }
    }

    pub(super) fn session_held(&mut self, session: SessionId, epoch: u32, now: MonoMs) {
        self.table.session_held(session, epoch, now);
    }

    pub(super) fn session_lost(&mut self, session: SessionId, epoch: u32, now: MonoMs) {
        self.table.session_lost(session, epoch, now);
    }

    pub(super) fn check(&mut self, word: &CheckWord, now: MonoMs) {
        match &word.failed {
            Some(detail) => self.table.check_failed(&word.key, word.generation, detail, now),
            None => self.table.check_recovered(&word.key, word.generation, now),
        }
    }

    /// When there is something to do. What this node owes as a witness goes straight into a frame, so it is due only
    /// when one may be appended.
    pub(super) fn next_deadline(&self, may_append: bool) -> Option<MonoMs> {
        let witness = self.witness.next_deadline().filter(|_| may_append);
        let soonest = [self.table.next_deadline(), witness, self.pass_at()];
        soonest.into_iter().flatten().min()
    }

    pub(super) fn hold(&mut self, hold: Hold) {
        if self.holds.insert(hold) {
            counter!("thuban_expiry_holds_total", "reason" => hold.word()).increment(1);
            gauge!("thuban_expiry_held", "reason" => hold.word()).set(1.0);
        }
        self.table.hold();
    }

    /// When nothing holds any more, what lapsed meanwhile has its full time again.
    pub(super) fn release(&mut self, hold: Hold, now: MonoMs) {
        if !self.holds.remove(&hold) {
            return;
        }
        gauge!("thuban_expiry_held", "reason" => hold.word()).set(0.0);
        if self.holds.is_empty() {
            let spared = self.table.release(now);
            counter!("thuban_leases_spared_total", "reason" => hold.word()).increment(spared as u64);
            if spared > 0 {
                tracing::warn!(spared, "leases that lapsed while expiry was held have their full time again");
            }
        }
    }

    /// This node's loop runs at `now` and should have at `expected`: nothing that lapsed meanwhile goes, if that was
    /// long.
    fn late(&mut self, expected: MonoMs, now: MonoMs) {
        let spared = self.table.late(expected, now);
        if spared == 0 {
            return;
        }
        let late_ms = now - expected;
        tracing::warn!(spared, late_ms, "this node was late; leases that lapsed meanwhile have their full time again");
        counter!("thuban_expiry_holds_total", "reason" => "late").increment(1);
        counter!("thuban_leases_spared_total", "reason" => "late").increment(spared as u64);
        self.late = Some(Late { at: now, late_ms, spared });
    }

    /// Whether a beacon may say that everything up to there was looked at: what this node owes the log for that is said.
    pub(super) fn may_show(&self, applied: Position) -> bool {
        !self.table.owes() && self.witness.may_show(applied)
    }

    pub(super) fn refused(&mut self, op: &Op, now: MonoMs) {
        self.table.refused(op, now);
        self.witness.refused(op, now);
    }

    /// Why nothing may go now, or did not go a moment ago, in words.
    pub(super) fn holding(&self, now: MonoMs) -> Option<String> {
        let standing = self.holds.first().map(|hold| match hold {
            Hold::LogAway => "the change log is away".to_owned(),
            Hold::NotReady => "the node is not ready".to_owned(),
        });
        let late = self.late.filter(|late| now < late.at + LATE_SHOWN_MS);
        standing.or_else(|| {
            late.map(|Late { late_ms, spared, .. }| {
                format!("this node's loop was late by {late_ms} ms; {spared} leases have their full time again")
            })
        })
    }

    pub(super) fn counts(&self) -> Counts {
        self.table.counts()
    }
}

pub(super) fn ownership_of(state: &State) -> Ownership {
    let standing = |(node, row): (&NodeIncarnation, &MemberRow)| Standing {
        node: *node,
        joined_ms: row.joined_ms,
        leaving: row.leaving,
    };
    Ownership::of(state.members().map(standing), state.log().time_ms)
}

impl Applier {
    /// Lets the keeper of leases know what a frame did.
    pub(super) fn hear(&mut self, applied: &Applied) {
        let now = self.clock.mono_ms();
        for event in &applied.leases {
            if let Some(opinion) = self.expiry.hear(event, &self.state, &self.ends.link, now) {
                self.probe_once(opinion);
            }
        }
        for (service, records) in &applied.touched {
            for record in records {
                if let Recorded::Put(instance) = &record.what
                    && instance.generation != record.revision
                {
                    self.expiry.table.replaced(&service.instance(instance.id.clone()), instance);
                }
            }
        }
    }

    /// Says to the log what time has brought. `expected`: when this should have run.
    pub(super) fn expire(&mut self, expected: MonoMs, now: MonoMs) {
        self.expiry.late(expected, now);
        let mut words = Vec::new();
        let (me, state, ownership, elsewhere) = (self.me, &self.state, &self.expiry.ownership, &self.expiry.elsewhere);
        let members = |key: &crate::model::ServiceKey| {
            let (lost_elsewhere, gone_elsewhere) = elsewhere.lost(key, now);
            let (suspects, suspects_elsewhere) = ownership.suspects(me, state, key);
            state.service(key).map_or_else(Members::default, |service| Members {
                all: service.counts().all,
                healthy: service.counts().healthy,
                protect_threshold: service.row().settings.protect_threshold,
                suspects,
                suspects_elsewhere,
                lost_elsewhere,
                gone_elsewhere,
            })
        };
        // Alone: what this node has applied is all there is to wait for.
        let conditions = Conditions { is_alone: state.members().nth(1).is_none(), barrier: state.barrier() };
        self.expiry.table.due(now, conditions, &members, &mut words);
        let author = self.own("lease");
        words.into_iter().rev().for_each(|op| self.staged.push_front(Item::Own { op, author: author.clone() }));
    }

    /// Words of operators that have ended, services that were empty for long.
    pub(super) fn end_what_is_due(&mut self) {
        if self.away.is_some() || !self.keeps_time() {
            return;
        }
        let now_ms = self.state.log().time_ms.max(self.clock.wall_ms());
        let author = self.own("clock");
        let ends = self.state.due(now_ms);
        self.staged.extend(ends.into_iter().map(|op| Item::Own { op, author: author.clone() }));
    }

    /// Who speaks when this node does.
    pub(super) fn own(&self, door: &str) -> Author {
        Author { name: self.config.name.clone(), door: door.into() }
    }
}

#[cfg(test)]
mod tests;
