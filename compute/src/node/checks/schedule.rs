//! Which lease is probed next, and what a result means. Pure: time, chance and results are given.
//!
//! Each lease has a grid of slots, one an interval, with a phase of its own; a probe starts near its slot, and the small
//! distance never adds up, so that `failures` slots take `failures` intervals and no longer. A probe that outlasts its
//! interval stands for the slots that passed meanwhile: at most one is under way for a lease, and its verdict still
//! comes as early as if there were one in each slot.
//!
//! While places suffice, everything is probed when it is due. When they do not, first probes and those of targets that
//! answer promptly come first, and who waits for an answer longer than they would gives up its place to them: its probe
//! is called off and made again as a slow one. So a first probe is late by no more than [`SLOW_MS`] for every so many
//! others as there are places for unknown targets, whatever those do. What has no bound: probes of slow targets, where
//! those take longer, all in all, than there are places for; the lag shows it.

mod lanes;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{Check, Instance, InstanceKey, Lease, Position};
use crate::node::link::CheckWord;
use crate::port::Chance;
use crate::port::clock::MonoMs;

use super::CheckEvent;
use lanes::{Class, Lanes, Parties};

/// A first probe, and one in the place of a void one, comes within this time.
const SOON_MS: u64 = 1_000;
/// A probe starts at most this far from its slot, to either side: a tenth of the interval, but no more than this.
const JITTER_MS_MAX: u64 = 500;
/// Who kept its last probe waiting this long is slow.
const SLOW_MS: u64 = 250;
/// A failure that is reported this long after its timeout tells of this node, which was late itself.
const LATE_MS_MAX: u64 = 1_000;

/// Names one probe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct FlightNo(u64);

/// Names one stretch of one lease under one check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct WatchNo(u64);

/// A probe to be made now.
pub(super) struct Launch {
    pub(super) flight: FlightNo,
    pub(super) instance: Arc<Instance>,
    /// How long it had to wait for others.
    pub(super) late_ms: u64,
}

/// What came of a probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Finding {
    Good,
    Bad(Box<str>),
    /// Nothing was learnt: it was called off, or broke by itself.
    Void,
}

pub(super) struct Schedule {
    /// Leases from before this node started are spread over their interval.
    booted: Position,
    by_key: HashMap<InstanceKey, WatchNo>,
    watches: HashMap<WatchNo, Watch>,
    lanes: Lanes,
    flights: HashMap<FlightNo, Flight>,
    /// Those of prompt and of unknown targets, which must give up their places when others want them.
    lent: [BTreeSet<(MonoMs, FlightNo)>; 2],
    /// One that had to, and has not ended yet.
    recalled: Option<FlightNo>,
    last_number: u64,
}

struct Watch {
    key: InstanceKey,
    instance: Arc<Instance>,
    stage: Stage,
    /// The slot behind the one that is waited for, or that the probe under way is for.
    next_slot: MonoMs,
    class: Class,
    parties: Parties,
    failures: u64,
    successes: u64,
    /// It was told as failed, and nothing since.
    accused: bool,
}

#[derive(Clone, Copy)]
enum Stage {
    Waiting { due: MonoMs },
    Flying(FlightNo),
}

struct Flight {
    watch: WatchNo,
    due: MonoMs,
    started: MonoMs,
    class: Class,
    parties: Parties,
}

impl Schedule {
    pub(super) fn new(flights_max: usize, booted: Position) -> Self {
        Self {
            booted,
            by_key: HashMap::new(),
            watches: HashMap::new(),
            lanes: Lanes::new(flights_max),
            flights: HashMap::new(),
            lent: Default::default(),
            recalled: None,
            last_number: 0,
        }
    }

    /// Takes note of what became of a lease. What comes back is to be called off; it keeps its place until
    /// [`Schedule::finish`].
    pub(super) fn take(&mut self, event: CheckEvent, now: MonoMs, chance: &dyn Chance) -> Option<FlightNo> {
        match event {
            CheckEvent::Began { key, instance } => self.begin(key, instance, now, chance),
            CheckEvent::Ended { key, generation } => {
                let number = *self.by_key.get(&key)?;
                let is_meant = self.watches.get(&number).is_some_and(|w| w.instance.generation <= generation);
                if is_meant { flying(self.remove(&key)?.stage) } else { None }
            }
            CheckEvent::Cleared { key } => self.clear(&key, now, chance),
        }
    }

    fn begin(
        &mut self,
        key: InstanceKey,
        instance: Arc<Instance>,
        now: MonoMs,
        chance: &dyn Chance,
    ) -> Option<FlightNo> {
        if let Some(watch) = self.by_key.get(&key).and_then(|number| self.watches.get_mut(number))
            && is_same_target(&watch.instance, &instance)
        {
            watch.instance = instance;
            return None;
        }
        let old = self.remove(&key).map(|watch| watch.stage);
        let interval = interval_of(check_of(&instance)?);
        let (mut due, next_slot) = if instance.revision.position() <= self.booted {
            let due = now + chance.below(interval);
            (due, due + interval)
        } else {
            // Those that come together are spread from their second slot on.
            let due = now + chance.below(interval.min(SOON_MS));
            (due, due + interval / 2 + chance.below(interval / 2 + 1))
        };
        if let Some(Stage::Waiting { due: earlier }) = old {
            // Who registers over and over must not escape its probe.
            due = due.min(earlier);
        }
        let number = WatchNo(self.number());
        let parties = self.lanes.parties(&key, &instance);
        let watch = Watch {
            key: key.clone(),
            instance,
            stage: Stage::Waiting { due },
            next_slot,
            class: Class::Unknown,
            parties,
            failures: 0,
            successes: 0,
            accused: false,
        };
        self.lanes.wait(Class::Unknown, (due, number), parties);
        self.watches.insert(number, watch);
        self.by_key.insert(key, number);
        old.and_then(flying)
    }

    fn clear(&mut self, key: &InstanceKey, now: MonoMs, chance: &dyn Chance) -> Option<FlightNo> {
        let number = *self.by_key.get(key)?;
        let watch = self.watches.get_mut(&number)?;
        watch.failures = 0;
        watch.successes = 0;
        watch.accused = false;
        // What began before the clearing may have seen what was before it.
        let called_off = flying(watch.stage)?;
        self.retry(number, now, chance);
        Some(called_off)
    }

    fn remove(&mut self, key: &InstanceKey) -> Option<Watch> {
        let number = self.by_key.remove(key)?;
        let watch = self.watches.remove(&number)?;
        if let Stage::Waiting { due } = watch.stage {
            self.lanes.forget(watch.class, (due, number), watch.parties);
        }
        Some(watch)
    }

    /// The probe that goes next, if one is due that there is a place for.
    pub(super) fn start(&mut self, now: MonoMs) -> Option<Launch> {
        let (class, (due, number)) = self.lanes.start(now)?;
        let flight = FlightNo(self.number());
        let watch = self.watches.get_mut(&number).expect("queued while it is watched");
        watch.stage = Stage::Flying(flight);
        let (instance, parties) = (watch.instance.clone(), watch.parties);
        if let Some(lent) = lent(class) {
            self.lent[lent].insert((now, flight));
        }
        self.flights.insert(flight, Flight { watch: number, due, started: now, class, parties });
        Some(Launch { flight, instance, late_ms: now - due })
    }

    /// A probe that has to give up its place, as somebody is due who has none: to be called off. One at a time: the next
    /// when this one has ended.
    pub(super) fn recall(&mut self, now: MonoMs) -> Option<FlightNo> {
        let (_, flight) = self.recallable().filter(|(at, _)| *at <= now)?;
        let Flight { watch: number, due, started, .. } = *self.flights.get(&flight)?;
        self.lent.iter_mut().for_each(|lent| _ = lent.remove(&(started, flight)));
        self.recalled = Some(flight);
        if let Some(watch) = self.watches.get_mut(&number)
            && flying(watch.stage) == Some(flight)
        {
            watch.class = Class::Slow;
            self.wait(number, due);
        }
        Some(flight)
    }

    /// The next that has to give up its place, and when: it may keep it for as long as a prompt answer takes.
    fn recallable(&self) -> Option<(MonoMs, FlightNo)> {
        let (due, classes) = self.lanes.wants().filter(|_| self.recalled.is_none())?;
        let oldest = classes.iter().filter_map(|class| self.lent[lent(*class)?].first()).min()?;
        Some((due.max(oldest.0 + SLOW_MS), oldest.1))
    }

    /// When the next probe is due that there is a place for, or that one is to be made for.
    pub(super) fn wake_at(&self) -> Option<MonoMs> {
        let recall = self.recallable().map(|(at, _)| at);
        self.lanes.wake_at().into_iter().chain(recall).min()
    }

    /// Every launch ends here, also one that was called off. What comes back is for the applier.
    pub(super) fn finish(
        &mut self,
        number: FlightNo,
        finding: Finding,
        now: MonoMs,
        chance: &dyn Chance,
    ) -> Option<CheckWord> {
        let flight = self.flights.remove(&number)?;
        self.lanes.end(flight.class, flight.parties);
        self.lent.iter_mut().for_each(|lent| _ = lent.remove(&(flight.started, number)));
        self.recalled = self.recalled.filter(|recalled| *recalled != number);
        let watch = self.watches.get_mut(&flight.watch).filter(|w| flying(w.stage) == Some(number))?;
        let check = check_of(&watch.instance)?;
        let (interval, timeout) = (interval_of(check), u64::from(check.timeout_ms));
        let took = now - flight.started;
        let is_void = match &finding {
            Finding::Good => false,
            Finding::Bad(_) => took > timeout + LATE_MS_MAX,
            Finding::Void => true,
        };
        if is_void {
            self.retry(flight.watch, now, chance);
            return None;
        }
        watch.class = if took >= SLOW_MS { Class::Slow } else { Class::Prompt };
        let missed = watch.pass_slots(interval, now);
        let word = match finding {
            Finding::Bad(detail) => {
                let outlasted = (took.min(timeout).saturating_sub(1) / interval).min(missed);
                watch.fail(1 + outlasted, detail)
            }
            Finding::Good | Finding::Void => watch.succeed(),
        };
        let half = jitter(interval);
        let slot = watch.next_slot - interval;
        let due = now.max((slot + chance.below(2 * half + 1)).saturating_sub(half));
        self.wait(flight.watch, due);
        word
    }

    /// Probes once more, soon, without a change to the slots.
    fn retry(&mut self, number: WatchNo, now: MonoMs, chance: &dyn Chance) {
        let Some(check) = self.watches.get(&number).and_then(|w| check_of(&w.instance)) else { return };
        let due = now + chance.below(interval_of(check).min(SOON_MS));
        self.wait(number, due);
    }

    fn wait(&mut self, number: WatchNo, due: MonoMs) {
        let Some(watch) = self.watches.get_mut(&number) else { return };
        watch.stage = Stage::Waiting { due };
        self.lanes.wait(watch.class, (due, number), watch.parties);
    }

    pub(super) fn watched(&self) -> usize {
        self.watches.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.lanes.in_flight()
    }

    /// How long the probe that is due longest has been waiting.
    pub(super) fn lag_ms(&self, now: MonoMs) -> u64 {
        self.lanes.first_due().map_or(0, |due| now.saturating_sub(due))
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

impl Watch {
    /// Goes on to the next slot that can still be met, and says how many were missed on the way.
    fn pass_slots(&mut self, interval: u64, now: MonoMs) -> u64 {
        let earliest = now.saturating_sub(jitter(interval));
        let missed = earliest.saturating_sub(self.next_slot).div_ceil(interval);
        self.next_slot += (missed + 1) * interval;
        missed
    }

    fn fail(&mut self, count: u64, detail: Box<str>) -> Option<CheckWord> {
        self.successes = 0;
        self.failures += count;
        let threshold = check_of(&self.instance)?.failures;
        if self.failures < u64::from(threshold) {
            return None;
        }
        // Told again by each further failure: the applier may not have been able to act on the last word.
        self.accused = true;
        Some(self.word(Some(detail)))
    }

    fn succeed(&mut self) -> Option<CheckWord> {
        self.failures = 0;
        self.successes += 1;
        let threshold = check_of(&self.instance)?.successes;
        // The mark of the suspicion itself is asked, not only what was told: a suspicion may be from before a restart,
        // or be logged after the word that took it back.
        let is_suspect = self.instance.cell.is_suspect();
        if self.successes < u64::from(threshold) || !(self.accused || is_suspect) {
            return None;
        }
        self.accused = false;
        Some(self.word(None))
    }

    fn word(&self, failed: Option<Box<str>>) -> CheckWord {
        CheckWord { key: self.key.clone(), generation: self.instance.generation, failed }
    }
}

pub(super) fn check_of(instance: &Instance) -> Option<&Check> {
    match instance.lease() {
        Lease::Checked { check, .. } => Some(check),
        Lease::Ttl { .. } | Lease::Stream { .. } | Lease::Permanent => None,
    }
}

fn interval_of(check: &Check) -> u64 {
    u64::from(check.interval_ms).max(1)
}

/// The port that a probe calls.
pub(in crate::node) fn port_of(instance: &Instance, check: &Check) -> u16 {
    check.port.unwrap_or(instance.provider.port())
}

/// Whether what was found of one holds for the other.
fn is_same_target(one: &Instance, other: &Instance) -> bool {
    let (Some(a), Some(b)) = (check_of(one), check_of(other)) else { return false };
    let same_address = one.provider.host() == other.provider.host() && port_of(one, a) == port_of(other, b);
    one.generation == other.generation && a == b && same_address
}

fn flying(stage: Stage) -> Option<FlightNo> {
    match stage {
        Stage::Flying(flight) => Some(flight),
        Stage::Waiting { .. } => None,
    }
}

/// Which of the places that must be given up when others want them.
fn lent(class: Class) -> Option<usize> {
    match class {
        Class::Prompt => Some(0),
        Class::Unknown => Some(1),
        Class::Slow => None,
    }
}

fn jitter(interval: u64) -> u64 {
    (interval / 10).min(JITTER_MS_MAX)
}

#[cfg(test)]
pub(super) mod tests;
