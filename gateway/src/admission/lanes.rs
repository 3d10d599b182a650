use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge};

use super::Config;
use crate::error::{Code, Problem};

/// When one who was shed should come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Which room a piece of work takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    Read,
    /// Counts among all requests and among the writes.
    Write,
    /// Shed last: it counts by itself alone.
    Renew,
    /// A read that waits, or a stream.
    Wait,
}

/// Room for one piece of work; dropping it, and all its clones, gives the room back.
#[derive(Clone, Debug)]
pub struct Permit {
    _taken: Arc<Taken>,
}

#[derive(Debug)]
struct Taken {
    lanes: Arc<Lanes>,
    lane: Lane,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.lanes.leave(self.lane);
    }
}

#[derive(Debug)]
struct Room {
    name: &'static str,
    taken: AtomicUsize,
    max: usize,
    gauge: Gauge,
    shed: Counter,
}

impl Room {
    fn new(name: &'static str, max: usize) -> Self {
        metrics::gauge!("thuban_in_flight_limit", "limit" => name).set(max as f64);
        Self {
            name,
            taken: AtomicUsize::new(0),
            max,
            gauge: metrics::gauge!("thuban_in_flight", "limit" => name),
            shed: metrics::counter!("thuban_shed_total", "limit" => name),
        }
    }

    fn take(&self) -> Result<(), Problem> {
        if self.taken.fetch_add(1, Ordering::Relaxed) < self.max {
            self.gauge.increment(1);
            return Ok(());
        }
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.shed.increment(1);
        let detail = format!("the {} of this node are at their limit of {}; try again", self.name, self.max);
        Err(Problem::new(Code::Overloaded, detail).retry_after(RETRY_AFTER))
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.gauge.decrement(1);
    }
}

#[derive(Debug)]
pub(super) struct Lanes {
    requests: Room,
    writes: Room,
    renewals: Room,
    waiting: Room,
}

impl Lanes {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            requests: Room::new("requests", config.in_flight_max),
            writes: Room::new("writes", config.writes_max),
            renewals: Room::new("renewals", config.renewals_max),
            waiting: Room::new("waiting reads and streams", config.waiting_max),
        }
    }

    pub(super) fn enter(self: &Arc<Self>, lane: Lane) -> Result<Permit, Problem> {
        match lane {
            Lane::Read => self.requests.take()?,
            Lane::Write => {
                self.writes.take()?;
                self.requests.take().inspect_err(|_| self.writes.give_back())?;
            }
            Lane::Renew => self.renewals.take()?,
            Lane::Wait => self.waiting.take()?,
        }
        Ok(Permit { _taken: Arc::new(Taken { lanes: Arc::clone(self), lane }) })
    }

    fn leave(&self, lane: Lane) {
        match lane {
            Lane::Read => self.requests.give_back(),
            Lane::Write => {
                self.requests.give_back();
                self.writes.give_back();
            }
            Lane::Renew => self.renewals.give_back(),
            Lane::Wait => self.waiting.give_back(),
        }
    }
}
