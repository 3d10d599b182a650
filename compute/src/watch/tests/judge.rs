//! A watcher's own view of what it is told, and whether that keeps the promises.
//!
//! Knows nothing of how the hub works: it applies events as a client would, computes digests from what it then holds,
//! and compares with what was true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::world::Truth;
use crate::model::{Digest, Instance, InstanceId, Revision, Selector, ServiceKey};
use crate::view::View;
use crate::watch::{Delta, Scope, WatchEvent};

type Verdict = Result<(), String>;

/// What the watcher holds of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    exists: bool,
    protected: bool,
    instances: BTreeMap<InstanceId, Revision>,
}

pub(super) struct Judge {
    scope: Scope,
    selector: Selector,
    truth: Arc<Mutex<Truth>>,
    held: BTreeMap<ServiceKey, Held>,
    /// The last revision told of each service; of a namespace, of all.
    last: BTreeMap<ServiceKey, Revision>,
    chain: Revision,
    progress: Revision,
    /// A snapshot was announced, or is the beginning.
    awaits_snapshot: bool,
    /// Of services that it only knows not to exist it may get a snapshot without a word.
    begins: BTreeSet<ServiceKey>,
    /// The revision of the parts of a snapshot that is not complete.
    parts: Option<Revision>,
    /// Services that are further than the others, since their snapshot.
    ahead: BTreeMap<ServiceKey, Revision>,
    /// Services that came after a snapshot's revision and went before they were read, with when they were gone: what
    /// they were in between may be left out.
    passed: BTreeMap<ServiceKey, Revision>,
    /// Services that were shown as not there, which does not say since when.
    absent: BTreeSet<ServiceKey>,
    pub(super) changes: usize,
    pub(super) compacted: usize,
    /// Instances that are still there and not shown any more.
    pub(super) filtered_out: usize,
    /// Changes by which the protection came or went.
    pub(super) protections: usize,
    /// Parts of a namespace's snapshot that were newer than it.
    pub(super) parts_ahead: usize,
}

/// What a selection shows of a state, worked out anew.
fn shown(view: &View, selector: &Selector) -> Held {
    let healthy = view.instances.iter().filter(|i| i.health.reason.is_none()).count() as f64;
    let threshold = view.row.as_ref().map_or(0.0, |row| row.settings.protect_threshold);
    let protected = selector.healthy == Some(true) && healthy < threshold * view.instances.len() as f64;
    let takes = |i: &&Arc<Instance>| {
        let zone = selector.zone.as_ref().is_none_or(|zone| **zone == *i.provider.zone());
        zone && (protected || selector.healthy.is_none_or(|healthy| healthy == i.health.reason.is_none()))
    };
    let instances = view.instances.iter().filter(takes).map(|i| (i.id.clone(), i.revision)).collect();
    Held { exists: view.row.is_some(), protected, instances }
}

fn digest(held: &Held) -> Digest {
    held.instances.iter().fold(Digest::default(), |sum, (id, revision)| sum.plus(Digest::of(id, *revision)))
}

fn is(condition: bool, what: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(what()) }
}

impl Judge {
    /// Of a watcher that brings `from`, and then holds what was true at it.
    pub(super) fn new(scope: Scope, selector: Selector, truth: Arc<Mutex<Truth>>, from: Option<Revision>) -> Self {
        let mut judge = Self {
            scope,
            selector,
            truth,
            held: BTreeMap::new(),
            last: BTreeMap::new(),
            chain: from.unwrap_or_default(),
            progress: Revision::ZERO,
            awaits_snapshot: from.is_none(),
            begins: BTreeSet::new(),
            parts: None,
            ahead: BTreeMap::new(),
            passed: BTreeMap::new(),
            absent: BTreeSet::new(),
            changes: 0,
            compacted: 0,
            filtered_out: 0,
            protections: 0,
            parts_ahead: 0,
        };
        let Some(from) = from else { return judge };
        if from == Revision::ZERO && judge.is_chain() {
            judge.awaits_snapshot = true;
        } else if from == Revision::ZERO {
            judge.begins = judge.services().into_iter().collect();
        }
        for service in judge.services() {
            let held = judge.expected(&service, from);
            judge.held.insert(service.clone(), held);
            judge.last.insert(service, from);
        }
        judge
    }

    pub(super) fn see(&mut self, event: &WatchEvent) -> Verdict {
        match event {
            WatchEvent::Snapshot { view, revision, complete } => self.snapshot(view.as_deref(), *revision, *complete),
            WatchEvent::Change(delta) => self.change(delta),
            WatchEvent::Progress(revision) => self.progress(*revision),
            WatchEvent::Compacted(revision) => {
                self.compacted += 1;
                self.awaits_snapshot = true;
                is(*revision <= self.newest(), || format!("compacted at {revision}, beyond what was told"))
            }
        }
    }

    /// What it holds at the end is what is true.
    pub(super) fn is_at(&self, revision: Revision) -> Verdict {
        is(self.parts.is_none(), || "a snapshot is not complete".to_owned())?;
        self.services().iter().try_for_each(|service| self.holds(service, revision))
    }

    /// All services that it may have been told of.
    fn services(&self) -> Vec<ServiceKey> {
        match &self.scope {
            Scope::Services(services) => services.clone(),
            Scope::Namespace(_) => self.truth.lock().expect("nobody panicked").services().cloned().collect(),
        }
    }

    fn is_chain(&self) -> bool {
        matches!(self.scope, Scope::Namespace(_))
    }

    fn state(&self, service: &ServiceKey, at: Revision) -> Arc<View> {
        self.truth.lock().expect("nobody panicked").at(service, at)
    }

    fn expected(&self, service: &ServiceKey, at: Revision) -> Held {
        shown(&self.state(service, at), &self.selector)
    }

    fn holds(&self, service: &ServiceKey, at: Revision) -> Verdict {
        let at = self.ahead.get(service).map_or(at, |ahead| at.max(*ahead));
        let (held, expected) = (self.held.get(service).cloned().unwrap_or_default(), self.expected(service, at));
        let is_left_out = !held.exists && self.passed.get(service).is_some_and(|gone| at < *gone);
        is(held == expected || is_left_out, || {
            format!("at {at} it holds {held:?} of {service}, and true is {expected:?}")
        })
    }

    /// The largest revision told.
    pub(super) fn newest(&self) -> Revision {
        let last = self.last.values().copied().max().unwrap_or_default();
        last.max(self.chain).max(self.progress)
    }

    fn snapshot(&mut self, view: Option<&View>, revision: Revision, complete: bool) -> Verdict {
        match view {
            Some(view) if self.is_chain() => self.part(view, revision)?,
            Some(view) => return self.whole(view, revision, complete),
            None => is(self.is_chain() && complete, || "a snapshot of nothing that is not the end".to_owned())?,
        }
        if complete { self.completed(revision) } else { Ok(()) }
    }

    fn whole(&mut self, view: &View, revision: Revision, complete: bool) -> Verdict {
        let service = &view.service;
        let last = self.last.get(service).copied();
        is(complete, || "the snapshot of a service in parts".to_owned())?;
        let is_announced = last.is_none() || self.awaits_snapshot || self.begins.remove(service);
        is(is_announced, || format!("a snapshot of {service} that was not announced"))?;
        is(last.is_none_or(|last| last <= revision), || format!("back to {revision}"))?;
        is(view.row.is_none() || view.revision <= revision, || format!("{} shown as {revision}", view.revision))?;
        self.awaits_snapshot = false;
        self.take(view)?;
        self.last.insert(service.clone(), revision);
        if view.row.is_none() {
            self.absent.insert(service.clone());
            return Ok(());
        }
        self.ahead.insert(service.clone(), view.revision);
        self.holds(service, view.revision)
    }

    fn part(&mut self, view: &View, revision: Revision) -> Verdict {
        let service = &view.service;
        match self.parts {
            None => {
                is(self.awaits_snapshot, || "a snapshot that was not announced".to_owned())?;
                is(revision >= self.newest(), || format!("back to {revision}"))?;
                self.held.clear();
                self.ahead.clear();
                self.passed.clear();
                self.parts = Some(revision);
            }
            Some(parts) => is(parts == revision, || format!("a part of {revision} in a snapshot of {parts}"))?,
        }
        is(!self.held.contains_key(service), || format!("{service} twice in a snapshot"))?;
        is(view.row.is_some(), || format!("{service} is not there and in the snapshot"))?;
        self.take(view)?;
        if view.revision > revision {
            self.parts_ahead += 1;
            self.ahead.insert(service.clone(), view.revision);
        }
        self.holds(service, revision)
    }

    fn completed(&mut self, revision: Revision) -> Verdict {
        if self.parts.is_none() {
            self.held.clear();
            self.ahead.clear();
            self.passed.clear();
        }
        for service in self.services().into_iter().filter(|service| !self.held.contains_key(service)) {
            // It may have gone before its turn came.
            let gone = self.truth.lock().expect("nobody panicked").deleted_after(&service, revision);
            if self.expected(&service, revision).exists {
                let gone = gone.ok_or_else(|| format!("{service} is missing in the snapshot of {revision}"))?;
                self.ahead.insert(service, gone);
            } else if let Some(gone) = gone {
                self.passed.insert(service, gone);
            }
        }
        self.parts = None;
        self.awaits_snapshot = false;
        self.chain = revision;
        Ok(())
    }

    fn take(&mut self, view: &View) -> Verdict {
        let instances = view.instances.iter().map(|i| (i.id.clone(), i.revision)).collect();
        let held = Held { exists: view.row.is_some(), protected: view.protected, instances };
        let ours = digest(&held);
        self.held.insert(view.service.clone(), held);
        is(ours == view.digest, || format!("the snapshot of {} says {}, it is {ours}", view.service, view.digest))
    }

    fn change(&mut self, delta: &Delta) -> Verdict {
        self.changes += 1;
        let service = &delta.service;
        is(!self.awaits_snapshot && self.parts.is_none(), || "a change before the snapshot".to_owned())?;
        let last = if self.is_chain() { Some(self.chain) } else { self.last.get(service).copied() };
        let last = last.ok_or_else(|| format!("{service} was not asked for"))?.max(self.progress);
        is(delta.from == last, || format!("it begins at {}, the last event ended at {last}", delta.from))?;
        is(delta.to > delta.from, || format!("from {} to {}", delta.from, delta.to))?;
        let was = self.held.get(service).cloned().unwrap_or_default();
        let mut held = Held { exists: delta.row.is_some(), protected: delta.protected, ..was.clone() };
        self.removed(delta, &mut held)?;
        for put in &delta.put {
            is(put.revision <= delta.to, || format!("{:?} is newer than {}", put.id, delta.to))?;
            let old = held.instances.insert(put.id.clone(), put.revision);
            is(old.is_none_or(|old| old < put.revision), || format!("{:?} again", put.id))?;
        }
        let ours = digest(&held);
        is(ours == delta.digest, || format!("the digest is {} and should be {ours}", delta.digest))?;
        let says_something = held != was || self.is_described(delta);
        is(says_something, || format!("a change of {service} that changes nothing"))?;
        self.protections += usize::from(held.protected != was.protected);
        self.held.insert(service.clone(), held);
        self.begins.remove(service);
        self.absent.remove(service);
        self.last.insert(service.clone(), delta.to);
        if self.is_chain() {
            self.chain = delta.to;
        }
        // Whoever has this event has everything before it.
        let known = self.services().into_iter().filter(|service| self.is_chain() || self.last.contains_key(service));
        known.filter(|service| !self.absent.contains(service)).try_for_each(|service| self.holds(&service, delta.to))
    }

    fn is_described(&self, delta: &Delta) -> bool {
        let row = |at| self.state(&delta.service, at).row.as_ref().map(|row| row.settings_revision);
        row(delta.from) != row(delta.to)
    }

    fn removed(&mut self, delta: &Delta, held: &mut Held) -> Verdict {
        let state = self.state(&delta.service, delta.to);
        for removed in &delta.removed {
            let id = &removed.id;
            is(held.instances.remove(id).is_some(), || format!("{id:?} removed, and it was never shown"))?;
            match &removed.removal {
                Some(removal) => {
                    is(state.get(id).is_none(), || format!("{id:?} removed, and it is there"))?;
                    is(removal.revision <= delta.to, || format!("{id:?} removed later than {}", delta.to))?;
                }
                None => {
                    self.filtered_out += 1;
                    is(state.get(id).is_some(), || format!("{id:?} removed without a reason"))?;
                }
            }
        }
        Ok(())
    }

    fn progress(&mut self, revision: Revision) -> Verdict {
        is(!self.awaits_snapshot && self.parts.is_none(), || "progress before the snapshot".to_owned())?;
        is(revision >= self.newest(), || format!("progress back to {revision} from {}", self.newest()))?;
        self.begins.clear();
        self.progress = revision;
        self.absent.clear();
        self.services().iter().try_for_each(|service| self.holds(service, revision))
    }
}
