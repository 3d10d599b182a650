//! What everybody in a run shares: one clock that stands still while anybody has something to do, one source of chance,
//! and the trace of all that happened.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use compute::port::clock::SystemClock;
use compute::port::{Chance, Clock};
use compute::testing::SeededChance;

use super::calm::Calm;
use super::storm::Storm;

#[derive(Clone)]
pub(super) struct Sim {
    /// Of a runtime whose time is paused: it moves to the next timer when nobody has anything to do.
    clock: Arc<SystemClock>,
    dice: Arc<SeededChance>,
    /// The sum of hashes of all that happened: what happens in one moment, to different clients, has no order.
    trace: Arc<AtomicU64>,
    /// Says it in words, too, for whoever looks at one schedule.
    is_told: bool,
    storm: Arc<Storm>,
    calm: Arc<Calm>,
}

impl Sim {
    pub(super) fn new(seed: u64, is_told: bool, frames_max: u64) -> Self {
        let (clock, dice) = (SystemClock::new(), SeededChance::new(seed));
        Self {
            clock,
            dice,
            trace: Arc::default(),
            is_told,
            storm: Arc::new(Storm::new(frames_max)),
            calm: Arc::default(),
        }
    }

    /// The true time, which nobody in the run is shown.
    pub(super) fn now_ms(&self) -> u64 {
        self.clock.mono_ms()
    }

    pub(super) fn now_us(&self) -> u64 {
        self.clock.mono_us()
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        self.dice.below(end)
    }

    /// `low` to `high`, both included.
    pub(super) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.dice.below(high.saturating_sub(low) + 1)
    }

    pub(super) fn percent(&self, percent: u64) -> bool {
        self.dice.below(100) < percent
    }

    pub(super) async fn pause(&self, ms: u64) {
        self.storm.step();
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Notes that something happened: to whom, and what came of it.
    pub(super) fn note(&self, what: &'static str, whom: impl Hash + Display, of: impl Hash + Display) {
        let mut hash = DefaultHasher::new();
        (self.now_us(), what).hash(&mut hash);
        whom.hash(&mut hash);
        of.hash(&mut hash);
        self.trace.fetch_add(hash.finish(), Ordering::SeqCst);
        self.tell(|| format!("{what} {whom} {of}"));
    }

    /// A line for people alone: what it says is in the hash by other ways.
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        if self.is_told {
            let now = self.now_us();
            println!("{:>6}.{:03} {}", now / 1_000, now % 1_000, line());
        }
    }

    /// What bounds this run.
    pub(super) fn storm(&self) -> &Arc<Storm> {
        &self.storm
    }

    /// What may still come in it.
    pub(super) fn calm(&self) -> &Arc<Calm> {
        &self.calm
    }

    /// The hash of all that happened.
    pub(super) fn hash(&self) -> u64 {
        self.trace.load(Ordering::SeqCst)
    }

    /// The same run, with chance of one's own.
    pub(super) fn apart(&self) -> Self {
        Self { dice: SeededChance::new(self.dice.number()), ..self.clone() }
    }
}
