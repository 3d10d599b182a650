//! What other nodes' leases have lost within the last window, as the log shows it: each owner sees only its own, and a
//! service whose members fall one after the other at several nodes would lose all of them with no node the wiser. So does
//! one whose owners begin anew meanwhile: what fell before they did counts here, too.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{InstanceKey, ServiceKey};
use crate::port::clock::MonoMs;

use super::WINDOW_MS;

#[derive(Default)]
pub struct Elsewhere {
    /// In order of time. An entry is stale when its lease's is of another time, or not there.
    entries: VecDeque<(MonoMs, InstanceKey)>,
    lost: BTreeMap<ServiceKey, BTreeMap<InstanceKey, Lost>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Lost {
    at: MonoMs,
    /// It is not there any more.
    is_gone: bool,
}

impl Elsewhere {
    /// The log shows that a lease of another node became unhealthy.
    pub fn fell(&mut self, key: &InstanceKey, now: MonoMs) {
        self.slide(now);
        self.entries.push_back((now, key.clone()));
        self.lost.entry(key.service.clone()).or_default().insert(key.clone(), Lost { at: now, is_gone: false });
    }

    /// It was heard again: no loss any more.
    pub fn rose(&mut self, key: &InstanceKey) {
        self.change(&key.service, |lost| {
            lost.remove(key);
        });
    }

    /// It is gone, which counts for the rest of the window.
    pub fn ended(&mut self, key: &InstanceKey) {
        self.change(&key.service, |lost| lost.get_mut(key).into_iter().for_each(|lost| lost.is_gone = true));
    }

    /// A new lease: it takes the place of itself, or of another one of its service that is gone.
    pub fn began(&mut self, key: &InstanceKey) {
        self.change(&key.service, |lost| {
            let replaced = lost.iter().find(|(_, lost)| lost.is_gone).map(|(gone, _)| gone.clone());
            let is_itself = lost.remove(key).is_some();
            if let (false, Some(replaced)) = (is_itself, replaced) {
                lost.remove(&replaced);
            }
        });
    }

    /// How many a service has lost within the window, and how many of them are not there any more.
    pub fn lost(&self, service: &ServiceKey, now: MonoMs) -> (u32, u32) {
        let lost = self.lost.get(service).into_iter().flat_map(BTreeMap::values);
        let (mut all, mut gone) = (0, 0);
        for lost in lost.filter(|lost| lost.at + WINDOW_MS > now) {
            all += 1;
            gone += u32::from(lost.is_gone);
        }
        (all, gone)
    }

    /// Lets go of what is older than a window.
    fn slide(&mut self, now: MonoMs) {
        while let Some((at, key)) = self.entries.pop_front_if(|(at, _)| *at + WINDOW_MS <= now) {
            self.change(&key.service, |lost| {
                if lost.get(&key).is_some_and(|lost| lost.at == at) {
                    lost.remove(&key);
                }
            });
        }
    }

    fn change(&mut self, service: &ServiceKey, change: impl FnOnce(&mut BTreeMap<InstanceKey, Lost>)) {
        let Some(lost) = self.lost.get_mut(service) else { return };
        change(lost);
        if lost.is_empty() {
            self.lost.remove(service);
        }
    }
}
