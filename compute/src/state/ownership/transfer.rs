//! Leases change hands when the shares do: a pass over all services, in pieces, so that the applier has turns between.

use std::sync::Arc;

use crate::model::{Instance, InstanceKey, LeaseKind, NodeIncarnation, ServiceKey};
use crate::port::clock::MonoMs;
use crate::state::State;
use crate::state::lease_table::LeaseTable;
use crate::state::witness::Witness;

use super::{Ownership, service_hash};

/// The services that a pass has still to look at.
///
/// From when it begins the new shares hold for everything that is applied; what it has not come to yet is in the old
/// hands or in none, which delays words and never makes one wrong: each rests on the log, not on who says it. A pass
/// that begins before another is over takes its place: it asks the table what is there.
#[derive(Default)]
pub struct Transfer {
    /// By their fixed hash, falling: which lease gets which number decides who goes first where not all may go, so the
    /// order is the same in each run.
    left: Vec<(u64, ServiceKey)>,
}

/// How leases change hands.
pub struct Moving<'a> {
    pub me: NodeIncarnation,
    pub from: &'a Ownership,
    pub to: &'a Ownership,
    /// From when the time of a lease counts that becomes this node's, given its last owner. An age that this owner has
    /// handed over, else: when its last beacon was applied here if it is gone, now if it only gave its share away.
    pub since: &'a dyn Fn(&InstanceKey, Option<NodeIncarnation>) -> MonoMs,
}

/// A lease that changed hands.
#[derive(Clone, Copy, Debug)]
pub enum Moved<'a> {
    Gained(&'a InstanceKey, &'a Arc<Instance>),
    /// And how old it was here, and since when it is unhealthy here, if that counts as a loss.
    Lost(&'a InstanceKey, &'a Arc<Instance>, Option<MonoMs>, Option<MonoMs>),
}

impl Transfer {
    pub fn over(state: &State) -> Self {
        let mut left: Vec<_> = state.services().map(|(key, _)| (service_hash(key), key.clone())).collect();
        left.sort_unstable_by(|a, b| b.cmp(a));
        Self { left }
    }

    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// Goes on with about so many instances; tells of each lease that changed hands. Stream leases don't: their sessions
    /// do, see [`LeaseTable::session_owned`].
    pub fn step(
        &mut self,
        most: usize,
        state: &State,
        moving: &Moving<'_>,
        (table, witness): (&mut LeaseTable, &mut Witness),
        now: MonoMs,
        told: &mut dyn FnMut(Moved<'_>),
    ) {
        let mut looked_at = 0;
        while looked_at < most
            && let Some((_, service)) = self.left.pop()
        {
            looked_at += 1;
            let Some(entry) = state.service(&service) else { continue };
            looked_at += entry.instances().len();
            for instance in entry.instances().iter().filter(|i| i.lease().kind() != LeaseKind::Stream) {
                let is_mine = moving.to.owner_of(&service, &instance.id).is_none_or(|owner| owner == moving.me);
                let key = service.instance(instance.id.clone());
                if is_mine == table.has(&key) {
                    continue;
                }
                let suspicion = state.suspicion(&key);
                if is_mine {
                    let since = (moving.since)(&key, moving.from.owner(&key));
                    table.take_over(&key, instance, suspicion, since, now);
                    told(Moved::Gained(&key, instance));
                } else {
                    let age_ms = table.age(&key, instance.generation, now);
                    let fell = table.counted_at(&key).filter(|_| !instance.is_healthy());
                    table.end(&key, instance.generation, now);
                    if let Some(suspicion) = suspicion {
                        // What this node heard as its owner it has still to say.
                        witness.suspected(&key, instance, suspicion, now);
                    }
                    told(Moved::Lost(&key, instance, age_ms, fell));
                }
            }
        }
    }
}
