use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge};

use super::{Config, Identity};
use crate::error::{Code, Problem};

/// When one who was shed should come back.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

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
    /// Whose part of the renewals it is.
    of: Option<Identity>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.lanes.leave(self.lane);
        if let Some(identity) = &self.of {
            identity.renewals().fetch_sub(1, Ordering::Relaxed);
        }
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
        self.refuse()
    }

    fn refuse(&self) -> Result<(), Problem> {
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

    pub(super) fn enter(self: &Arc<Self>, identity: &Identity, lane: Lane) -> Result<Permit, Problem> {
        // One token of several has half of the renewals at most: the others' go on, whatever it does.
        let of = (lane == Lane::Renew && identity.digest().is_some()).then(|| identity.clone());
        if let Some(identity) = &of
            && identity.renewals().fetch_add(1, Ordering::Relaxed) >= self.renewals.max.div_ceil(2)
        {
            identity.renewals().fetch_sub(1, Ordering::Relaxed);
            self.renewals.refuse()?;
        }
        let taken = self.take(lane);
        if let (Err(_), Some(identity)) = (&taken, &of) {
            identity.renewals().fetch_sub(1, Ordering::Relaxed);
        }
        taken?;
        Ok(Permit { _taken: Arc::new(Taken { lanes: Arc::clone(self), lane, of }) })
    }

    fn take(&self, lane: Lane) -> Result<(), Problem> {
        match lane {
            Lane::Read => self.requests.take(),
            Lane::Write => {
                self.writes.take()?;
                self.requests.take().inspect_err(|_| self.writes.give_back())
            }
            Lane::Renew => self.renewals.take(),
            Lane::Wait => self.waiting.take(),
        }
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
