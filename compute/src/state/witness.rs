//! What a node owes the log about leases that are another's.
//!
//! The owner suspects by what it knows; who heard the suspect itself, later than that, says so. A heartbeat proves itself
//! by its age alone: clocks are not compared. It must be less than the age that the suspicion names, both counted up to
//! the moment in which they were said, so that way through the log can make a heartbeat seem too old and never too young.
//! Then the owner goes on from the age that it is told, which was assumed by every node that applied it: what refuted
//! once is spent, here and elsewhere, and a dead instance has no more refutes than it had heartbeats.
//!
//! - A heartbeat that comes after the suspicion was applied needs nothing from here: [`LeaseCell::renew`] says so to
//!   whoever received it, who refutes with the age 0 and answers when that is applied.
//! - A failed check is no matter of heartbeats: the second node of the lease probes once, see [`second_opinion`].
//! - A lost session is one of the node that held it, which attaches it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Cause, Instance, InstanceKey, LeaseCell, NodeIncarnation, Op, Position, Revision, Suspicion};
use crate::port::clock::MonoMs;

use super::freeze::{REFUSED_MS, RESEND_MS};
use super::ownership::Ownership;
use super::planted::{Rule, holds};

/// The refutes that this node owes, until the log has cleared their suspicions.
#[derive(Default)]
pub struct Witness {
    owed: BTreeMap<InstanceKey, Owed>,
    /// Those not said yet, or not taken, by when they are to be said.
    agenda: BTreeSet<(MonoMs, InstanceKey)>,
    /// Of those that the log can't have yet, the suspicions.
    unsaid: BTreeSet<Revision>,
}

struct Owed {
    suspicion: Revision,
    heard: MonoMs,
    /// A younger one may come.
    cell: Arc<LeaseCell>,
    say_at: MonoMs,
}

impl Witness {
    /// A register was applied whose lease is another node's: should that become this node's, its time counts from here.
    pub fn registered(&self, instance: &Instance, now: MonoMs) {
        instance.cell.assume(now);
    }

    /// A suspicion stands, of an instance whose lease is another node's. Its cell must be marked before.
    pub fn suspected(&mut self, key: &InstanceKey, instance: &Instance, suspicion: &Suspicion, now: MonoMs) {
        self.forget(key);
        if suspicion.cause != Cause::Lapse || suspicion.generation != instance.generation {
            return;
        }
        if !holds(Rule::Refute) {
            return;
        }
        let Some(heard) = younger(&instance.cell, suspicion.age_ms, now) else { return };
        let owed = Owed { suspicion: suspicion.revision, heard, cell: instance.cell.clone(), say_at: now };
        self.owed.insert(key.clone(), owed);
        self.agenda.insert((now, key.clone()));
        self.unsaid.insert(suspicion.revision);
    }

    /// No suspicion of it stands any more, whoever owns it. `age_ms`: somebody heard it that long ago.
    pub fn cleared(&mut self, key: &InstanceKey, instance: Option<&Instance>, age_ms: Option<u64>, now: MonoMs) {
        self.forget(key);
        if let (Some(instance), Some(age_ms)) = (instance, age_ms) {
            instance.cell.refuted(now.saturating_sub(age_ms));
        }
    }

    /// A life of an instance is over.
    pub fn ended(&mut self, key: &InstanceKey) {
        self.forget(key);
    }

    /// The refutes to be appended now, at most `most`; each again when it was refused or has not come back for 2 s.
    /// They go before the next beacon, in the same frame or an earlier one.
    pub fn due(&mut self, now: MonoMs, most: usize, out: &mut Vec<Op>) {
        for _ in 0..most {
            if self.next_deadline().is_none_or(|at| at > now) {
                return;
            }
            let Some((_, key)) = self.agenda.pop_first() else { return };
            let Some(owed) = self.owed.get_mut(&key) else { continue };
            self.unsaid.remove(&owed.suspicion);
            let heard = owed.cell.heard_ms().map_or(owed.heard, |newest| newest.max(owed.heard));
            owed.say_at = now + RESEND_MS;
            self.agenda.insert((owed.say_at, key.clone()));
            let (suspicion, age_ms) = (owed.suspicion, now.saturating_sub(heard));
            out.push(Op::Refute { instance: key, suspicion, age_ms });
        }
    }

    /// The log did not take a refute of this node, or apply made nothing of it.
    pub fn refused(&mut self, op: &Op, now: MonoMs) {
        let Op::Refute { instance, suspicion, .. } = op else { return };
        let Some(owed) = self.owed.get_mut(instance).filter(|owed| owed.suspicion == *suspicion) else { return };
        self.agenda.remove(&(owed.say_at, instance.clone()));
        owed.say_at = now + REFUSED_MS;
        self.agenda.insert((owed.say_at, instance.clone()));
        self.unsaid.insert(*suspicion);
    }

    /// When [`Witness::due`] has something to say.
    pub fn next_deadline(&self) -> Option<MonoMs> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// Whether a beacon may show `applied`: every refute that is owed of a suspicion up to there is said. One that was
    /// refused counts as not said.
    pub fn may_show(&self, applied: Position) -> bool {
        self.unsaid.first().is_none_or(|suspicion| suspicion.position() > applied)
    }

    /// How many refutes are owed.
    pub fn len(&self) -> usize {
        self.owed.len()
    }

    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    fn forget(&mut self, key: &InstanceKey) {
        if let Some(owed) = self.owed.remove(key) {
            self.agenda.remove(&(owed.say_at, key.clone()));
            self.unsaid.remove(&owed.suspicion);
        }
    }
}

/// The heartbeat that this node itself received and that is younger than the age in a suspicion.
///
/// Asked when the suspicion is applied: the age was true when it was said, before, so that a heartbeat that is younger
/// now came after whatever that age counts from. Hence nobody refutes a suspicion of its own from its old age.
pub(super) fn younger(cell: &LeaseCell, age_ms: u64, now: MonoMs) -> Option<MonoMs> {
    cell.heard_ms().filter(|heard| now.saturating_sub(*heard) < age_ms)
}

/// What a node is to probe once because another says that a check has failed.
#[derive(Clone, Debug)]
pub struct Opinion {
    pub key: InstanceKey,
    pub suspicion: Revision,
    /// What is to be probed, and how.
    pub instance: Arc<Instance>,
}

/// Whether a suspicion asks `me` for its opinion: a check has failed, and `me` is next to the lease's owner.
pub fn second_opinion(
    ownership: &Ownership,
    me: NodeIncarnation,
    key: &InstanceKey,
    instance: &Arc<Instance>,
    suspicion: &Suspicion,
) -> Option<Opinion> {
    let is_check = matches!(suspicion.cause, Cause::Check { .. }) && suspicion.generation == instance.generation;
    let is_asked = is_check && ownership.second(key) == Some(me);
    is_asked.then(|| Opinion { key: key.clone(), suspicion: suspicion.revision, instance: instance.clone() })
}

impl Opinion {
    /// What is said to the log once the probe is over.
    pub fn word(self, is_well: bool) -> Op {
        let Self { key: instance, suspicion, .. } = self;
        if is_well { Op::Refute { instance, suspicion, age_ms: 0 } } else { Op::Confirm { instance, suspicion } }
    }
}

#[cfg(test)]
mod tests;
