//! Probing `checked` leases: which are due, how many fail in a row, and what is said to the applier about it.
//!
//! The checker decides nothing about an instance. It tells the applier when a threshold is reached, and the applier
//! asks the log.

mod schedule;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::model::{Instance, InstanceKey, Position, Revision};
use crate::port::clock::MonoMs;
use crate::port::prober::Probed;
use crate::port::{Chance, Clock, Prober};

use super::latest;
use super::link::Link;
use schedule::{Finding, FlightNo, Launch, Schedule, check_of, port_of};

/// Events taken at once.
const EVENTS_MAX: usize = 1_024;
/// A prober that has not come back this long after the timeout is not waited for.
const OVERTIME: Duration = Duration::from_millis(500);
/// A probe that started later than this counts as late.
const LATE_MS: u64 = 1_000;

/// What the checker must know of leases.
pub(crate) enum CheckEvent {
    /// A checked lease starts, or something of it changed: what is probed, or anything else.
    Began {
        key: InstanceKey,
        instance: Arc<Instance>,
    },
    Ended {
        key: InstanceKey,
        generation: Revision,
    },
    /// Its suspicion was refuted or taken back by a register: what was counted before no longer counts.
    Cleared {
        key: InstanceKey,
    },
}

/// The applier's end of the checker.
#[derive(Clone)]
pub(crate) struct Feed {
    news: latest::Sender<InstanceKey, News>,
}

impl Feed {
    pub(crate) fn new() -> (Self, latest::Receiver<InstanceKey, News>) {
        let (news, end) = latest::lane();
        (Self { news }, end)
    }

    pub(crate) fn tell(&self, event: CheckEvent) {
        match event {
            CheckEvent::Began { key, instance } => self.news.put(key, |news| news.began = Some(instance)),
            CheckEvent::Ended { key, generation } => self.news.put(key, |news| news.end(generation)),
            CheckEvent::Cleared { key } => self.news.put(key, |news| news.cleared = true),
        }
    }

    /// Leases of which the checker has not heard yet.
    pub(crate) fn len(&self) -> usize {
        self.news.len()
    }
}

/// What happened to one lease since the checker last looked.
#[derive(Default)]
pub(crate) struct News {
    ended: Option<Revision>,
    /// After that.
    began: Option<Arc<Instance>>,
    cleared: bool,
}

impl News {
    fn end(&mut self, generation: Revision) {
        self.ended = Some(generation);
        if self.began.as_ref().is_some_and(|began| began.generation <= generation) {
            self.began = None;
            self.cleared = false;
        }
    }

    fn events(self, key: InstanceKey) -> impl Iterator<Item = CheckEvent> {
        let ended = self.ended.map(|generation| CheckEvent::Ended { key: key.clone(), generation });
        let began = self.began.map(|instance| CheckEvent::Began { key: key.clone(), instance });
        let cleared = self.cleared.then_some(CheckEvent::Cleared { key });
        [ended, began, cleared].into_iter().flatten()
    }
}

/// The task that probes.
pub(crate) struct Checker {
    pub(crate) prober: Arc<dyn Prober>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
    /// Where its words go.
    pub(crate) link: Link,
    /// Probes under way at once.
    pub(crate) probes_max: usize,
    /// What this node had applied when it started: leases from before are not all probed at once.
    pub(crate) booted: Position,
}

impl Checker {
    /// Runs until the applier is gone.
    pub(crate) async fn run(self, mut news: latest::Receiver<InstanceKey, News>) {
        let mut schedule = Schedule::new(self.probes_max, self.booted);
        let mut probes = Probes::default();
        let metrics = Metrics::new();
        loop {
            let now = self.clock.mono_ms();
            while let Some(launch) = schedule.start(now) {
                metrics.started(launch.late_ms);
                probes.launch(&self, launch);
            }
            if let Some(flight) = schedule.recall(now) {
                probes.call_off(flight);
            }
            metrics.put(&schedule, now);
            tokio::select! {
                biased;
                (flight, ended) = probes.next() => {
                    let finding = metrics.ended(ended);
                    if let Some(word) = schedule.finish(flight, finding, self.clock.mono_ms(), &*self.chance) {
                        tracing::debug!(instance = %word.key, failed = word.failed.as_deref(), "checked");
                        self.link.check(word);
                    }
                }
                taken = news.take(EVENTS_MAX) => {
                    let Some(taken) = taken else { return };
                    let now = self.clock.mono_ms();
                    for event in taken.into_iter().flat_map(|(key, news)| news.events(key)) {
                        if let Some(flight) = schedule.take(event, now, &*self.chance) {
                            probes.call_off(flight);
                        }
                    }
                }
                () = self.until(schedule.wake_at()) => {}
            }
        }
    }

    async fn until(&self, at: Option<MonoMs>) {
        match at {
            Some(at) => self.clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// How many microseconds a probe took, and what it found; or how it broke.
type Ended = Result<(u64, Probed), JoinError>;

/// The probes under way. Dropping it ends them all.
#[derive(Default)]
struct Probes {
    tasks: JoinSet<(u64, Probed)>,
    flights: HashMap<tokio::task::Id, FlightNo>,
    handles: HashMap<FlightNo, AbortHandle>,
}

impl Probes {
    fn launch(&mut self, checker: &Checker, launch: Launch) {
        let (prober, clock) = (checker.prober.clone(), checker.clock.clone());
        let Launch { flight, instance, .. } = launch;
        let handle = self.tasks.spawn(async move {
            let started = clock.mono_us();
            let probed = probe(&*prober, &*clock, &instance).await;
            (clock.mono_us() - started, probed)
        });
        self.flights.insert(handle.id(), flight);
        self.handles.insert(flight, handle);
    }

    fn call_off(&self, flight: FlightNo) {
        if let Some(handle) = self.handles.get(&flight) {
            handle.abort();
        }
    }

    /// The next that ends, whichever way; never, while none is under way.
    async fn next(&mut self) -> (FlightNo, Ended) {
        let Some(ended) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        let (id, outcome) = match ended {
            Ok((id, probed)) => (id, Ok(probed)),
            Err(error) => (error.id(), Err(error)),
        };
        let flight = self.flights.remove(&id).expect("noted when it was spawned");
        self.handles.remove(&flight);
        (flight, outcome)
    }
}

/// Probes an instance whose lease is checked. A prober that does not come back is a failure.
pub(super) async fn probe(prober: &dyn Prober, clock: &dyn Clock, instance: &Instance) -> Probed {
    let check = check_of(instance).expect("only checked leases are scheduled");
    let timeout = Duration::from_millis(u64::from(check.timeout_ms));
    tokio::select! {
        biased;
        probed = prober.probe(instance.provider.host(), port_of(instance, check), check) => probed,
        () = clock.sleep(timeout + OVERTIME) => {
            Probed::Failure(format!("no answer within {} ms", check.timeout_ms).into())
        }
    }
}

struct Metrics {
    successes: Counter,
    failures: Counter,
    forbidden: Counter,
    called_off: Counter,
    broken: Counter,
    late: Counter,
    seconds: Histogram,
    in_flight: Gauge,
    watched: Gauge,
    lag: Gauge,
}

impl Metrics {
    fn new() -> Self {
        Self {
            successes: counter!("thuban_probes_total", "result" => "success"),
            failures: counter!("thuban_probes_total", "result" => "failure"),
            forbidden: counter!("thuban_probes_total", "result" => "forbidden"),
            called_off: counter!("thuban_probes_total", "result" => "called_off"),
            broken: counter!("thuban_probes_total", "result" => "broken"),
            late: counter!("thuban_probes_late_total"),
            seconds: histogram!("thuban_probe_seconds"),
            in_flight: gauge!("thuban_probes_in_flight"),
            watched: gauge!("thuban_probes_scheduled"),
            lag: gauge!("thuban_probe_lag_seconds"),
        }
    }

    fn started(&self, late_ms: u64) {
        if late_ms > LATE_MS {
            self.late.increment(1);
        }
    }

    fn ended(&self, ended: Ended) -> Finding {
        let (us, probed) = match ended {
            Ok(probed) => probed,
            Err(error) if error.is_cancelled() => {
                self.called_off.increment(1);
                return Finding::Void;
            }
            Err(error) => {
                tracing::error!(%error, "a probe broke");
                self.broken.increment(1);
                return Finding::Void;
            }
        };
        self.seconds.record(us as f64 / 1_000_000.0);
        match probed {
            Probed::Success => {
                self.successes.increment(1);
                Finding::Good
            }
            Probed::Failure(detail) => {
                self.failures.increment(1);
                Finding::Bad(detail)
            }
            Probed::Forbidden(detail) => {
                self.forbidden.increment(1);
                Finding::Bad(detail)
            }
        }
    }

    fn put(&self, schedule: &Schedule, now: MonoMs) {
        self.in_flight.set(schedule.in_flight() as f64);
        self.watched.set(schedule.watched() as f64);
        self.lag.set(schedule.lag_ms(now) as f64 / 1000.0);
    }
}

#[cfg(test)]
mod tests;
