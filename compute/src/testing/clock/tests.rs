use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::suite::{Site, suite};
use super::{FaultyClock, ManualClock};
use crate::port::clock::{Clock, MonoMs, SystemClock};

/// A clock that the test moves, behind something.
struct Manual {
    clock: Arc<ManualClock>,
    front: Arc<dyn Clock>,
}

fn manual(front: impl Fn(Arc<ManualClock>) -> Arc<dyn Clock>) -> Manual {
    let clock = ManualClock::new();
    Manual { front: front(clock.clone()), clock }
}

#[async_trait]
impl Site for Manual {
    fn clock(&self) -> Arc<dyn Clock> {
        self.front.clone()
    }

    async fn pass(&self, ms: u64) {
        self.clock.advance(ms);
    }

    fn jump_wall(&self, by_ms: i64) -> bool {
        self.clock.set_wall_ms(self.clock.wall_ms().saturating_add_signed(by_ms));
        true
    }
}

/// The machine's clock, in the time of the runtime: real, or such as a test moves.
struct Machine {
    clock: Arc<SystemClock>,
    is_paused: bool,
}

#[async_trait]
impl Site for Machine {
    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    async fn pass(&self, ms: u64) {
        let span = Duration::from_millis(ms);
        if self.is_paused { tokio::time::advance(span).await } else { self.clock.sleep(span).await }
    }

    fn jump_wall(&self, _: i64) -> bool {
        false
    }
}

/// A faulty clock whose own fault moves the time of day.
struct Faulty(Arc<ManualClock>, Arc<FaultyClock>);

#[async_trait]
impl Site for Faulty {
    fn clock(&self) -> Arc<dyn Clock> {
        self.1.clone()
    }

    async fn pass(&self, ms: u64) {
        self.0.advance(ms);
    }

    fn jump_wall(&self, by_ms: i64) -> bool {
        self.1.jump_wall(by_ms);
        true
    }
}

#[tokio::test]
async fn manual_passes() {
    suite(&manual(|clock| clock)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manual_passes_on_many_threads() {
    suite(&manual(|clock| clock)).await.unwrap();
}

#[tokio::test]
async fn faulty_passes() {
    let clock = ManualClock::new();
    suite(&Faulty(clock.clone(), FaultyClock::over(clock))).await.unwrap();
}

#[tokio::test]
async fn the_machines_clock_passes() {
    suite(&Machine { clock: SystemClock::new(), is_paused: false }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machines_clock_passes_on_many_threads() {
    suite(&Machine { clock: SystemClock::new(), is_paused: false }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_machines_clock_passes_in_a_tests_time() {
    suite(&Machine { clock: SystemClock::new(), is_paused: true }).await.unwrap();
}

/// A mistake that a clock could be built with.
#[derive(Clone, Copy, PartialEq)]
enum Bug {
    /// One read in a hundred is of a moment ago.
    StepsBack,
    StandsStill,
    MicrosAreMillis,
    WallInSeconds,
    /// Monotonic time is counted from the time of day.
    FollowsWall,
    WakesEarly,
    NeverWakes,
    /// Looks at the time once, and is not woken when it moves.
    LooksOnce,
    PastIsFuture,
    EndWraps,
    OneSleeper,
}

struct Planted {
    inner: Arc<ManualClock>,
    bug: Bug,
    reads: AtomicU64,
    sleepers: AtomicU64,
}

impl Planted {
    fn over(inner: Arc<ManualClock>, bug: Bug) -> Arc<Self> {
        Arc::new(Self { inner, bug, reads: AtomicU64::new(0), sleepers: AtomicU64::new(0) })
    }
}

impl Clock for Planted {
    fn mono_ms(&self) -> MonoMs {
        let read = self.reads.fetch_add(1, Ordering::SeqCst);
        match self.bug {
            Bug::StepsBack if read % 100 == 99 => self.inner.mono_ms().saturating_sub(1),
            Bug::StandsStill => 0,
            Bug::FollowsWall => self.inner.wall_ms() - 1_600_000_000_000,
            _ => self.inner.mono_ms(),
        }
    }

    fn mono_us(&self) -> u64 {
        if self.bug == Bug::MicrosAreMillis { self.mono_ms() } else { self.mono_ms() * 1_000 }
    }

    fn wall_ms(&self) -> u64 {
        if self.bug == Bug::WallInSeconds { self.inner.wall_ms() / 1_000 } else { self.inner.wall_ms() }
    }

    fn sleep_until(&self, until: MonoMs) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let now = self.inner.mono_ms();
        match self.bug {
            Bug::FollowsWall => self.inner.sleep_until(until.saturating_sub(100_000_000_000)),
            Bug::WakesEarly if until > now => self.inner.sleep_until(until - 1),
            Bug::NeverWakes if until > now => Box::pin(std::future::pending()),
            Bug::PastIsFuture if until < now => Box::pin(std::future::pending()),
            Bug::EndWraps => self.inner.sleep_until(until.wrapping_add(1)),
            Bug::LooksOnce => Box::pin(std::future::poll_fn(move |_| {
                if self.inner.mono_ms() >= until { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })),
            Bug::OneSleeper => Box::pin(async move {
                if self.sleepers.fetch_add(1, Ordering::SeqCst) > 0 {
                    std::future::pending::<()>().await;
                }
                self.inner.sleep_until(until).await;
                self.sleepers.fetch_sub(1, Ordering::SeqCst);
            }),
            _ => self.inner.sleep_until(until),
        }
    }
}

#[tokio::test]
async fn the_suite_sees_planted_bugs() {
    let wakes = "a sleeper wakes not before its time, and then";
    let on = "time goes on and never back";
    let cases = [
        (Bug::StepsBack, on),
        (Bug::StandsStill, on),
        (Bug::MicrosAreMillis, "milliseconds and microseconds are of one clock"),
        (Bug::WallInSeconds, "the time of day is in milliseconds since 1970"),
        (Bug::FollowsWall, "the time of day may jump, and nobody else does"),
        (Bug::WakesEarly, wakes),
        (Bug::NeverWakes, wakes),
        (Bug::LooksOnce, wakes),
        (Bug::PastIsFuture, "who sleeps until the past wakes at once"),
        (Bug::EndWraps, wakes),
        (Bug::OneSleeper, "many sleep at once, each for itself"),
    ];
    for (bug, rule) in cases {
        let planted = manual(|clock| Planted::over(clock, bug));
        assert_eq!(suite(&planted).await.expect_err("the suite saw nothing").rule, rule);
    }
}

#[tokio::test]
async fn a_busy_machine_wakes_its_sleepers_late() {
    let manual = ManualClock::new();
    let clock = FaultyClock::over(manual.clone());
    clock.wake_late(30);
    let mut sleeper = clock.sleep_until(10);
    manual.advance(39);
    assert!(futures::poll!(&mut sleeper).is_pending());
    manual.advance(1);
    assert!(futures::poll!(&mut sleeper).is_ready());
    clock.wake_late(0);
    assert!(futures::poll!(clock.sleep_until(40)).is_ready());
}
