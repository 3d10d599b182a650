//! What changed lately, so that a watcher who was away gets what it missed and not everything again.
//!
//! One bounded list for all services, in the order of the log. Its smallest part is a [`Unit`], what one frame did to
//! one service: watchers see the states between frames, the same that readers saw. A unit keeps what was before it, so
//! the state of a service at an earlier revision follows from the newest view and the units since.

use std::collections::VecDeque;
use std::sync::Arc;

use super::hub::{Record, Recorded};
use crate::keyed::Keyed;
use crate::model::{Digest, Instance, InstanceId, Namespace, Position, Removal, Revision, ServiceKey, ServiceRow};
use crate::view::View;

/// Bounds of the history of one node.
#[derive(Clone, Copy, Debug)]
pub struct HistoryLimits {
    /// Most changes kept.
    pub records_max: usize,
    /// Most bytes of changes, and of the instances that only they still hold.
    pub bytes_max: usize,
    /// A watcher that missed more frames of a service than this, and twice as many as it has instances, gets a
    /// snapshot: it is no larger than what it missed.
    pub missed_max: usize,
    /// What nobody can want any more is dropped after this time.
    pub kept_ms: u64,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { records_max: 131_072, bytes_max: 48 << 20, missed_max: 1_024, kept_ms: 600_000 }
    }
}

/// Most units told of in one delta of a namespace.
const RUN_UNITS_MAX: usize = 1_024;

/// What happened to one instance.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) old: Option<Arc<Instance>>,
    pub(super) new: Option<Arc<Instance>>,
    /// Of the last removal; also where it was registered again in the same frame.
    pub(super) removal: Option<Arc<Removal>>,
}

impl Change {
    pub(super) fn id(&self) -> Option<&InstanceId> {
        self.old.as_ref().or(self.new.as_ref()).map(|instance| &instance.id)
    }
}

/// Made, described anew, or deleted.
pub(super) struct RowChange {
    pub(super) old: Option<Arc<ServiceRow>>,
    pub(super) new: Option<Arc<ServiceRow>>,
}

/// What one frame did to one service.
#[derive(Clone)]
pub(super) struct Unit {
    /// Its last change: the revision of the state after it.
    pub(super) to: Revision,
    /// The revision of the state before it.
    before: Revision,
    /// Of all instances, after it.
    pub(super) digest: Digest,
    pub(super) row: Option<Arc<RowChange>>,
    /// By id, each once.
    pub(super) changes: Arc<[Change]>,
    track: u32,
    /// How far back the unit before it of the same service is; 0: not known.
    back: u32,
}

/// Units of one service between two of its revisions.
pub(super) struct Span {
    /// The newest state.
    pub(super) view: Arc<View>,
    /// Those to tell of, in order.
    pub(super) within: Vec<Unit>,
    /// Those behind them, in order, as far as asked for.
    pub(super) after: Vec<Unit>,
    /// Nothing is behind them: they lead to the newest state.
    pub(super) is_newest: bool,
}

pub(super) enum Reach<T> {
    /// Some of what was missed is not known any more.
    Lost,
    /// Nothing was missed.
    Nothing,
    Found(T),
}

/// Changes of one service that nothing of another one in the namespace comes between.
pub(super) struct Run {
    pub(super) service: ServiceKey,
    pub(super) to: Revision,
    last: u64,
}

struct Track {
    service: ServiceKey,
    last: u64,
    /// The last unit that changed the row.
    row: Option<u64>,
}

#[derive(Default)]
struct Order {
    units: VecDeque<u64>,
    /// Everything of the namespace above it is here.
    floor: Revision,
}

pub(super) struct History {
    limits: HistoryLimits,
    units: VecDeque<Unit>,
    /// The number of the first unit; they are numbered without a gap.
    base: u64,
    tracks: Vec<Option<Track>>,
    free: Vec<u32>,
    index: Keyed<ServiceKey, u32>,
    orders: Keyed<Namespace, Order>,
    /// Everything above it is here.
    floor: Revision,
    applied: Revision,
    is_started: bool,
    records: usize,
    bytes: usize,
    /// When the history had come how far, for [`History::sweep`].
    stamps: VecDeque<(u64, u64)>,
}

impl History {
    pub(super) fn new(limits: HistoryLimits) -> Self {
        Self {
            limits,
            units: VecDeque::new(),
            base: 1,
            tracks: Vec::new(),
            free: Vec::new(),
            index: Keyed::default(),
            orders: Keyed::default(),
            floor: Revision::ZERO,
            applied: Revision::ZERO,
            is_started: false,
            records: 0,
            bytes: 0,
            stamps: VecDeque::new(),
        }
    }

    /// Everything up to `position` was before this history's time.
    pub(super) fn start(&mut self, position: Position) {
        self.floor = self.floor.max(position.last());
        self.applied = self.applied.max(position.last());
        self.is_started = true;
    }

    /// Everything up to it is in the views, and, above the floor, here.
    pub(super) fn applied(&self) -> Revision {
        self.applied
    }

    /// A frame begins.
    pub(super) fn begin(&mut self, position: Position) {
        if !self.is_started {
            // Nobody said what was before: nothing below this frame is known.
            self.start(position.back(1));
        }
    }

    /// A frame ends.
    pub(super) fn end(&mut self, position: Position) {
        self.applied = self.applied.max(position.last());
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what a frame did to a service, that was `before` and is `view` now. Frames come in order, and so do the
    /// last records of the services of one. Returns that of this one.
    pub(super) fn append(&mut self, before: &View, view: &View, records: &[Record]) -> Option<Revision> {
        let (first, last) = (records.first()?.revision, records.last()?.revision);
        let to = last.max(view.revision);
        while self.records + records.len() > self.limits.records_max && self.drop_first() {}
        let known = self.index.get(&view.service).copied();
        let previous = known.and_then(|track| self.tracks.get(track as usize)?.as_ref()).map(|track| track.last);
        let is_seamless = before.revision < first;
        if !is_seamless {
            tracing::error!(service = %view.service, at = %before.revision, %first, "published out of order");
        }
        let number = self.base + self.units.len() as u64;
        let back = previous.filter(|_| is_seamless).map_or(0, |previous| (number - previous) as u32);
        let state_before = previous.and_then(|previous| self.unit(previous)).map_or(self.floor, |unit| unit.to);
        let existed = before.row.is_some();
        let described = records.iter().any(|record| matches!(record.what, Recorded::Service));
        let exists = view.row.is_some();
        let row = (existed != exists || (described && exists))
            .then(|| Arc::new(RowChange { old: before.row.clone(), new: view.row.clone() }));
        let unit = Unit {
            to,
            before: match (is_seamless, existed) {
                (false, _) => to,
                (true, true) => before.revision,
                // The view of a service that is not there does not say since when.
                (true, false) => state_before,
            },
            digest: view.digest,
            row,
            changes: changes(before, records),
            track: known.unwrap_or_else(|| self.add_track(&view.service)),
            back,
        };
        self.push(number, unit);
        Some(to)
    }

    fn push(&mut self, number: u64, unit: Unit) {
        if let Some(track) = self.tracks.get_mut(unit.track as usize).and_then(Option::as_mut) {
            track.last = number;
            if unit.row.is_some() {
                track.row = Some(number);
            }
            let floor = self.floor;
            let order = self.orders.entry(track.service.namespace.clone());
            order.or_insert_with(|| Order { units: VecDeque::new(), floor }).units.push_back(number);
        }
        self.records += records_of(&unit);
        self.bytes += bytes_of(&unit);
        self.units.push_back(unit);
        while self.bytes > self.limits.bytes_max && self.drop_first() {}
    }

    fn drop_first(&mut self) -> bool {
        let Some(unit) = self.units.pop_front() else { return false };
        let number = self.base;
        self.base += 1;
        self.floor = self.floor.max(unit.to);
        self.records -= records_of(&unit);
        self.bytes -= bytes_of(&unit);
        let place = unit.track as usize;
        let Some(track) = self.tracks.get_mut(place).and_then(Option::as_mut) else { return true };
        if let Some(order) = self.orders.get_mut(&track.service.namespace) {
            order.units.pop_front();
            order.floor = unit.to;
            if order.units.is_empty() {
                self.orders.remove(&track.service.namespace);
            }
        }
        if track.last == number {
            self.index.remove(&track.service);
            self.tracks[place] = None;
            self.free.push(unit.track);
        }
        true
    }

    fn add_track(&mut self, service: &ServiceKey) -> u32 {
        let track = Track { service: service.clone(), last: 0, row: None };
        let place = match self.free.pop() {
            Some(place) => {
                self.tracks[place as usize] = Some(track);
                place
            }
            None => {
                self.tracks.push(Some(track));
                (self.tracks.len() - 1) as u32
            }
        };
        self.index.insert(service.clone(), place);
        place
    }

    /// Drops what is older than it has to be. `time_ms`: of any clock, always the same one.
    pub(super) fn sweep(&mut self, time_ms: u64) {
        let end = self.base + self.units.len() as u64;
        let step = self.limits.kept_ms / 16;
        if self.stamps.back().is_none_or(|(at, _)| time_ms >= at.saturating_add(step)) {
            self.stamps.push_back((time_ms, end));
        }
        let kept = self.limits.kept_ms;
        while let Some((_, upto)) = self.stamps.front().copied().filter(|(at, _)| time_ms >= at.saturating_add(kept)) {
            self.stamps.pop_front();
            while self.base < upto && self.drop_first() {}
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.units.capacity() / 4 > self.units.len() {
            self.units.shrink_to(self.units.len() * 2);
            self.orders.values_mut().for_each(|order| order.units.shrink_to_fit());
            self.index.shrink_to(self.index.len() * 2);
            while self.tracks.last().is_some_and(Option::is_none) {
                self.tracks.pop();
            }
            let end = self.tracks.len();
            self.free.retain(|place| (*place as usize) < end);
            self.tracks.shrink_to_fit();
            self.free.shrink_to_fit();
        }
    }

    fn unit(&self, number: u64) -> Option<&Unit> {
        self.units.get(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    fn track(&self, service: &ServiceKey) -> Option<&Track> {
        self.tracks.get(*self.index.get(service)? as usize)?.as_ref()
    }

    /// What somebody who has the state of a service at `at` missed, up to `upto`. `view`: the newest of that service.
    pub(super) fn since(&self, view: &Arc<View>, at: Revision, upto: Option<Revision>) -> Reach<Span> {
        let Some(track) = self.track(&view.service) else {
            // Its last change was before the history's time; that of a service that is not there is not known.
            let has_all = if view.row.is_some() { view.revision <= at } else { self.floor <= at };
            return if has_all { Reach::Nothing } else { Reach::Lost };
        };
        let missed_max = self.limits.missed_max.max(2 * view.counts.all as usize);
        let Some(mut units) = self.walk(track.last, at, missed_max) else { return Reach::Lost };
        if units.is_empty() {
            return Reach::Nothing;
        }
        let after = units.split_off(units.partition_point(|unit| upto.is_none_or(|upto| unit.to <= upto)));
        Reach::Found(Span { view: view.clone(), is_newest: after.is_empty(), within: units, after })
    }

    /// The units of a service from `number` back to those that somebody at `at` has, in order.
    fn walk(&self, number: u64, at: Revision, max: usize) -> Option<Vec<Unit>> {
        let mut units = Vec::new();
        let mut number = number;
        loop {
            let unit = self.unit(number)?;
            if unit.to <= at {
                break;
            }
            if units.len() == max {
                return None;
            }
            units.push(unit.clone());
            if unit.before <= at {
                break;
            }
            if unit.back == 0 {
                return None;
            }
            number -= u64::from(unit.back);
        }
        units.reverse();
        Some(units)
    }

    /// The first changes of a namespace above `at`, not beyond `upto`.
    pub(super) fn run(&self, namespace: &Namespace, at: Revision, upto: Revision) -> Reach<Run> {
        let Some(order) = self.orders.get(namespace) else {
            return if self.floor <= at { Reach::Nothing } else { Reach::Lost };
        };
        if order.floor > at {
            return Reach::Lost;
        }
        let first = order.units.partition_point(|number| self.unit(*number).is_none_or(|unit| unit.to <= at));
        let mut run: Option<(u32, u64, Revision)> = None;
        for number in order.units.range(first..).take(RUN_UNITS_MAX) {
            let Some(unit) = self.unit(*number) else { return Reach::Lost };
            if unit.to > upto {
                break;
            }
            match &mut run {
                None => run = Some((unit.track, *number, unit.to)),
                Some((track, last, to)) if *track == unit.track => (*last, *to) = (*number, unit.to),
                Some(_) => break,
            }
        }
        let Some((track, last, to)) = run else { return Reach::Nothing };
        let Some(track) = self.tracks.get(track as usize).and_then(Option::as_ref) else { return Reach::Lost };
        Reach::Found(Run { service: track.service.clone(), to, last })
    }

    /// Services of a namespace that were deleted after `at`; they may be there again.
    pub(super) fn deleted(&self, namespace: &Namespace, at: Revision) -> impl Iterator<Item = &ServiceKey> {
        let order = self.orders.get(namespace).map(|order| &order.units);
        let is_known = |number: &u64| self.unit(*number).is_none_or(|unit| unit.to <= at);
        let first = order.map_or(0, |order| order.partition_point(is_known));
        let units = order.into_iter().flat_map(move |order| order.range(first..));
        let gone = |unit: &&Unit| unit.row.as_ref().is_some_and(|row| row.new.is_none());
        let units = units.filter_map(|number| self.unit(*number)).filter(gone);
        units.filter_map(|unit| Some(&self.tracks.get(unit.track as usize)?.as_ref()?.service))
    }

    /// The units of a run above `at`. Those after it only if they are needed: always when `wants_after`, else when
    /// they changed the row.
    pub(super) fn run_span(&self, run: &Run, view: &Arc<View>, at: Revision, wants_after: bool) -> Reach<Span> {
        let Some(track) = self.track(&run.service) else { return Reach::Lost };
        let Some(within) = self.walk(run.last, at, usize::MAX) else { return Reach::Lost };
        if within.is_empty() {
            return Reach::Nothing;
        }
        let is_newest = track.last == run.last;
        let wants_after = !is_newest && (wants_after || track.row.is_some_and(|row| row > run.last));
        let missed_max = self.limits.missed_max.max(2 * view.counts.all as usize);
        let after = if wants_after { self.walk(track.last, run.to, missed_max) } else { Some(Vec::new()) };
        let Some(after) = after else { return Reach::Lost };
        Reach::Found(Span { view: view.clone(), within, after, is_newest })
    }
}

/// What the records did to each instance, by id.
fn changes(before: &View, records: &[Record]) -> Arc<[Change]> {
    let mut changes: Vec<(&InstanceId, Change)> = Vec::with_capacity(records.len());
    let mut places: Keyed<&InstanceId, usize> = Keyed::default();
    for record in records {
        let (id, new, removal) = match &record.what {
            Recorded::Put(instance) => (&instance.id, Some(instance.clone()), None),
            Recorded::Removed(id, removal) => (id, None, Some(Arc::new(removal.clone()))),
            Recorded::Service => continue,
        };
        // A frame mostly changes a service once, which needs no table.
        let place = if changes.len() < 8 {
            changes.iter().position(|(other, _)| *other == id)
        } else {
            if places.is_empty() {
                places.extend(changes.iter().enumerate().map(|(place, (id, _))| (*id, place)));
            }
            places.get(id).copied()
        };
        match place.and_then(|place| changes.get_mut(place)) {
            Some((_, change)) => {
                change.new = new;
                change.removal = removal.or(change.removal.take());
            }
            None => {
                places.extend((!places.is_empty()).then_some((id, changes.len())));
                changes.push((id, Change { old: before.get(id).cloned(), new, removal }));
            }
        }
    }
    changes.retain(|(_, change)| change.id().is_some());
    changes.sort_by_key(|(id, _)| *id);
    changes.into_iter().map(|(_, change)| change).collect()
}

fn records_of(unit: &Unit) -> usize {
    unit.changes.len().max(1)
}

/// What a unit costs, with the old instances that may have no other holder.
fn bytes_of(unit: &Unit) -> usize {
    let held = |change: &Change| {
        let old = change.old.as_ref().map_or(0, |old| size_of::<Instance>() + old.provider.heap_bytes());
        let removal = if change.removal.is_some() { size_of::<Removal>() } else { 0 };
        size_of::<Change>() + old + removal
    };
    let row = if unit.row.is_some() { 2 * size_of::<ServiceRow>() } else { 0 };
    size_of::<Unit>() + 2 * size_of::<u64>() + row + unit.changes.iter().map(held).sum::<usize>()
}
