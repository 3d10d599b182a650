//! Who goes next, and into which place.
//!
//! A place that waits for an answer which never comes is taken for a whole timeout, so places are shared out: a quarter
//! is for those who answer promptly alone, and a quarter for those of whom nothing is known yet; the slow have half at
//! most. Of those no service and no host takes so many that nothing is left for another: at most
//! [`FAIR`] times as many as are free.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;

use crate::keyed::{Keyed, Secret};
use crate::model::{Instance, InstanceKey};
use crate::port::clock::MonoMs;

use super::WatchNo;

/// A service or a host may have this many times as many slow probes under way as there are places left for such: alone
/// three quarters of them, and the more others there are, the fewer.
const FAIR: usize = 3;

/// By what its last probe came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// There was none yet.
    Unknown,
    Prompt,
    Slow,
}

/// Whom a probe's place counts for: the service and the host, by their hashes.
pub(super) type Parties = [u64; 2];

type Waiting = (MonoMs, WatchNo);

pub(super) struct Lanes {
    max: usize,
    unknown_max: usize,
    slow_max: usize,
    /// Of slow and unknown ones together.
    hesitant_max: usize,
    prompt: BTreeSet<Waiting>,
    unknown: BTreeSet<Waiting>,
    slow: BTreeMap<Waiting, Parties>,
    /// Slow ones that were due and had to stand back, for one of their parties.
    back: BTreeSet<Waiting>,
    parties: Keyed<u64, Party>,
    /// Parties for whom somebody stands back, by how many probes they have under way.
    patient: BTreeSet<(usize, u64)>,
    secret: Secret,
    prompt_flights: usize,
    unknown_flights: usize,
    slow_flights: usize,
}

#[derive(Default)]
struct Party {
    /// Slow probes under way.
    flights: usize,
    back: BTreeMap<Waiting, Parties>,
}

impl Lanes {
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        let half = (max / 2).max(1);
        Self {
            max,
            unknown_max: half,
            slow_max: half,
            hesitant_max: max - max / 4,
            prompt: BTreeSet::new(),
            unknown: BTreeSet::new(),
            slow: BTreeMap::new(),
            back: BTreeSet::new(),
            parties: Keyed::default(),
            patient: BTreeSet::new(),
            secret: Secret::default(),
            prompt_flights: 0,
            unknown_flights: 0,
            slow_flights: 0,
        }
    }

    pub(super) fn parties(&self, key: &InstanceKey, instance: &Instance) -> Parties {
        [self.secret.hash_one(&key.service), self.secret.hash_one(instance.provider.host())]
    }

    pub(super) fn wait(&mut self, class: Class, waiting: Waiting, parties: Parties) {
        match class {
            Class::Prompt => _ = self.prompt.insert(waiting),
            Class::Unknown => _ = self.unknown.insert(waiting),
            Class::Slow => _ = self.slow.insert(waiting, parties),
        }
    }

    pub(super) fn forget(&mut self, class: Class, waiting: Waiting, parties: Parties) {
        match class {
            Class::Prompt => _ = self.prompt.remove(&waiting),
            Class::Unknown => _ = self.unknown.remove(&waiting),
            Class::Slow => {
                if self.slow.remove(&waiting).is_none() && self.back.remove(&waiting) {
                    parties.into_iter().for_each(|party| _ = self.come_forward(party, Some(waiting)));
                }
            }
        }
    }

    /// Takes the one that goes next out of its lane, into a place.
    pub(super) fn start(&mut self, now: MonoMs) -> Option<(Class, Waiting)> {
        if self.is_full() {
            return None;
        }
        let is_due = |(due, _): &Waiting| *due <= now;
        let prompt = self.prompt.first().copied().filter(is_due);
        let unknown = self.unknown.first().copied().filter(is_due).filter(|_| self.has_room(Class::Unknown));
        let slow = self.first_slow().filter(is_due).filter(|_| self.has_room(Class::Slow));
        let is_first = |prompt: &Waiting| unknown.is_none_or(|u| *prompt <= u) && slow.is_none_or(|s| *prompt <= s);
        let (class, waiting) = match (prompt.filter(is_first), unknown) {
            (Some(prompt), _) => (Class::Prompt, prompt),
            // Before those whose turn it is again, however long they are due.
            (None, Some(unknown)) => (Class::Unknown, unknown),
            (None, None) => match slow.and_then(|_| self.next_slow(now)) {
                Some((waiting, parties)) => {
                    parties.into_iter().for_each(|party| self.count(party, |flights| flights + 1));
                    (Class::Slow, waiting)
                }
                None => (Class::Prompt, prompt?),
            },
        };
        self.forget(class, waiting, Parties::default());
        *self.flights(class) += 1;
        Some((class, waiting))
    }

    /// Its place is free again.
    pub(super) fn end(&mut self, class: Class, parties: Parties) {
        *self.flights(class) -= 1;
        if class == Class::Slow {
            parties.into_iter().for_each(|party| self.count(party, |flights| flights - 1));
        }
    }

    /// When the next one is due that there is a place for.
    pub(super) fn wake_at(&self) -> Option<MonoMs> {
        if self.is_full() {
            return None;
        }
        let unknown = self.unknown.first().filter(|_| self.has_room(Class::Unknown));
        let slow = self.slow.keys().next().filter(|_| self.has_room(Class::Slow));
        self.prompt.first().into_iter().chain(unknown).chain(slow).min().map(|(due, _)| *due)
    }

    /// When somebody is due who would have a place if another of these classes gave up one.
    pub(super) fn wants(&self) -> Option<(MonoMs, &'static [Class])> {
        let unknown = self.unknown.first().filter(|_| self.is_full() || !self.has_room(Class::Unknown));
        let has_places = self.slow_flights < self.slow_max;
        let slow = self.slow.keys().next().filter(|_| has_places && (self.is_full() || self.hesitant_room() == 0));
        let prompt = self.prompt.first().filter(|_| self.is_full());
        let (due, _) = prompt.into_iter().chain(unknown).chain(slow).min()?;
        Some((*due, if self.is_full() { &[Class::Prompt, Class::Unknown] } else { &[Class::Unknown] }))
    }

    /// Since when the one has been due that waits longest.
    pub(super) fn first_due(&self) -> Option<MonoMs> {
        let first = [self.prompt.first().copied(), self.unknown.first().copied(), self.first_slow()];
        first.into_iter().flatten().min().map(|(due, _)| due)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.prompt_flights + self.unknown_flights + self.slow_flights
    }

    fn is_full(&self) -> bool {
        self.in_flight() >= self.max
    }

    fn has_room(&self, class: Class) -> bool {
        match class {
            Class::Prompt => !self.is_full(),
            Class::Unknown => self.hesitant_room() > 0 && self.unknown_flights < self.unknown_max,
            Class::Slow => self.slow_room() > 0,
        }
    }

    fn hesitant_room(&self) -> usize {
        self.hesitant_max - self.unknown_flights - self.slow_flights
    }

    fn slow_room(&self) -> usize {
        self.hesitant_room().min(self.slow_max - self.slow_flights)
    }

    fn first_slow(&self) -> Option<Waiting> {
        self.slow.keys().next().into_iter().chain(self.back.first()).min().copied()
    }

    /// The next slow one whose service and host both may have one more; whoever is in front of it stands back.
    fn next_slow(&mut self, now: MonoMs) -> Option<(Waiting, Parties)> {
        let fair = self.slow_room().saturating_mul(FAIR);
        loop {
            let forward = self.patient.first().copied().filter(|(flights, _)| *flights < fair);
            let (waiting, parties) = match forward.and_then(|(_, party)| self.come_forward(party, None)) {
                Some((waiting, parties)) => {
                    self.back.remove(&waiting);
                    (waiting, parties)
                }
                None => {
                    let first = self.slow.first_entry().filter(|first| first.key().0 <= now)?;
                    first.remove_entry()
                }
            };
            let has_enough = |party: &u64| self.parties.get(party).is_some_and(|party| party.flights >= fair);
            let Some(party) = parties.into_iter().find(has_enough) else { return Some((waiting, parties)) };
            self.stand_back(party, waiting, parties);
        }
    }

    fn stand_back(&mut self, name: u64, waiting: Waiting, parties: Parties) {
        self.back.insert(waiting);
        let party = self.parties.entry(name).or_default();
        party.back.insert(waiting, parties);
        self.patient.insert((party.flights, name));
    }

    /// Takes one, or the first, of those who stand back for a party.
    fn come_forward(&mut self, name: u64, which: Option<Waiting>) -> Option<(Waiting, Parties)> {
        let party = self.parties.get_mut(&name)?;
        let found = match which {
            Some(waiting) => party.back.remove_entry(&waiting),
            None => party.back.pop_first(),
        };
        if party.back.is_empty() {
            self.patient.remove(&(party.flights, name));
            if party.flights == 0 {
                self.parties.remove(&name);
            }
        }
        found
    }

    fn count(&mut self, name: u64, change: impl FnOnce(usize) -> usize) {
        let party = self.parties.entry(name).or_default();
        let before = party.flights;
        party.flights = change(before);
        if self.patient.remove(&(before, name)) {
            self.patient.insert((party.flights, name));
        }
        if party.flights == 0 && party.back.is_empty() {
            self.parties.remove(&name);
        }
    }

    fn flights(&mut self, class: Class) -> &mut usize {
        match class {
            Class::Prompt => &mut self.prompt_flights,
            Class::Unknown => &mut self.unknown_flights,
            Class::Slow => &mut self.slow_flights,
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self, class: Class) -> usize {
        match class {
            Class::Prompt => self.prompt.len(),
            Class::Unknown => self.unknown.len(),
            Class::Slow => self.slow.len() + self.back.len(),
        }
    }

    /// Nothing is kept of anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let classes = [Class::Prompt, Class::Unknown, Class::Slow];
        classes.into_iter().all(|class| self.waiting(class) == 0)
            && self.in_flight() == 0
            && self.parties.is_empty()
            && self.patient.is_empty()
    }
}
