//! A seeded simulation of whole nodes above their ports: virtual time, and a log, store, peers and clocks that are late,
//! fail, or fail after they have done it; nodes that die, stand still, are cut off and start again; honest clients; and
//! an [`oracle`] with a file for each promise.
//!
//! A run goes through two phases, faults and healing, and ends when nothing more can come of them. The same seed gives
//! the same run. One that fails is shown by
//! `SIM_SEED=<seed> cargo test -p compute --test it simulation::one -- --nocapture`.

mod broken;
mod calm;
mod clients;
mod faults;
mod fleet;
mod history;
mod level;
mod life;
mod oracle;
mod plan;
mod planted;
mod ports;
mod run;
mod sim;
mod storm;
mod weather;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use plan::Theme;
use run::{Counts, Setup};

/// Schedules of one test run; `SIM_SCHEDULES` says how many instead.
const SCHEDULES: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: allowed is a number")))
}

/// One schedule in words, for whoever looks for what is wrong with it; any, if nobody does.
#[test]
fn one_schedule_is_clean() {
    let setup = Setup::of(number("SIM_SEED").unwrap_or_default());
    let theme = std::env::var("SIM_THEME").map_or(setup.theme, |name| {
        let named = Theme::ALL.into_iter().find(|theme| format!("{theme:?}") == name);
        named.unwrap_or_else(|| panic!("SIM_THEME={name}: allowed are {:?}", Theme::ALL))
    });
    let report = Setup { is_told: true, theme, ..setup }.run();
    println!("{:?} {:x}", report.counts, report.hash);
    assert_eq!(report.wrong, [""; 0]);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..5 {
        let (one, other) = (Setup::of(seed).run(), Setup::of(seed).run());
        assert_eq!((one.hash, one.counts, one.wrong), (other.hash, other.counts, other.wrong), "seed {seed}");
    }
}

/// Where nothing is frozen a run does not go on for all the time that the oracle would give it.
#[test]
fn what_has_healed_comes_to_rest() {
    let calm: usize = (0..5).map(|seed| Setup::of(seed).run().counts.calm).sum();
    assert!(calm >= 4, "{calm} of 5");
}

#[test]
fn a_schedule_without_an_end_is_a_finding_and_ends() {
    let report = Setup { frames_max: 20, ..Setup::of(0) }.run();
    assert_eq!(report.wrong, ["storm: more than 20 frames in a schedule"]);
    assert!(report.counts.frames <= 22, "{}", report.counts);
}

#[test]
fn no_schedule_breaks_a_promise() {
    let from = number("SIM_SEED").unwrap_or_default();
    let schedules = number("SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let (next, end) = (AtomicU64::new(from), from + schedules);
    let run = || {
        let (mut failed, mut all) = (0, Counts::default());
        for seed in std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|seed| *seed < end) {
            let report = Setup::of(seed).run();
            all.add(report.counts);
            if !report.wrong.is_empty() {
                failed += 1;
                show(&format!("seed {seed} {:?}: {:#?}", Setup::of(seed).theme, report.wrong));
            }
        }
        (failed, all)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (failed, all) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let ran = threads.into_iter().map(|thread| thread.join().expect("a schedule does not panic"));
        ran.fold((0, Counts::default()), |(failed, mut all), (more, counts)| {
            all.add(counts);
            (failed + more, all)
        })
    });
    show(&format!("simulation: {schedules} schedules, {all}; {failed} broke a promise"));
    assert_eq!(failed, 0, "schedules that break a promise; SIM_SEED=<seed> shows one");
}

/// A line that is seen though the test passes: what was tried is part of the result.
fn show(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").expect("standard output is there");
}
