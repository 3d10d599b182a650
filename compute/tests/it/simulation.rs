//! A seeded simulation of whole nodes above their ports: virtual time, and a log, store, peers and clocks that are late,
//! fail, or fail after they have done it; nodes that die, stand still, are cut off and start again; honest clients; and
//! an [`oracle`] with a file for each promise.
//!
//! A run goes through two phases, faults and healing. The same seed gives the same run. One that fails is shown by
//! `SIM_SEED=<seed> cargo test -p compute --test it simulation::one -- --nocapture`.

mod broken;
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
mod weather;

use run::{Counts, Setup};

/// Schedules of one test run; `SIM_SCHEDULES` says how many instead.
const SCHEDULES: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: allowed is a number")))
}

/// One schedule in words, for whoever looks for what is wrong with it; any, if nobody does.
#[test]
fn one_schedule_is_clean() {
    let report = Setup { is_told: true, ..Setup::of(number("SIM_SEED").unwrap_or_default()) }.run();
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

#[test]
fn no_schedule_breaks_a_promise() {
    let from = number("SIM_SEED").unwrap_or_default();
    let schedules = number("SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let (mut failed, mut all) = (0, Counts::default());
    for seed in from..from + schedules {
        let report = Setup::of(seed).run();
        all.add(report.counts);
        if !report.wrong.is_empty() {
            failed += 1;
            println!("seed {seed} {:?}: {:#?}", Setup::of(seed).theme, report.wrong);
        }
    }
    println!("{schedules} schedules: {all:?}");
    assert_eq!(failed, 0, "schedules that break a promise; SIM_SEED=<seed> shows one");
}
