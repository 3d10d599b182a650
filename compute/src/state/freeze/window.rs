//! What became unhealthy or went, or would have, within the last window.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::port::clock::MonoMs;

use super::{LEASES_MIN, LeaseId, MEMBERS_MIN, Mark, Members, SHARE_PERCENT, ServiceId, WINDOW_MS};

#[derive(Default)]
pub(super) struct Window {
    /// In order of time. An entry is stale when its lease's mark names another time.
    entries: VecDeque<(MonoMs, LeaseId)>,
    /// Those that expired, with whether they were healthy at first; the first of a service stand for those replaced.
    gone: VecDeque<(MonoMs, ServiceId, bool)>,
    /// Without those replaced.
    gone_count: usize,
    services: BTreeMap<ServiceId, Lost>,
    /// Leases that count and are still there.
    leases: usize,
}

#[derive(Default)]
struct Lost {
    leases: BTreeSet<LeaseId>,
    gone: u32,
    gone_healthy: u32,
    /// Gone ones whose place a new lease has taken: they are no loss any more.
    replaced: u32,
}

/// What has left the window: leases that no longer count, services of which something is gone no longer.
#[derive(Default)]
pub(super) struct Over {
    pub(super) leases: Vec<LeaseId>,
    pub(super) services: Vec<ServiceId>,
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
        self.gone_count += 1;
    }

    /// A new lease of a service: it takes the place of one that is gone, so that one that comes and goes, or comes under
    /// another name, does not count as many.
    pub(super) fn joined(&mut self, service: ServiceId) {
        if let Some(lost) = self.services.get_mut(&service).filter(|lost| lost.gone > 0) {
            lost.gone -= 1;
            lost.gone_healthy = lost.gone_healthy.min(lost.gone);
            lost.replaced += 1;
            self.gone_count -= 1;
        }
    }

    /// Lets go of what is older than a window.
    pub(super) fn slide(&mut self, now: MonoMs, marks: &mut BTreeMap<LeaseId, Mark>) -> Over {
        let is_over = |since: MonoMs| since + WINDOW_MS <= now;
        let mut over = Over::default();
        while let Some((_, service, was_healthy)) = self.gone.pop_front_if(|(at, ..)| is_over(*at)) {
            let mut is_replaced = false;
            self.change(service, |lost| {
                is_replaced = lost.replaced > 0;
                if is_replaced {
                    lost.replaced -= 1;
                } else {
                    lost.gone -= 1;
                    lost.gone_healthy = lost.gone_healthy.saturating_sub(u32::from(was_healthy));
                }
            });
            self.gone_count -= usize::from(!is_replaced);
            over.services.push(service);
        }
        while let Some((at, lease)) = self.entries.pop_front_if(|(at, _)| is_over(*at)) {
            if let Some(mark) = marks.get_mut(&lease).filter(|mark| mark.counted == Some(at)) {
                self.discount(lease, mark);
                over.leases.push(lease);
            }
        }
        over
    }

    fn change(&mut self, service: ServiceId, change: impl FnOnce(&mut Lost)) {
        let Some(lost) = self.services.get_mut(&service) else { return };
        change(lost);
        if lost.leases.is_empty() && lost.gone == 0 && lost.replaced == 0 {
            self.services.remove(&service);
        }
    }

    /// Everything that counts, with what is gone.
    pub(super) fn lost(&self) -> usize {
        self.leases + self.gone_count
    }

    pub(super) fn gone_count(&self) -> usize {
        self.gone_count
    }

    pub(super) fn knows(&self, service: ServiceId) -> bool {
        self.services.contains_key(&service)
    }

    pub(super) fn leases_of(&self, service: ServiceId) -> BTreeSet<LeaseId> {
        self.services.get(&service).map(|lost| lost.leases.clone()).unwrap_or_default()
    }

    pub(super) fn loss(&self, service: ServiceId, members: Members, marks: &BTreeMap<LeaseId, Mark>) -> Loss {
        let mut loss = Loss {
            all: members.all + members.gone_elsewhere,
            before: members.healthy + members.lost_elsewhere,
            after: members.healthy.saturating_sub(members.suspects_elsewhere),
            lost: members.lost_elsewhere,
            lost_healthy: members.lost_elsewhere,
            threshold: members.protect_threshold,
        };
        let Some(lost) = self.services.get(&service) else { return loss };
        let counted = || lost.leases.iter().filter_map(|lease| marks.get(lease));
        let still = counted().filter(|mark| mark.was_healthy && mark.is_healthy).count() as u32;
        let elsewhere = members.suspects_elsewhere;
        let here = counted().filter(|mark| mark.was_healthy).count() as u32;
        loss.lost += lost.leases.len() as u32 + lost.gone + elsewhere;
        loss.lost_healthy += here + lost.gone_healthy + elsewhere;
        loss.all += lost.gone;
        loss.after = members.healthy.saturating_sub(still + elsewhere);
        loss.before = loss.after + loss.lost_healthy;
        loss
    }
}

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

    /// Whether letting go of those that a freeze keeps, `held` of them healthy, and of all other suspects would still be
    /// too many.
    pub(super) fn is_mass_if(&self, members: Members, held: u32) -> bool {
        let going = members.suspects.max(held + members.suspects_elsewhere);
        let after = members.healthy.saturating_sub(going);
        self.all >= MEMBERS_MIN && (after == 0 || self.is_below(after))
    }
}
