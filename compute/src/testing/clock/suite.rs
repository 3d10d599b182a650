//! What every clock must do: its monotonic time never steps back and does not care for the time of day, and nobody
//! sleeps too short.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::poll;
use tokio::task::JoinHandle;

use crate::port::clock::{Clock, MonoMs};

/// Where the suite gets its clock, and what moves it.
#[async_trait]
pub trait Site: Send + Sync {
    fn clock(&self) -> Arc<dyn Clock>;

    /// Lets at least so much time go by.
    async fn pass(&self, ms: u64);

    /// Moves the time of day alone; false: this site can't.
    fn jump_wall(&self, by_ms: i64) -> bool;
}

/// A rule that a clock broke, and how it showed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {saw}")]
pub struct Violation {
    pub rule: &'static str,
    pub saw: String,
}

type Outcome = Result<(), String>;

const HOUR_MS: i64 = 3_600_000;
/// How often a sleeper whose time has come is asked before it counts as lost.
const POLLS_MAX: usize = 100_000;
/// How often other threads have a turn meanwhile: what is to wake the sleeper may be on one of them.
const POLLS_A_TURN: usize = 64;
/// 2020 and 2200: milliseconds since 1970 are between, seconds and microseconds are not.
const WALL_MS: std::ops::Range<u64> = 1_577_836_800_000..7_258_118_400_000;

/// Runs every rule.
pub async fn suite(site: &dyn Site) -> Result<(), Violation> {
    let rules: [(&'static str, BoxFuture<'_, Outcome>); 9] = [
        ("time goes on and never back", Box::pin(never_back(site))),
        ("milliseconds and microseconds are of one clock", Box::pin(units(site))),
        ("the time of day is in milliseconds since 1970", Box::pin(wall(site))),
        ("threads see no time step back", Box::pin(threads(site))),
        ("a sleeper wakes not before its time, and then", Box::pin(wakes(site))),
        ("who sleeps until the past wakes at once", Box::pin(past(site))),
        ("who sleeps until the end of time does not wake", Box::pin(end_of_time(site))),
        ("many sleep at once, each for itself", Box::pin(many(site))),
        ("the time of day may jump, and nobody else does", Box::pin(jumps(site))),
    ];
    for (rule, run) in rules {
        run.await.map_err(|saw| Violation { rule, saw })?;
    }
    Ok(())
}

/// Fails the rule, with what was seen, unless it holds.
macro_rules! ensure {
    ($holds:expr, $($saw:tt)+) => {
        if !$holds {
            return Err(format!($($saw)+));
        }
    };
}

async fn never_back(site: &dyn Site) -> Outcome {
    let clock = site.clock();
    let (mut last_ms, mut last_us) = (clock.mono_ms(), clock.mono_us());
    for step in [0, 1, 0, 7, 3] {
        let before = clock.mono_ms();
        site.pass(step).await;
        for _ in 0..100 {
            let (ms, us) = (clock.mono_ms(), clock.mono_us());
            ensure!(ms >= last_ms && us >= last_us, "{ms} ms after {last_ms} ms, {us} us after {last_us} us");
            (last_ms, last_us) = (ms, us);
        }
        ensure!(last_ms >= before + step, "{before} ms became {last_ms} ms in {step} ms");
    }
    Ok(())
}

async fn units(site: &dyn Site) -> Outcome {
    let clock = site.clock();
    for step in [0, 1, 5] {
        site.pass(step).await;
        let (before, us, after) = (clock.mono_ms(), clock.mono_us(), clock.mono_ms());
        ensure!((before..=after).contains(&(us / 1_000)), "{us} us between {before} ms and {after} ms");
    }
    Ok(())
}

async fn wall(site: &dyn Site) -> Outcome {
    let wall_ms = site.clock().wall_ms();
    ensure!(WALL_MS.contains(&wall_ms), "it is {wall_ms}");
    Ok(())
}

async fn threads(site: &dyn Site) -> Outcome {
    let clock = site.clock();
    let shown = std::sync::atomic::AtomicU64::new(0);
    let look = || {
        for _ in 0..2_000 {
            // Whatever anybody has seen before, this one must not be behind.
            let seen = shown.load(std::sync::atomic::Ordering::SeqCst);
            let now = clock.mono_us();
            if now < seen {
                return Some((seen, now));
            }
            shown.fetch_max(now, std::sync::atomic::Ordering::SeqCst);
        }
        None
    };
    let back = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(look)).collect();
        threads.into_iter().find_map(|thread| thread.join().unwrap_or(Some((0, 0))))
    });
    ensure!(
        back.is_none(),
        "one saw {} us, and then another saw {} us",
        back.unwrap_or_default().0,
        back.unwrap_or_default().1
    );
    Ok(())
}

/// Gives everybody else a turn, after look number `at`.
async fn others(at: usize) {
    if at % POLLS_A_TURN == POLLS_A_TURN - 1 {
        std::thread::yield_now();
    }
    tokio::task::yield_now().await;
}

/// Polls a sleeper whose time has come until it wakes.
async fn woken(sleeper: &mut BoxFuture<'_, ()>) -> bool {
    for at in 0..POLLS_MAX {
        if poll!(&mut *sleeper).is_ready() {
            return true;
        }
        others(at).await;
    }
    false
}

/// A task that sleeps, and then says when it woke.
fn asleep(clock: &Arc<dyn Clock>, until: MonoMs) -> JoinHandle<MonoMs> {
    let clock = Arc::clone(clock);
    tokio::spawn(async move {
        clock.sleep_until(until).await;
        clock.mono_ms()
    })
}

/// When it woke; `None`: its time has come, and it sleeps on.
async fn woke(sleeper: JoinHandle<MonoMs>) -> Option<MonoMs> {
    for at in 0..POLLS_MAX {
        if sleeper.is_finished() {
            return sleeper.await.ok();
        }
        others(at).await;
    }
    sleeper.abort();
    None
}

async fn wakes(site: &dyn Site) -> Outcome {
    let clock = site.clock();
    for (span, steps) in [(1, 1), (6, 3), (9, 4)] {
        let until = clock.mono_ms() + span;
        let sleeper = asleep(&clock, until);
        for _ in 0..steps {
            tokio::task::yield_now().await;
            site.pass(span.div_ceil(steps)).await;
        }
        match woke(sleeper).await {
            Some(at) => ensure!(at >= until, "woke at {at} ms instead of {until} ms"),
            None => return Err(format!("asked for {until} ms, and sleeps on at {} ms", clock.mono_ms())),
        }
    }
    let until = clock.mono_ms() + 4;
    let mut sleeper: BoxFuture<'_, ()> = Box::pin(clock.sleep(Duration::from_millis(4)));
    let early = poll!(&mut sleeper).is_ready() && clock.mono_ms() < until;
    ensure!(!early, "a sleep of 4 ms took none");
    site.pass(5).await;
    ensure!(woken(&mut sleeper).await, "a sleep of 4 ms that was waited for does not end in 5 ms");
    Ok(())
}

async fn past(site: &dyn Site) -> Outcome {
    site.pass(5).await;
    let clock = site.clock();
    for until in [0, clock.mono_ms() - 1, clock.mono_ms()] {
        let mut sleeper: BoxFuture<'_, ()> = Box::pin(clock.sleep_until(until));
        ensure!(woken(&mut sleeper).await, "sleeps at {} ms until {until} ms", clock.mono_ms());
    }
    let mut sleeper: BoxFuture<'_, ()> = Box::pin(clock.sleep(Duration::ZERO));
    ensure!(woken(&mut sleeper).await, "a sleep of nothing does not end");
    Ok(())
}

async fn end_of_time(site: &dyn Site) -> Outcome {
    let clock = site.clock();
    // As many milliseconds as are a little more than can be counted.
    let beyond = Duration::from_secs(u64::MAX / 1_000 + 1);
    let mut sleepers: Vec<BoxFuture<'_, ()>> = vec![
        Box::pin(clock.sleep_until(u64::MAX)),
        Box::pin(clock.sleep(Duration::from_millis(u64::MAX))),
        Box::pin(clock.sleep(beyond)),
        Box::pin(clock.sleep(Duration::MAX)),
    ];
    for _ in 0..3 {
        for (place, sleeper) in sleepers.iter_mut().enumerate() {
            ensure!(poll!(&mut *sleeper).is_pending(), "sleeper {place} woke at {} ms", clock.mono_ms());
        }
        site.pass(3).await;
    }
    Ok(())
}

async fn many(site: &dyn Site) -> Outcome {
    let clock = site.clock();
    let start = clock.mono_ms();
    let spans = [8, 2, 5, 2, 0, 5];
    let sleepers: Vec<_> = spans.map(|span| asleep(&clock, start + span)).into_iter().collect();
    tokio::task::yield_now().await;
    // Who does not want to wake any more must not keep the others asleep.
    sleepers[2].abort();
    site.pass(9).await;
    for (place, (span, sleeper)) in spans.into_iter().zip(sleepers).enumerate() {
        let until = start + span;
        match woke(sleeper).await {
            Some(at) => ensure!(at >= until, "sleeper {place} woke at {at} ms instead of {until} ms"),
            None => {
                ensure!(place == 2, "sleeper {place} asked for {until} ms, and sleeps on at {} ms", clock.mono_ms())
            }
        }
    }
    Ok(())
}

async fn jumps(site: &dyn Site) -> Outcome {
    let clock = site.clock();
    for by_ms in [HOUR_MS, -2 * HOUR_MS] {
        let (wall, mono) = (clock.wall_ms(), clock.mono_ms());
        let until = mono + 20;
        let sleeper = asleep(&clock, until);
        tokio::task::yield_now().await;
        if !site.jump_wall(by_ms) {
            sleeper.abort();
            return Ok(());
        }
        let (jumped, now) = (clock.wall_ms(), clock.mono_ms());
        let moved = jumped as i64 - wall as i64;
        ensure!((moved - by_ms).abs() < HOUR_MS / 2, "the time of day moved by {moved} ms instead of {by_ms} ms");
        ensure!(now >= mono && now < mono + HOUR_MS as u64 / 2, "{mono} ms became {now} ms");
        site.pass(21).await;
        let at = woke(sleeper).await;
        ensure!(
            at.is_some_and(|at| at >= until),
            "asked for {until} ms, woke at {at:?} after the time of day had jumped"
        );
    }
    Ok(())
}
