//! Leases that are not simply fine, and when each must be looked at.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Revision;
use crate::port::clock::MonoMs;
use crate::state::freeze::LeaseId;

/// How far the log has gone with a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// This node suspects it; the log does not show that.
    Wanting,
    Standing {
        suspicion: Revision,
        /// When this node applied it.
        since: MonoMs,
    },
    /// And it is unhealthy, since this node applied that.
    Unhealthy { suspicion: Revision, since: MonoMs },
}

impl Stage {
    pub(super) fn suspicion(self) -> Option<Revision> {
        match self {
            Self::Wanting => None,
            Self::Standing { suspicion, .. } | Self::Unhealthy { suspicion, .. } => Some(suspicion),
        }
    }
}

/// What was said to the log about a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    Suspect,
    Refute,
    Unhealthy,
    Expire,
}

/// All that is known of a lease that is not fine.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) stage: Stage,
    /// The newest heartbeat when it began; a newer one refutes it.
    pub(super) basis_ms: MonoMs,
    /// 0, or when it was given a full term without having been heard.
    pub(super) floor_ms: MonoMs,
    /// Its place in the agenda.
    look_at: MonoMs,
    /// Said, and not yet seen in the log.
    pub(super) said: Option<Said>,
    /// It was told to the log that it is suspect.
    pub(super) was_suspected: bool,
    /// It was told to the log that it expires; whatever comes back, its end is that.
    pub(super) expires: bool,
    /// No freeze forbids what is to be said next.
    pub(super) may_go: bool,
    /// The second opinion on a failed check agrees, or there will be none.
    pub(super) is_confirmed: bool,
    /// The age that this node's newest refute named.
    pub(super) refuted_age_ms: MonoMs,
    /// Its suspicion fell without anybody having heard it; what comes next in the log says why.
    pub(super) is_void: bool,
    /// What the last failed probe saw, of a checked lease.
    pub(super) detail: Option<Box<str>>,
    /// The check has succeeded since.
    pub(super) is_recovered: bool,
    /// And has failed again, while a refute is under way.
    pub(super) again: Option<Box<str>>,
}

impl Trouble {
    pub(super) fn new(stage: Stage, basis_ms: MonoMs) -> Self {
        Self {
            stage,
            basis_ms,
            floor_ms: 0,
            look_at: MonoMs::MAX,
            said: None,
            was_suspected: false,
            expires: false,
            may_go: false,
            is_confirmed: false,
            refuted_age_ms: 0,
            is_void: false,
            detail: None,
            is_recovered: false,
            again: None,
        }
    }

    /// What was said has come true, was refused or was lost: the next word is free.
    pub(super) fn unsay(&mut self) {
        let said = self.said.take();
        self.may_go = false;
        if said == Some(Said::Refute)
            && let Some(detail) = self.again.take()
        {
            self.is_recovered = false;
            self.detail = Some(detail);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Item {
    Lease(LeaseId),
    /// By its place.
    Session(u32),
}

/// Troubles, and what must be looked at when: everything but healthy TTL leases, which are on the wheel.
#[derive(Default)]
pub(super) struct Troubles {
    leases: BTreeMap<LeaseId, Trouble>,
    agenda: BTreeSet<(MonoMs, Item)>,
}

impl Troubles {
    pub(super) fn get(&self, lease: LeaseId) -> Option<&Trouble> {
        self.leases.get(&lease)
    }

    /// For everything but its place in the agenda.
    pub(super) fn get_mut(&mut self, lease: LeaseId) -> Option<&mut Trouble> {
        self.leases.get_mut(&lease)
    }

    pub(super) fn insert(&mut self, lease: LeaseId, trouble: Trouble) {
        self.remove(lease);
        self.leases.insert(lease, trouble);
    }

    pub(super) fn remove(&mut self, lease: LeaseId) -> Option<Trouble> {
        let trouble = self.leases.remove(&lease)?;
        self.agenda.remove(&(trouble.look_at, Item::Lease(lease)));
        Some(trouble)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LeaseId, &Trouble)> {
        self.leases.iter().map(|(lease, trouble)| (*lease, trouble))
    }

    /// Has a lease in trouble looked at; never, if nothing else says so, at [`MonoMs::MAX`].
    pub(super) fn look(&mut self, lease: LeaseId, at: MonoMs) {
        if let Some(trouble) = self.leases.get_mut(&lease) {
            let old = std::mem::replace(&mut trouble.look_at, at);
            self.move_item(Item::Lease(lease), old, at);
        }
    }

    pub(super) fn move_item(&mut self, item: Item, from: MonoMs, to: MonoMs) {
        if from == to {
            return;
        }
        self.agenda.remove(&(from, item));
        if to != MonoMs::MAX {
            self.agenda.insert((to, item));
        }
    }

    /// Takes what is first, if its time has come.
    pub(super) fn pop(&mut self, now: MonoMs) -> Option<Item> {
        self.agenda.first().filter(|(at, _)| *at <= now)?;
        let (_, item) = self.agenda.pop_first()?;
        if let Item::Lease(lease) = item
            && let Some(trouble) = self.leases.get_mut(&lease)
        {
            trouble.look_at = MonoMs::MAX;
        }
        Some(item)
    }

    pub(super) fn next_deadline(&self) -> Option<MonoMs> {
        self.agenda.first().map(|(at, _)| *at)
    }
}
