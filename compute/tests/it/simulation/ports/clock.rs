use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use compute::port::Clock;
use compute::port::clock::MonoMs;

use super::Way;

/// Wall time at the beginning of a run.
const BEGAN_MS: u64 = 1_700_000_000_000;
const MILLION: u64 = 1_000_000;

/// A node's clock: it began at another time than others', goes a little too fast or too slow, and wakes nobody while
/// the node stands still.
pub(crate) struct SimClock {
    way: Way,
    began_ms: u64,
    /// What it shows of a million microseconds.
    pace: u64,
}

impl SimClock {
    pub(crate) fn new(way: &Way) -> Self {
        let (began_ms, pace) = (way.sim.below(100_000), way.sim.between(MILLION - 2_000, MILLION + 2_000));
        Self { way: way.clone(), began_ms, pace }
    }

    fn shown_us(&self) -> u64 {
        self.began_ms * 1_000 + (u128::from(self.way.sim.now_us()) * u128::from(self.pace) / u128::from(MILLION)) as u64
    }
}

impl Clock for SimClock {
    fn mono_ms(&self) -> MonoMs {
        self.shown_us() / 1_000
    }

    fn mono_us(&self) -> u64 {
        self.shown_us()
    }

    fn wall_ms(&self) -> u64 {
        let ahead = self.way.weather.is(|sky| sky.wall_ahead_ms.get(&self.way.life.name).copied().unwrap_or_default());
        BEGAN_MS + self.way.sim.now_ms() + ahead
    }

    fn sleep_until(&self, until: MonoMs) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            while self.mono_ms() < until {
                let left_us = until.saturating_mul(1_000).saturating_sub(self.shown_us());
                // In whole steps of the runtime's timer: how it rounds the rest depends on when the process began.
                tokio::time::sleep(Duration::from_millis(left_us.div_ceil(1_000))).await;
            }
            self.way.life.awake().await;
        })
    }
}
