//! A watch of a whole namespace: one chain over all its services, in the order of the log.
//!
//! The snapshot comes a service at a time, while changes go on. It is of the revision at which it began; a service
//! that was newer when its turn came, or gone, is remembered, and what it had already is left out when the chain comes
//! to it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::WatchEvent;
use super::delta::delta;
use super::deltas::End;
use super::history::{Reach, Run, Span};
use super::hub::Held;
use super::scene::{Scene, Step};
use super::slot::{Mark, Slot};
use crate::keyed::Keyed;
use crate::model::{Namespace, Revision, ServiceKey, ServiceName};
use crate::view::View;

/// Names of services read at once; few in tests, so that a small namespace has several pages.
const PAGE: usize = if cfg!(test) { 2 } else { 256 };
/// How many services or runs are looked at before others get a turn.
const TURN: usize = 64;

pub(super) struct Chain {
    held: Held,
    namespace: Namespace,
    slot: Arc<Slot>,
    marks: Vec<Mark>,
    /// Everything up to here was told, or there was nothing to see.
    at: Revision,
    /// The revision of the last event.
    told: Revision,
    /// What the watcher has need not have been true before this: states in between may have been left out.
    since: Revision,
    next: Next,
    /// Changes up to here are to be told by now; those behind it wait for the next round.
    upto: Revision,
    ahead: Ahead,
}

/// Services that were told of beyond where the chain is.
#[derive(Default)]
struct Ahead {
    upto: Keyed<ServiceKey, Revision>,
    max: Revision,
}

enum Next {
    Snapshot,
    /// In the middle of a snapshot, behind a service.
    Part(Listing),
    Changes,
}

#[derive(Default)]
struct Listing {
    page: VecDeque<ServiceName>,
    last: Option<ServiceName>,
    is_last_page: bool,
    /// Deletions up to here were looked at.
    seen: Revision,
}

/// What came of looking for the next change.
enum Found {
    Lost,
    Nothing,
    /// Known already, up to here.
    Known(Revision),
    Span(Run, Span),
}

impl Chain {
    pub(super) fn new(held: Held, namespace: Namespace, slot: Arc<Slot>, from: Option<Revision>) -> Self {
        let at = from.unwrap_or_default();
        // From the beginning it has nothing, and needs no word that it missed some.
        let next = if at == Revision::ZERO { Next::Snapshot } else { Next::Changes };
        Self {
            held,
            namespace,
            slot,
            marks: Vec::new(),
            at,
            told: at,
            since: Revision::ZERO,
            next,
            upto: Revision::ZERO,
            ahead: Ahead::default(),
        }
    }

    /// Everything up to here was told. `None` while a snapshot is under way.
    pub(super) fn safe(&self) -> Option<Revision> {
        matches!(self.next, Next::Changes).then_some(self.at)
    }

    /// What the watcher has need not have been true before this.
    pub(super) fn since(&self) -> Revision {
        self.since
    }

    pub(super) fn step(&mut self, scene: &Scene<'_>) -> Step {
        match &mut self.next {
            Next::Snapshot => {
                self.at = scene.hub.history().applied();
                self.told = self.at;
                self.ahead = Ahead::default();
                self.next = Next::Part(Listing { seen: self.at, ..Listing::default() });
                Step::Again
            }
            Next::Part(listing) => {
                let mut listing = std::mem::take(listing);
                let step = self.part(scene, &mut listing);
                if matches!(self.next, Next::Part(_)) {
                    self.next = Next::Part(listing);
                }
                step
            }
            Next::Changes => self.change(scene),
        }
    }

    /// The next service of the snapshot.
    fn part(&mut self, scene: &Scene<'_>, listing: &mut Listing) -> Step {
        for _ in 0..TURN {
            listing.fill(scene, &self.namespace, &mut self.ahead);
            let name = listing.page.pop_front();
            listing.fill(scene, &self.namespace, &mut self.ahead);
            let complete = listing.page.is_empty();
            let view = name.and_then(|name| self.view(scene, name));
            if complete {
                self.next = Next::Changes;
            }
            if complete || view.is_some() {
                return Step::Event(WatchEvent::Snapshot { view, revision: self.told, complete });
            }
        }
        Step::Again
    }

    fn view(&mut self, scene: &Scene<'_>, service: ServiceName) -> Option<Arc<View>> {
        let service = ServiceKey { namespace: self.namespace.clone(), service };
        let (history, view) = scene.hub.read(scene.directory, &service);
        let applied = history.applied();
        drop(history);
        if view.row.is_none() {
            // The log does not know it, or not any more.
            self.ahead.put(service, applied);
            return None;
        }
        if view.revision > self.at {
            self.ahead.put(service, view.revision);
        }
        Some(scene.directory.selected_of(&view, scene.selector))
    }

    fn change(&mut self, scene: &Scene<'_>) -> Step {
        scene.hub.fanout().take(&self.slot, &mut self.marks);
        self.marks.clear();
        if self.upto < self.at || self.upto == Revision::ZERO {
            self.upto = scene.hub.history().applied();
        }
        self.upto = self.upto.max(scene.hub.covered());
        let from = self.told.max(scene.progress);
        for _ in 0..TURN {
            let end = match self.find(scene) {
                Found::Lost => {
                    self.next = Next::Snapshot;
                    return Step::Event(WatchEvent::Compacted(from));
                }
                Found::Nothing => {
                    self.at = self.at.max(self.upto);
                    return Step::Idle;
                }
                Found::Known(upto) => {
                    self.at = upto;
                    continue;
                }
                Found::Span(run, span) => self.end_of(scene, from, &run, &span),
            };
            self.at = end.0;
            self.since = end.0;
            if self.at >= self.ahead.max {
                self.ahead = Ahead::default();
            }
            if let Some(delta) = end.1 {
                self.told = end.0;
                return Step::Event(WatchEvent::Change(delta));
            }
        }
        Step::Again
    }

    fn find(&self, scene: &Scene<'_>) -> Found {
        let history = scene.hub.history();
        let run = match history.run(&self.namespace, self.at, self.upto) {
            Reach::Lost => return Found::Lost,
            Reach::Nothing => return Found::Nothing,
            Reach::Found(run) => run,
        };
        let at = self.ahead.upto.get(&run.service).copied().unwrap_or_default().max(self.at);
        let view = scene.directory.view(&run.service).logged();
        match history.run_span(&run, &view, at, !scene.selector.is_everything()) {
            Reach::Lost => Found::Lost,
            Reach::Nothing => Found::Known(run.to),
            Reach::Found(span) => Found::Span(run, span),
        }
    }

    fn end_of(&self, scene: &Scene<'_>, from: Revision, run: &Run, span: &Span) -> End {
        let make = || (run.to, delta(span, from, scene.selector, scene.directory).map(Arc::new));
        // What is left out for this watcher others have to be told.
        if self.ahead.upto.contains_key(&run.service) {
            return make();
        }
        let topic = &self.held.topic;
        topic.attached.find(from, run.to, scene.selector).unwrap_or_else(|| {
            let end = make();
            scene.share(topic, from, &end);
            end
        })
    }
}

impl Ahead {
    fn put(&mut self, service: ServiceKey, upto: Revision) {
        self.max = self.max.max(upto);
        self.upto.insert(service, upto);
    }
}

impl Listing {
    /// Reads the next names when there are none left; what is not among them any more is not going to be told of.
    fn fill(&mut self, scene: &Scene<'_>, namespace: &Namespace, ahead: &mut Ahead) {
        if !self.page.is_empty() || self.is_last_page {
            return;
        }
        let history = scene.hub.history();
        for service in history.deleted(namespace, self.seen) {
            let is_to_come = self.last.as_ref().is_none_or(|last| service.service > *last);
            if is_to_come && scene.directory.view(service).logged().row.is_none() {
                ahead.put(service.clone(), history.applied());
            }
        }
        self.seen = history.applied();
        let after = self.last.as_ref().map(ServiceName::as_str);
        let page = scene.directory.services(namespace, "", after, PAGE).unwrap_or_default();
        drop(history);
        self.is_last_page = page.len() < PAGE;
        self.last = page.last().cloned().or(self.last.take());
        self.page = page.into();
    }
}
