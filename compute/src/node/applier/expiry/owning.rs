//! Leases change hands: when a member comes, goes or is gone, and what the old owner tells the new one.

use std::collections::{BTreeMap, HashMap};

use crate::model::{Instance, InstanceKey, LeaseKind, NodeIncarnation};
use crate::node::checks::CheckEvent;
use crate::port::clock::MonoMs;
use crate::port::peers::Age;
use crate::state::State;
use crate::state::ownership::{Moved, Moving, Ownership, Transfer};

use super::Expiry;

/// Instances looked at in one turn of the applier.
const STEP: usize = 8_192;
/// For how long a new owner waits for the ages that the old one tells: what has not come by then has its full time.
const AGES_WAIT_MS: MonoMs = 500;
/// Most ages kept until their leases are this node's.
const AGES_MAX: usize = 1_000_000;

/// What other nodes are to be told of leases that were this one's until now.
pub(in crate::node::applier) type HandOver = BTreeMap<NodeIncarnation, Vec<Age>>;

/// A pass over all leases that may be another node's now.
pub(in crate::node::applier) struct Pass {
    from: Ownership,
    transfer: Transfer,
    begins_at: MonoMs,
    /// When this node last heard those who are gone.
    heard_last: BTreeMap<NodeIncarnation, MonoMs>,
    /// From when the time of leases counts whose old owners have told their ages.
    told: HashMap<InstanceKey, MonoMs>,
}

fn is_checked(instance: &Instance) -> bool {
    instance.lease().kind() == LeaseKind::Checked
}

impl Expiry {
    pub(in crate::node::applier) fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// From now on these own what they own. Who is gone can tell nobody anything, so nothing is waited for.
    pub(in crate::node::applier) fn own(
        &mut self,
        ownership: Ownership,
        state: &State,
        gone: &[(NodeIncarnation, MonoMs)],
        now: MonoMs,
    ) {
        let (before, after) = (self.ownership.shares(), ownership.shares());
        let is_new = !before.contains(&self.me);
        let gains = after.contains(&self.me) && (is_new || before.iter().any(|node| !after.contains(node)));
        let begins_at = if gains && gone.is_empty() { now + AGES_WAIT_MS } else { now };
        let before = std::mem::replace(&mut self.ownership, ownership);
        if !gone.is_empty() {
            let is_gone = |node: Option<NodeIncarnation>| gone.iter().any(|(gone, _)| Some(*gone) == node);
            self.table.unseconded(&|key| is_gone(before.second(key)), now);
        }
        let (mut heard_last, told) = match self.pass.take() {
            Some(pass) => (pass.heard_last, pass.told),
            None => Default::default(),
        };
        heard_last.extend(gone.iter().copied());
        if !self.ownership.has_same_shares(&before) {
            self.pass = Some(Pass { from: before, transfer: Transfer::over(state), begins_at, heard_last, told });
        }
        self.own_sessions(state, gone, now);
    }

    /// Sessions whose node is gone have another to answer for them, until their clients come back.
    fn own_sessions(&mut self, state: &State, gone: &[(NodeIncarnation, MonoMs)], now: MonoMs) {
        for (id, session) in state.sessions().filter(|(_, session)| session.node != self.me) {
            if self.ownership.owner_of_session(id, session.node) == Some(self.me) {
                let last = gone.iter().find(|(node, _)| *node == session.node);
                self.table.session_owned(*id, last.map_or(now, |(_, at)| *at), now);
            } else {
                self.table.session_disowned(*id);
            }
        }
    }

    /// When the pass that is under way goes on.
    pub(in crate::node::applier) fn pass_at(&self) -> Option<MonoMs> {
        self.pass.as_ref().map(|pass| pass.begins_at)
    }

    /// A turn of the pass; what others are to be told.
    pub(in crate::node::applier) fn go_on_owning(&mut self, state: &State, now: MonoMs) -> HandOver {
        let mut told = HandOver::new();
        let Some(mut pass) = self.pass.take_if(|pass| pass.begins_at <= now) else { return told };
        let since = |key: &InstanceKey, owner: Option<NodeIncarnation>| {
            let heard_last = owner.and_then(|owner| pass.heard_last.get(&owner));
            pass.told.get(key).or(heard_last).copied().unwrap_or(now)
        };
        let moving = Moving { me: self.me, from: &pass.from, to: &self.ownership, since: &since };
        let (checks, elsewhere) = (&self.checks, &mut self.elsewhere);
        let mut tell = |moved: Moved<'_>| match moved {
            Moved::Gained(key, instance) => {
                if is_checked(instance) {
                    checks.tell(CheckEvent::Began { key: key.clone(), instance: instance.clone() });
                }
            }
            Moved::Lost(key, instance, age_ms, fell) => {
                // Nobody counts it as this node's any more.
                fell.into_iter().for_each(|at| elsewhere.fell(key, at));
                let generation = instance.generation;
                if is_checked(instance) {
                    checks.tell(CheckEvent::Ended { key: key.clone(), generation });
                }
                if let (Some(age_ms), Some(owner)) = (age_ms, moving.to.owner(key)) {
                    told.entry(owner).or_default().push(Age { instance: key.clone(), generation, age_ms });
                }
            }
        };
        pass.transfer.step(STEP, state, &moving, (&mut self.table, &mut self.witness), now, &mut tell);
        if !pass.transfer.is_over() {
            self.pass = Some(pass);
        }
        told
    }

    /// Another node heard instances whose leases are this one's.
    pub(in crate::node::applier) fn heard_elsewhere(&mut self, heard: &[Age], now: MonoMs) {
        for Age { instance, generation, age_ms } in heard {
            self.table.heard_elsewhere(instance, *generation, *age_ms, now);
        }
    }

    /// The old owner of leases that become this node's tells how old they are.
    pub(in crate::node::applier) fn handed_over(&mut self, ages: Vec<Age>, now: MonoMs) {
        let Some(pass) = &mut self.pass else { return };
        let room = AGES_MAX.saturating_sub(pass.told.len());
        pass.told.extend(ages.into_iter().take(room).map(|age| (age.instance, now.saturating_sub(age.age_ms))));
    }
}
