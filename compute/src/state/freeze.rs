//! Mass loss: when many leases lapse at once it is rather the network, a client's bug or this node that is ill than
//! each of them, so removals are held back, and afterwards let go slowly.
//!
//! A lease about to become unhealthy, or to go, is a [`Candidate`]. [`Freezes::judge`] counts those of the last
//! [`WINDOW_MS`]; when they are too many of this node's leases, or of one service, it asks for a freeze and holds all of
//! that scope from this moment, not only once the log shows the freeze. A freeze keeps the leases that it was made for
//! and those that lapse while it stands. It ends when so many of them are heard again that the rest may go, by an
//! operator's word, or after [`FREEZE_MS_MAX`]. Those still not heard are then *thawed*: they never count towards
//! another freeze and no later one holds them, but they go in the order of [`pace`], so nothing is held for ever.
//!
//! Pure: it knows leases and services by number, reads no clock, and is told what the log has applied.

mod elsewhere;
mod judge;
mod pace;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NodeIncarnation, Revision};
use crate::port::clock::MonoMs;

pub use elsewhere::Elsewhere;
use pace::Pace;
use window::Window;

/// Losses within this time are one event.
pub const WINDOW_MS: MonoMs = 10_000;
/// Longest time that a mass loss holds removals back.
pub const FREEZE_MS_MAX: MonoMs = 120_000;
/// Fewer leases than this can't lose a share that means anything.
pub const LEASES_MIN: usize = 100;
/// More than this share of a node's leases in one window is a mass loss; also what may go in a window afterwards.
pub const SHARE_PERCENT: usize = 15;
/// A service with fewer members is exempt: its loss can't be told from a crash.
pub const MEMBERS_MIN: u32 = 3;
/// What was asked of the log and has not come back is asked again after this time.
pub(super) const RESEND_MS: MonoMs = 2_000;
/// What the log refused is looked at again after this time.
pub(super) const REFUSED_MS: MonoMs = 250;
/// How often a standing freeze is compared with counts that move without its being told.
const COMPARE_MS: MonoMs = 1_000;

/// One lease of this node. Given again after [`Freezes::ended`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseId(pub u32);

/// One service. Given to another only when it is not [known](Freezes::knows) here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceId(pub u32);

/// What a freeze covers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// All leases of this node. After a restart a freeze may still name the node's last incarnation.
    Node(NodeIncarnation),
    Service(ServiceId),
}

/// A lease whose time is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub lease: LeaseId,
    pub service: ServiceId,
    /// It would become unhealthy; else it is, and would be removed.
    pub is_healthy: bool,
}

/// A service as the applied state has it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Members {
    pub all: u32,
    pub healthy: u32,
    pub protect_threshold: f64,
    /// Healthy ones that are suspects, whoever owns them. One that changes hands is held by nobody until its new owner
    /// finds that its time is over, and may go then.
    pub suspects: u32,
    /// Healthy ones that other nodes own and suspect: what goes here may go there in the same moment, and no node alone
    /// would see that it is all of them.
    pub suspects_elsewhere: u32,
    /// Those that other nodes own and that fell within the window, and how many of them are not there any more.
    pub lost_elsewhere: u32,
    pub gone_elsewhere: u32,
}

/// What shares are taken of.
pub struct Totals<'a> {
    /// Leases of this node that can lapse.
    pub leases: usize,
    pub members: &'a dyn Fn(ServiceId) -> Members,
}

/// What is to be said to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    Freeze { scope: Scope, lapsed: u32, of: u32 },
    Release { scope: Scope, freeze: Revision },
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ruling {
    /// Candidates, of now or held back before, that may go.
    pub go: Vec<LeaseId>,
    pub words: Vec<Word>,
    /// Services that are perhaps not known here any more.
    pub idle: Vec<ServiceId>,
}

/// The freezes that concern this node's leases.
pub struct Freezes {
    me: NodeIncarnation,
    standing: BTreeMap<Scope, Standing>,
    /// Every lease that counts, is kept, or is thawed.
    marks: BTreeMap<LeaseId, Mark>,
    window: Window,
    pace: Pace,
    /// When the standing freezes must be looked at.
    look_at: MonoMs,
}

/// A freeze, from the moment it is asked for.
struct Standing {
    /// Set by the log.
    freeze: Option<Revision>,
    since: MonoMs,
    /// Not before this time the log is asked again.
    ask_at: MonoMs,
    leases: BTreeSet<LeaseId>,
    /// This process knows what made it, so it can tell when that is over.
    is_judged: bool,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    service: ServiceId,
    is_healthy: bool,
    /// Since when it counts; `None`: longer ago than a window, or thawed.
    counted: Option<MonoMs>,
    /// When it began to count.
    was_healthy: bool,
    /// It wanted to go and was not let.
    waits: bool,
    /// The freeze that it outlived.
    thawed: Option<Scope>,
    /// When it was last let go after a thaw.
    paced: Option<MonoMs>,
}

impl Freezes {
    pub fn new(me: NodeIncarnation) -> Self {
        Self {
            me,
            standing: BTreeMap::new(),
            marks: BTreeMap::new(),
            window: Window::default(),
            pace: Pace::default(),
            look_at: MonoMs::MAX,
        }
    }

    /// The log shows a freeze.
    pub fn frozen(&mut self, scope: Scope, freeze: Revision, now: MonoMs) {
        let standing = self.standing.entry(scope).or_insert_with(|| Standing::new(now, false));
        standing.freeze = Some(freeze);
        standing.since = now;
        standing.ask_at = now;
        self.look_at = 0;
    }

    /// The log shows its end, whoever asked for it. Its leases are thawed, unless another freeze keeps them.
    pub fn released(&mut self, scope: Scope) {
        let Some(ended) = self.standing.remove(&scope) else { return };
        for lease in ended.leases {
            let Some(service) = self.marks.get(&lease).map(|mark| mark.service) else { continue };
            if self.is_kept(lease, service) {
                continue;
            }
            if let Some(mark) = self.marks.get_mut(&lease) {
                self.window.discount(lease, mark);
                mark.thawed = Some(scope);
                if mark.waits {
                    self.pace.wait(lease, service);
                }
            }
        }
        self.look_at = 0;
    }

    /// The log did not take a freeze or a release.
    pub fn refused(&mut self, scope: Scope, now: MonoMs) {
        if let Some(standing) = self.standing.get_mut(&scope) {
            standing.ask_at = now + REFUSED_MS;
            self.look_at = 0;
        }
    }

    /// The node is ready: what was frozen before it started is frozen as of now. How many would go can't be known until
    /// every lease has had its time again, so these freezes last to their end or an operator's word.
    pub fn ready(&mut self, now: MonoMs) {
        for standing in self.standing.values_mut() {
            standing.since = now;
            standing.is_judged = false;
        }
        self.look_at = 0;
    }

    /// A lease was heard: it counts nowhere any more.
    pub fn cleared(&mut self, lease: LeaseId) {
        self.forget(lease);
    }

    /// The log shows that a lease became unhealthy.
    pub fn fell(&mut self, lease: LeaseId) {
        if let Some(mark) = self.marks.get_mut(&lease) {
            mark.is_healthy = false;
        }
    }

    /// A lease is gone: expired, which counts for the rest of the window, or taken back by somebody, which does not.
    pub fn ended(&mut self, lease: LeaseId, is_expired: bool, now: MonoMs) {
        if let Some(mark) = self.forget(lease)
            && mark.counted.is_some()
            && is_expired
        {
            self.window.gone(mark.service, mark.was_healthy, now);
        }
    }

    /// A new lease of a service.
    pub fn joined(&mut self, service: ServiceId) {
        self.window.joined(service);
    }

    /// Whether a candidate that was let go before may still go; it waits if not.
    pub fn still_goes(&mut self, lease: LeaseId) -> bool {
        let Some(service) = self.marks.get(&lease).map(|mark| mark.service) else { return true };
        let is_kept = self.is_kept(lease, service);
        if is_kept && let Some(mark) = self.marks.get_mut(&lease) {
            mark.waits = true;
        }
        !is_kept
    }

    /// A freeze keeps it, or has kept it and it was not heard since.
    pub fn is_frozen_or_thawed(&self, lease: LeaseId) -> bool {
        self.marks.get(&lease).is_some_and(|mark| mark.thawed.is_some() || self.is_kept(lease, mark.service))
    }

    /// Since when it is among what was lost within the window, if it is.
    pub fn counted_at(&self, lease: LeaseId) -> Option<MonoMs> {
        self.marks.get(&lease)?.counted
    }

    /// A freeze of this service stands, or what it has lost counts.
    pub fn knows(&self, service: ServiceId) -> bool {
        self.standing.contains_key(&Scope::Service(service)) || self.window.knows(service)
    }

    /// When [`Freezes::judge`] has something to say without a new candidate.
    pub fn next_deadline(&self) -> Option<MonoMs> {
        Some(self.look_at.min(self.pace.next_at())).filter(|at| *at != MonoMs::MAX)
    }

    fn forget(&mut self, lease: LeaseId) -> Option<Mark> {
        let mut mark = self.marks.remove(&lease)?;
        let before = mark;
        self.window.discount(lease, &mut mark);
        self.pace.forget(lease, mark.service);
        for scope in self.scopes_over(mark.service) {
            if let Some(standing) = self.standing.get_mut(&scope)
                && standing.leases.remove(&lease)
            {
                self.look_at = 0;
            }
        }
        Some(before)
    }

    fn is_kept(&self, lease: LeaseId, service: ServiceId) -> bool {
        let keeps = |scope| self.standing.get(&scope).is_some_and(|standing| standing.leases.contains(&lease));
        self.scopes_over(service).into_iter().any(keeps)
    }

    /// The standing freezes that cover a service's leases.
    fn scopes_over(&self, service: ServiceId) -> Vec<Scope> {
        let own = Scope::Service(service);
        self.node_scopes().chain(self.standing.contains_key(&own).then_some(own)).collect()
    }

    fn node_scopes(&self) -> impl Iterator<Item = Scope> + '_ {
        self.standing.keys().copied().take_while(|scope| matches!(scope, Scope::Node(_)))
    }
}

impl Standing {
    fn new(now: MonoMs, is_judged: bool) -> Self {
        Self { freeze: None, since: now, ask_at: now, leases: BTreeSet::new(), is_judged }
    }
}

#[cfg(test)]
mod tests;
