//! How thawed leases go: per window no more than the share of their freeze's scope, and at least one of each service,
//! with those of the service that fall at other nodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::port::clock::MonoMs;

use super::{COMPARE_MS, LeaseId, Mark, SHARE_PERCENT, Scope, ServiceId, Totals, WINDOW_MS};

#[derive(Default)]
pub(super) struct Pace {
    waiting: BTreeMap<ServiceId, BTreeSet<LeaseId>>,
    /// When those of a node's freeze went, within the last window.
    node_went: VecDeque<MonoMs>,
    /// When those of each service went, whatever froze them.
    went: BTreeMap<ServiceId, VecDeque<MonoMs>>,
    /// Something new waits.
    is_new: bool,
    next_at: Option<MonoMs>,
}

impl Pace {
    pub(super) fn wait(&mut self, lease: LeaseId, service: ServiceId) {
        self.is_new |= self.waiting.entry(service).or_default().insert(lease);
    }

    pub(super) fn forget(&mut self, lease: LeaseId, service: ServiceId) {
        if let Some(leases) = self.waiting.get_mut(&service) {
            leases.remove(&lease);
            if leases.is_empty() {
                self.waiting.remove(&service);
            }
        }
    }

    pub(super) fn next_at(&self) -> MonoMs {
        if self.is_new { 0 } else { self.next_at.unwrap_or(MonoMs::MAX) }
    }

    /// Those that may go now.
    pub(super) fn let_go(
        &mut self,
        now: MonoMs,
        totals: &Totals<'_>,
        marks: &mut BTreeMap<LeaseId, Mark>,
    ) -> Vec<LeaseId> {
        if now < self.next_at() {
            return Vec::new();
        }
        self.is_new = false;
        self.slide(now);
        let mut go = Vec::new();
        let services: Vec<_> = self.waiting.keys().copied().collect();
        for service in &services {
            let is_first = !self.went.contains_key(service) && (totals.members)(*service).lost_elsewhere == 0;
            let first = self.waiting.get(service).and_then(|leases| leases.first().copied());
            if let Some(lease) = first.filter(|_| is_first) {
                self.send(lease, *service, now, marks);
                go.push(lease);
            }
        }
        let node_share = totals.leases * SHARE_PERCENT / 100;
        for service in services {
            let members = (totals.members)(service);
            let service_share = (members.all as usize * SHARE_PERCENT / 100).max(1);
            let elsewhere = members.lost_elsewhere as usize;
            let leases: Vec<_> = self.waiting.get(&service).into_iter().flatten().copied().collect();
            for lease in leases {
                let of_node = self.node_went.len() < node_share;
                let of_service = self.went.get(&service).map_or(0, VecDeque::len) + elsewhere < service_share;
                if !of_node && !of_service {
                    break;
                }
                let is_of_node = marks.get(&lease).is_some_and(Mark::is_thawed_of_node);
                if if is_of_node { of_node } else { of_service } {
                    self.send(lease, service, now, marks);
                    go.push(lease);
                }
            }
        }
        self.next_at = self.soonest(now);
        go
    }

    fn send(&mut self, lease: LeaseId, service: ServiceId, now: MonoMs, marks: &mut BTreeMap<LeaseId, Mark>) {
        self.forget(lease, service);
        self.went.entry(service).or_default().push_back(now);
        if let Some(mark) = marks.get_mut(&lease) {
            mark.waits = false;
            mark.paced = Some(now);
            if mark.is_thawed_of_node() {
                self.node_went.push_back(now);
            }
        }
    }

    fn slide(&mut self, now: MonoMs) {
        let is_over = |at: &mut MonoMs| *at + WINDOW_MS <= now;
        while self.node_went.pop_front_if(is_over).is_some() {}
        self.went.retain(|_, went| {
            while went.pop_front_if(is_over).is_some() {}
            !went.is_empty()
        });
    }

    /// When something leaves the window that one of those waiting could follow. What fell elsewhere leaves it untold.
    fn soonest(&self, now: MonoMs) -> Option<MonoMs> {
        let of_services = self.waiting.keys().map(|service| match self.went.get(service).and_then(VecDeque::front) {
            Some(at) => at + WINDOW_MS,
            None => now + COMPARE_MS,
        });
        let of_node = self.node_went.front().filter(|_| !self.waiting.is_empty()).map(|at| at + WINDOW_MS);
        of_services.chain(of_node).min()
    }
}

impl Mark {
    /// What became unhealthy within a window may be removed in it: it is lost once.
    pub(super) fn went_in_window(&self, now: MonoMs) -> bool {
        self.paced.is_some_and(|at| now < at + WINDOW_MS)
    }

    fn is_thawed_of_node(&self) -> bool {
        matches!(self.thawed, Some(Scope::Node(_)))
    }
}
