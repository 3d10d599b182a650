//! Requests whose bodies have not come whole: how many, how large, how slow.
//!
//! They take nothing of the room of requests, so that one who begins and does not end holds up nobody who sends
//! promptly. Where there are too many, the slowest of the oldest gives way to the newest.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use compute::port::Clock;
use futures::task::AtomicWaker;
use metrics::{Counter, Gauge};

use super::budget::{Budget, Kind, Shares, Spent};
use super::{BodyLimits, lanes};
use crate::error::{Code, Problem};

/// So much of a body takes nothing of the bytes: as many bodies as there may be are small beside what they may hold.
pub(crate) const FREE_BYTES: usize = 4 << 10;
/// Up to this it is of the small ones, which have bytes of their own.
const SMALL_BYTES: usize = 64 << 10;
/// Which part of all bytes only small ones may take.
const SMALL_PART: usize = 4;
/// Younger ones never give way.
const PROMPT_MS: u64 = 1_000;
/// So many of the oldest are looked at for the slowest.
const LOOKED_AT: usize = 64;

const NAME: &str = "unfinished bodies";

/// All bodies of the process that are being read.
pub(super) struct Bodies {
    limits: BodyLimits,
    clock: Arc<dyn Clock>,
    unfinished: Mutex<BTreeMap<u64, Arc<Entry>>>,
    next: AtomicU64,
    small: Budget,
    large: Budget,
    held: Gauge,
    shed: Counter,
    slow: Counter,
}

struct Entry {
    began_ms: u64,
    bytes: AtomicUsize,
    has_given_way: AtomicBool,
    waker: AtomicWaker,
}

impl Bodies {
    pub(super) fn new(limits: BodyLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        metrics::gauge!("thuban_held_limit", "limit" => NAME).set(limits.unfinished_max as f64);
        let small_max = limits.bytes_max / SMALL_PART;
        let budget = |name, max| {
            let budget = Budget::new(name, Kind::Unshared, max, max);
            budget.show();
            budget
        };
        Arc::new(Self {
            small: budget("bytes of small unfinished bodies", small_max),
            large: budget("bytes of unfinished bodies", limits.bytes_max - small_max),
            limits,
            clock,
            unfinished: Mutex::default(),
            next: AtomicU64::new(0),
            held: metrics::gauge!("thuban_held", "limit" => NAME),
            shed: metrics::counter!("thuban_shed_total", "limit" => NAME),
            slow: metrics::counter!("thuban_slow_bodies_total"),
        })
    }

    pub(super) fn bytes(self: &Arc<Self>) -> BodyBytes {
        BodyBytes { bodies: Arc::clone(self), small: 0, large: 0 }
    }

    /// Room for one that has not come whole at once.
    pub(super) fn begin(self: &Arc<Self>, shares: Option<&Arc<Shares>>) -> Result<Reading, Problem> {
        let BodyLimits { unfinished_max, share_max, .. } = self.limits;
        let now_ms = self.clock.mono_ms();
        let mut unfinished = self.all();
        let of_connection = shares.map_or(0, |shares| shares.bodies.load(Relaxed));
        // While there is plenty of room a connection may have more: a burst of requests on one is nothing bad.
        if of_connection >= share_max && unfinished.len() >= unfinished_max / 2 {
            drop(unfinished);
            return self.refuse(Spent::Share(share_max));
        }
        if unfinished.len() >= unfinished_max {
            let Some(slowest) = slowest(&unfinished, now_ms) else {
                drop(unfinished);
                return self.refuse(Spent::All(unfinished_max));
            };
            if let Some(entry) = unfinished.remove(&slowest) {
                entry.has_given_way.store(true, Release);
                entry.waker.wake();
                self.held.decrement(1);
                self.slow.increment(1);
            }
        }
        let id = self.next.fetch_add(1, Relaxed);
        let entry = Arc::new(Entry {
            began_ms: now_ms,
            bytes: AtomicUsize::new(0),
            has_given_way: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        unfinished.insert(id, Arc::clone(&entry));
        drop(unfinished);
        self.held.increment(1);
        if let Some(shares) = shares {
            shares.bodies.fetch_add(1, AcqRel);
        }
        Ok(Reading { bodies: Arc::clone(self), id, entry, shares: shares.cloned() })
    }

    fn refuse<T>(&self, spent: Spent) -> Result<T, Problem> {
        self.shed.increment(1);
        Err(spent.overloaded(NAME))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Entry>>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one among the oldest that brought the least for its age.
fn slowest(unfinished: &BTreeMap<u64, Arc<Entry>>, now_ms: u64) -> Option<u64> {
    let age = |entry: &Entry| now_ms.saturating_sub(entry.began_ms);
    let old = unfinished.iter().take(LOOKED_AT).filter(|(_, entry)| age(entry) >= PROMPT_MS);
    let pace = |entry: &Entry| entry.bytes.load(Relaxed) as u64 * 1_000 / age(entry).max(1);
    old.min_by_key(|(_, entry)| pace(entry)).map(|(id, _)| *id)
}

/// One body that is being read; dropping it gives its room back.
pub(crate) struct Reading {
    bodies: Arc<Bodies>,
    id: u64,
    entry: Arc<Entry>,
    shares: Option<Arc<Shares>>,
}

impl Reading {
    /// So much has come, in all.
    pub(crate) fn came(&self, bytes: usize) {
        self.entry.bytes.store(bytes, Relaxed);
    }

    /// Resolves when it is slower than it may be, or has to give way. Until then more may come.
    pub(crate) async fn too_slow(&self) -> Problem {
        let given_way = poll_fn(|cx| {
            if self.entry.has_given_way.load(Acquire) {
                return Poll::Ready(());
            }
            self.entry.waker.register(cx.waker());
            if self.entry.has_given_way.load(Acquire) { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::select! {
            () = given_way => {
                let detail = "the body did not come, and others came that needed its place; try again";
                Problem::new(Code::Overloaded, detail).retry_after(lanes::RETRY_AFTER)
            }
            () = self.out_of_time() => {
                let BodyLimits { grace, bytes_per_second, .. } = self.bodies.limits;
                self.bodies.slow.increment(1);
                slow(grace, bytes_per_second)
            }
        }
    }

    async fn out_of_time(&self) {
        let BodyLimits { grace, bytes_per_second, .. } = self.bodies.limits;
        loop {
            let brought_ms = self.entry.bytes.load(Relaxed) as u64 * 1_000 / bytes_per_second.max(1) as u64;
            let until = self.entry.began_ms.saturating_add(grace.as_millis() as u64).saturating_add(brought_ms);
            if until <= self.bodies.clock.mono_ms() {
                return;
            }
            // What comes meanwhile gives it more.
            self.bodies.clock.sleep_until(until).await;
        }
    }
}

fn slow(grace: Duration, bytes_per_second: usize) -> Problem {
    let detail = format!(
        "the body did not arrive in time: after {} ms it must come with {bytes_per_second} bytes a second or more",
        grace.as_millis()
    );
    Problem::new(Code::RequestTimeout, detail).about("body")
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.bodies.all().remove(&self.id).is_some() {
            self.bodies.held.decrement(1);
        }
        if let Some(shares) = &self.shares {
            shares.bodies.fetch_sub(1, AcqRel);
        }
    }
}

/// The bytes that one body takes up.
pub(crate) struct BodyBytes {
    bodies: Arc<Bodies>,
    small: usize,
    large: usize,
}

impl BodyBytes {
    /// Makes it so many; where there is no room for them, it is refused.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), Problem> {
        let (small, large) = match bytes {
            0..=FREE_BYTES => (0, 0),
            bytes if bytes <= SMALL_BYTES => (bytes, 0),
            bytes => (0, bytes),
        };
        let changed = self.bodies.large.change(None, &mut self.large, large);
        let changed = changed.and_then(|()| self.bodies.small.change(None, &mut self.small, small));
        changed.map_err(|spent| spent.overloaded("the bytes of unfinished bodies"))
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        // Less is never refused.
        let _ = self.set(0);
    }
}
