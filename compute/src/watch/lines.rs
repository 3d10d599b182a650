//! A watch of named services: a line for each, with a chain of revisions of its own.
//!
//! Over all lines, too, changes are told in the order of the log: of two services that changed in turns, the changes
//! are told in turns. So whoever has an event has everything before it, of every line, and may resume there. A line
//! that is alone need not wait for others: it skips to the newest state.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::WatchEvent;
use super::delta::delta;
use super::deltas::End;
use super::history::{Reach, Span};
use super::hub::{Held, Topic};
use super::scene::{Scene, Step};
use super::slot::{Mark, Slot};
use crate::model::{Revision, ServiceKey};

/// How many lines are looked at before others get a turn.
const TURN: usize = 64;

pub(super) struct Lines {
    lines: Vec<Line>,
    slot: Arc<Slot>,
    /// How many lines were begun.
    begun: usize,
    /// Lines with something to tell, by a place in the order that is not behind it.
    pending: BTreeSet<(u64, u32)>,
    /// A line whose snapshot was announced.
    lost: Option<u32>,
    marks: Vec<Mark>,
    /// Everything up to here, of all lines, was told or is pending.
    known: Revision,
}

struct Line {
    held: Held,
    service: ServiceKey,
    /// Everything of the service up to here was told, or there was nothing to see.
    at: Revision,
    /// The revision of the last event about it.
    told: Revision,
    /// What the watcher has of it need not have been true before this: states in between may have been left out.
    since: Revision,
    resumes: bool,
    /// There may be more than the topic has seen: what was missed before it was followed.
    is_behind: bool,
    is_pending: bool,
}

/// What there was to tell of a line.
#[derive(Default)]
struct Telling {
    event: Option<WatchEvent>,
    /// Where the next is that was not to be told yet.
    next: Option<Revision>,
    is_lost: bool,
}

impl Lines {
    pub(super) fn new(held: Vec<Held>, slot: Arc<Slot>, from: Option<Revision>) -> Self {
        let lines = held.into_iter().filter_map(|held| Line::new(held, from)).collect();
        Self { lines, slot, begun: 0, pending: BTreeSet::new(), lost: None, marks: Vec::new(), known: Revision::ZERO }
    }

    pub(super) fn step(&mut self, scene: &Scene<'_>) -> Step {
        if self.begun < self.lines.len() {
            return self.begin(scene);
        }
        if let Some(line) = self.lost.take().and_then(|at| self.lines.get_mut(at as usize)) {
            return Step::Event(line.snapshot(scene));
        }
        // Read before the marks are: whatever is covered by now is marked by now.
        let covered = scene.hub.covered();
        scene.hub.fanout().take(&self.slot, &mut self.marks);
        match &mut *self.lines {
            [_] => self.step_one(scene, covered),
            _ => self.step_many(scene, covered),
        }
    }

    /// Everything up to here was told. `None` while something of the beginning was not.
    pub(super) fn safe(&self) -> Option<Revision> {
        if self.begun < self.lines.len() || self.lost.is_some() {
            return None;
        }
        if let [line] = &*self.lines {
            // Its snapshot may be newer than what was known when it was read.
            return Some(if line.is_behind { line.at } else { line.at.max(self.known) });
        }
        let first = self.pending.first().map(|(first, _)| Revision::from_packed(first.saturating_sub(1)));
        Some(first.flatten().map_or(self.known, |before| before.min(self.known)))
    }

    /// What the watcher has need not have been true before this.
    pub(super) fn since(&self) -> Revision {
        self.lines.iter().map(|line| line.since).max().unwrap_or_default()
    }

    fn begin(&mut self, scene: &Scene<'_>) -> Step {
        if self.begun == 0 {
            self.known = scene.hub.history().applied();
        }
        let is_alone = self.lines.len() == 1;
        for _ in 0..TURN {
            let Some(line) = self.lines.get_mut(self.begun) else { break };
            let event = if line.resumes { line.resume(scene) } else { Some(line.snapshot(scene)) };
            if line.is_behind && !is_alone {
                line.is_pending = self.pending.insert((line.at.packed() + 1, self.begun as u32));
            }
            self.begun += 1;
            if let Some(event) = event {
                return Step::Event(event);
            }
        }
        Step::Again
    }

    fn step_one(&mut self, scene: &Scene<'_>, covered: Revision) -> Step {
        let is_marked = self.marks.drain(..).count() > 0;
        let Some(line) = self.lines.first_mut() else { return Step::Idle };
        let newest = line.newest();
        // What is newer than the last mark waits for the next: changes are to gather while everybody is late.
        if !line.is_behind && (!is_marked || newest <= line.at) {
            self.known = line.at.max(covered);
            return Step::Idle;
        }
        let telling = match line.find(scene, newest) {
            Some(end) => Telling { event: line.end(end), ..Telling::default() },
            None => line.tell(scene, None),
        };
        if telling.is_lost {
            self.lost = Some(0);
        }
        self.known = self.known.max(line.at);
        telling.event.map_or(Step::Again, Step::Event)
    }

    fn step_many(&mut self, scene: &Scene<'_>, covered: Revision) -> Step {
        for mark in self.marks.drain(..) {
            let Some(line) = self.lines.get_mut(mark.line as usize) else { continue };
            if let Some(first) = mark.first.filter(|_| !line.is_pending) {
                line.is_pending = self.pending.insert((first, mark.line));
            }
        }
        self.known = self.known.max(covered);
        for _ in 0..TURN {
            let Some((first, at)) = self.pending.first().copied().filter(|(first, _)| *first <= self.known.packed())
            else {
                return Step::Idle;
            };
            self.pending.pop_first();
            let Some(line) = self.lines.get_mut(at as usize) else { continue };
            // Up to where another line has something. Of this line's own first change nobody else is in front.
            let upto = self.pending.first().map_or(u64::MAX, |(second, _)| second.saturating_sub(1).max(first));
            let telling = line.tell(scene, Revision::from_packed(upto.min(self.known.packed())));
            line.is_pending = telling.next.is_some_and(|next| self.pending.insert((next.packed(), at)));
            if telling.is_lost {
                self.lost = Some(at);
            }
            if let Some(event) = telling.event {
                return Step::Event(event);
            }
        }
        Step::Again
    }
}

impl Line {
    fn new(held: Held, from: Option<Revision>) -> Option<Self> {
        let Topic::Service(service) = held.topic.key.clone() else { return None };
        let at = from.unwrap_or_default();
        let (since, resumes) = (Revision::ZERO, from.is_some());
        Some(Self { held, service, at, told: at, since, resumes, is_behind: false, is_pending: false })
    }

    fn newest(&self) -> Revision {
        Revision::from_packed(self.held.topic.newest()).unwrap_or_default()
    }

    fn snapshot(&mut self, scene: &Scene<'_>) -> WatchEvent {
        let (history, view) = scene.hub.read(scene.directory, &self.service);
        self.at = history.applied();
        drop(history);
        // A service that is gone has no revision to show, and nobody is told to go back.
        self.told = if view.revision < self.told { self.at } else { view.revision };
        self.since = if view.row.is_some() { view.revision } else { self.at };
        let view = scene.directory.selected_of(&view, scene.selector);
        WatchEvent::Snapshot { view: Some(view), revision: self.told, complete: true }
    }

    /// Goes on where the watcher says it is. From the beginning it has nothing, and needs no word that it missed some.
    fn resume(&mut self, scene: &Scene<'_>) -> Option<WatchEvent> {
        if self.at != Revision::ZERO {
            self.is_behind = true;
            return None;
        }
        let (history, view) = scene.hub.read(scene.directory, &self.service);
        let applied = history.applied();
        drop(history);
        if view.row.is_some() {
            return Some(self.snapshot(scene));
        }
        self.at = applied;
        self.since = applied;
        None
    }

    /// What was made for another watcher who is as far as this one.
    fn find(&self, scene: &Scene<'_>, to: Revision) -> Option<End> {
        self.held.topic.attached.find(self.told.max(scene.progress), to, scene.selector)
    }

    /// What comes next, up to `upto`.
    fn tell(&mut self, scene: &Scene<'_>, upto: Option<Revision>) -> Telling {
        let mut telling = Telling::default();
        let (history, view) = scene.hub.read(scene.directory, &self.service);
        let reach = history.since(&view, self.at, upto);
        let applied = history.applied();
        drop(history);
        match reach {
            Reach::Lost => {
                telling.is_lost = true;
                telling.event = Some(WatchEvent::Compacted(self.told.max(scene.progress)));
                self.told = self.told.max(scene.progress);
            }
            Reach::Nothing => self.at = self.at.max(applied),
            Reach::Found(span) => {
                telling.next = span.after.first().map(|unit| unit.to);
                telling.event = self.tell_span(scene, &span);
            }
        }
        self.is_behind = false;
        telling
    }

    fn tell_span(&mut self, scene: &Scene<'_>, span: &Span) -> Option<WatchEvent> {
        let to = span.within.last()?.to;
        let end = self.find(scene, to).unwrap_or_else(|| self.make(scene, span, to));
        self.end(end)
    }

    fn make(&self, scene: &Scene<'_>, span: &Span, to: Revision) -> End {
        let from = self.told.max(scene.progress);
        let end = (to, delta(span, from, scene.selector, scene.directory).map(Arc::new));
        scene.share(&self.held.topic, from, &end);
        end
    }

    fn end(&mut self, (to, delta): End) -> Option<WatchEvent> {
        self.at = to;
        self.since = to;
        self.is_behind = false;
        let delta = delta?;
        self.told = to;
        Some(WatchEvent::Change(delta))
    }
}
