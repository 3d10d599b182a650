//! Which lease is probed next, and what a result means. Pure: time, chance and results are given.
//!
//! Each lease has a grid of slots, one an interval, with a phase of its own; a probe starts near its slot, and the small
//! distance never adds up, so that `failures` slots take `failures` intervals and no longer. A probe that outlasts its
//! interval stands for the slots that passed meanwhile: at most one is under way for a lease, and its verdict still
//! comes as early as if there were one in each slot.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{Check, Instance, InstanceKey, Lease, Position};
use crate::node::link::CheckWord;
use crate::port::Chance;
use crate::port::clock::MonoMs;

use super::CheckEvent;

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
    flights_max: usize,
    /// Slow targets, and those not known yet, never take the last quarter of the places from prompt ones.
    slow_flights_max: usize,
    by_key: HashMap<InstanceKey, WatchNo>,
    watches: HashMap<WatchNo, Watch>,
    prompt: BTreeSet<(MonoMs, WatchNo)>,
    slow: BTreeSet<(MonoMs, WatchNo)>,
    flights: HashMap<FlightNo, Flight>,
    slow_flights: usize,
    last_number: u64,
}

struct Watch {
    key: InstanceKey,
    instance: Arc<Instance>,
    stage: Stage,
    /// The slot behind the one that is waited for, or that the probe under way is for.
    next_slot: MonoMs,
    is_slow: bool,
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
    started: MonoMs,
    is_slow: bool,
}

impl Schedule {
    pub(super) fn new(flights_max: usize, booted: Position) -> Self {
        let flights_max = flights_max.max(1);
        Self {
            booted,
            flights_max,
            slow_flights_max: flights_max - flights_max / 4,
            by_key: HashMap::new(),
            watches: HashMap::new(),
            prompt: BTreeSet::new(),
            slow: BTreeSet::new(),
            flights: HashMap::new(),
            slow_flights: 0,
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
        let watch = Watch {
            key: key.clone(),
            instance,
            stage: Stage::Waiting { due },
            next_slot,
            is_slow: true,
            failures: 0,
            successes: 0,
            accused: false,
        };
        self.slow.insert((due, number));
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
            self.queue(watch.is_slow).remove(&(due, number));
        }
        Some(watch)
    }

    /// The probe that is due longest, if there is a place for it.
    pub(super) fn start(&mut self, now: MonoMs) -> Option<Launch> {
        let (due, number) = self.first().filter(|(due, _)| *due <= now)?;
        let flight = FlightNo(self.number());
        let watch = self.watches.get_mut(&number).expect("queued while it is watched");
        watch.stage = Stage::Flying(flight);
        let (instance, is_slow) = (watch.instance.clone(), watch.is_slow);
        self.queue(is_slow).remove(&(due, number));
        self.slow_flights += usize::from(is_slow);
        self.flights.insert(flight, Flight { watch: number, started: now, is_slow });
        Some(Launch { flight, instance, late_ms: now - due })
    }

    /// When the next probe is due that there is a place for.
    pub(super) fn wake_at(&self) -> Option<MonoMs> {
        self.first().map(|(due, _)| due)
    }

    fn first(&self) -> Option<(MonoMs, WatchNo)> {
        if self.flights.len() >= self.flights_max {
            return None;
        }
        let slow = self.slow.first().filter(|_| self.slow_flights < self.slow_flights_max);
        self.prompt.first().into_iter().chain(slow).min().copied()
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
        self.slow_flights -= usize::from(flight.is_slow);
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
        watch.is_slow = took >= SLOW_MS;
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
        let is_slow = watch.is_slow;
        self.queue(is_slow).insert((due, number));
    }

    pub(super) fn watched(&self) -> usize {
        self.watches.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// How long the probe that is due longest has been waiting.
    pub(super) fn lag_ms(&self, now: MonoMs) -> u64 {
        let due = self.prompt.first().into_iter().chain(self.slow.first()).min();
        due.map_or(0, |(due, _)| now.saturating_sub(*due))
    }

    fn queue(&mut self, is_slow: bool) -> &mut BTreeSet<(MonoMs, WatchNo)> {
        if is_slow { &mut self.slow } else { &mut self.prompt }
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
pub(super) fn port_of(instance: &Instance, check: &Check) -> u16 {
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

fn jitter(interval: u64) -> u64 {
    (interval / 10).min(JITTER_MS_MAX)
}

#[cfg(test)]
pub(super) mod tests;
