//! What became unhealthy or went, or would have, within the last window.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::port::clock::MonoMs;

use super::{LEASES_MIN, LeaseId, MEMBERS_MIN, Mark, Members, SHARE_PERCENT, ServiceId, WINDOW_MS};

#[derive(Default)]
pub(super) struct Window {
    /// In order of time. An entry is stale when its lease's mark names another time.
    entries: VecDeque<(MonoMs, LeaseId)>,
    gone: VecDeque<(MonoMs, ServiceId, bool)>,
    services: BTreeMap<ServiceId, Lost>,
    /// Leases that count and are still there.
    leases: usize,
}

#[derive(Default)]
struct Lost {
    leases: BTreeSet<LeaseId>,
    gone: u32,
    gone_healthy: u32,
}

/// What one service has lost within the window.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Loss {
    /// Members at its start.
    pub(super) all: u32,
    /// Healthy ones at its start, and when all have gone that would.
    pub(super) before: u32,
    pub(super) after: u32,
    pub(super) lost: u32,
    pub(super) lost_healthy: u32,
    pub(super) threshold: f64,
}

impl Window {
    /// Counts a lease as of now, once, however often it comes within a window.
    pub(super) fn count(&mut self, lease: LeaseId, mark: &mut Mark, now: MonoMs) {
        if mark.counted.is_none() {
            mark.was_healthy = mark.is_healthy;
            self.leases += 1;
            self.services.entry(mark.service).or_default().leases.insert(lease);
        }
        if mark.counted != Some(now) {
            mark.counted = Some(now);
            self.entries.push_back((now, lease));
        }
    }

    pub(super) fn discount(&mut self, lease: LeaseId, mark: &mut Mark) {
        if mark.counted.take().is_some() {
            self.leases -= 1;
            self.change(mark.service, |lost| {
                lost.leases.remove(&lease);
            });
        }
    }

    /// A lease that counted has expired.
    pub(super) fn gone(&mut self, service: ServiceId, was_healthy: bool, now: MonoMs) {
        self.gone.push_back((now, service, was_healthy));
        let lost = self.services.entry(service).or_default();
        lost.gone += 1;
        lost.gone_healthy += u32::from(was_healthy);
    }

    pub(super) fn forget_service(&mut self, service: ServiceId) {
        // What is gone still counts for the node: the entries stay, and find no service to take them from.
        if let Some(lost) = self.services.get_mut(&service) {
            lost.gone = 0;
            lost.gone_healthy = 0;
        }
        self.gone.iter_mut().filter(|(_, of, _)| *of == service).for_each(|(_, of, _)| *of = NOBODY);
        self.change(service, |_| {});
    }

    /// Lets go of what is older than a window; the leases that no longer count.
    pub(super) fn slide(&mut self, now: MonoMs, marks: &mut BTreeMap<LeaseId, Mark>) -> Vec<LeaseId> {
        let is_over = |since: MonoMs| since + WINDOW_MS <= now;
        while let Some((_, service, was_healthy)) = self.gone.pop_front_if(|(at, ..)| is_over(*at)) {
            self.change(service, |lost| {
                lost.gone -= 1;
                lost.gone_healthy -= u32::from(was_healthy);
            });
        }
        let mut over = Vec::new();
        while let Some((at, lease)) = self.entries.pop_front_if(|(at, _)| is_over(*at)) {
            if let Some(mark) = marks.get_mut(&lease).filter(|mark| mark.counted == Some(at)) {
                self.discount(lease, mark);
                over.push(lease);
            }
        }
        over
    }

    fn change(&mut self, service: ServiceId, change: impl FnOnce(&mut Lost)) {
        let Some(lost) = self.services.get_mut(&service) else { return };
        change(lost);
        if lost.leases.is_empty() && lost.gone == 0 {
            self.services.remove(&service);
        }
    }

    /// Everything that counts, with what is gone.
    pub(super) fn lost(&self) -> usize {
        self.leases + self.gone.len()
    }

    pub(super) fn gone_count(&self) -> usize {
        self.gone.len()
    }

    pub(super) fn leases_of(&self, service: ServiceId) -> BTreeSet<LeaseId> {
        self.services.get(&service).map(|lost| lost.leases.clone()).unwrap_or_default()
    }

    pub(super) fn loss(&self, service: ServiceId, members: Members, marks: &BTreeMap<LeaseId, Mark>) -> Loss {
        let mut loss = Loss {
            all: members.all,
            before: members.healthy,
            after: members.healthy,
            lost: 0,
            lost_healthy: 0,
            threshold: members.protect_threshold,
        };
        let Some(lost) = self.services.get(&service) else { return loss };
        let counted = || lost.leases.iter().filter_map(|lease| marks.get(lease));
        let still = counted().filter(|mark| mark.was_healthy && mark.is_healthy).count() as u32;
        loss.lost = lost.leases.len() as u32 + lost.gone;
        loss.lost_healthy = counted().filter(|mark| mark.was_healthy).count() as u32 + lost.gone_healthy;
        loss.all = members.all + lost.gone;
        loss.after = members.healthy.saturating_sub(still);
        loss.before = loss.after + loss.lost_healthy;
        loss
    }
}

/// Stands for a service that is no more.
const NOBODY: ServiceId = ServiceId(u32::MAX);

/// More than the share, of enough leases.
pub(super) fn is_mass(lost: usize, of: usize) -> bool {
    of >= LEASES_MIN && lost * 100 > of * SHARE_PERCENT
}

impl Loss {
    /// Too many at once: healthy/all falls below the threshold within the window. A service without a threshold, or
    /// below it already, is protected against losing all that it has left, as long as that is more than an exempt
    /// service could lose.
    pub(super) fn is_mass(&self) -> bool {
        if self.all < MEMBERS_MIN {
            return false;
        }
        let falls = !self.is_below(self.before) && self.is_below(self.after);
        let is_all = self.lost >= self.all || self.lost_healthy >= MEMBERS_MIN;
        falls || (self.after == 0 && is_all)
    }

    fn is_below(&self, healthy: u32) -> bool {
        f64::from(healthy) < self.threshold * f64::from(self.all)
    }

    /// Whether letting go of those that a freeze keeps, `held` of them healthy, would still be too many.
    pub(super) fn is_mass_if(&self, members: Members, held: u32) -> bool {
        let after = members.healthy.saturating_sub(held);
        self.all >= MEMBERS_MIN && (after == 0 || self.is_below(after))
    }
}
