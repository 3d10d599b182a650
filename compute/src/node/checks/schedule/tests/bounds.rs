//! The contract, over whole runs: what fails is told in time, what does not is never accused, limits hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// It answers at once, with a refusal.
    Refuses,
    /// It answers wrongly, after so many permille of its timeout.
    AnswersWrongly(u64),
    /// It does not answer.
    Hangs,
}

#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) interval: u64,
    pub(super) timeout: u64,
    pub(super) failures: u64,
    /// How long a good answer takes, in permille of the timeout.
    pub(super) answers_after: u64,
    /// When it breaks.
    pub(super) fault: Option<(MonoMs, Fault)>,
    pub(super) offset: u64,
    pub(super) service: String,
    pub(super) host: String,
}

impl Target {
    /// How long a probe that starts `at` takes, and what it finds.
    fn answer(&self, at: MonoMs) -> (u64, Finding) {
        let part = |permille: u64| self.timeout * permille / 1_000;
        let good = (part(self.answers_after), Finding::Good);
        let Some((broken, fault)) = self.fault else { return good };
        // What was answered before the fault was answered well.
        if at + good.0 <= broken {
            return good;
        }
        let ms = match fault {
            Fault::Refuses => 1,
            Fault::AnswersWrongly(permille) => part(permille),
            Fault::Hangs => self.timeout,
        };
        // A probe under way fails when it breaks, not before.
        (ms.max((broken + 1).saturating_sub(at)).min(self.timeout), Finding::Bad("broken".into()))
    }

    pub(super) fn bound(&self) -> u64 {
        self.failures * self.interval + 2 * self.timeout + 2_000
    }
}

fn target() -> impl Strategy<Value = Target> {
    let fault = prop_oneof![Just(Fault::Refuses), (0..1_000_u64).prop_map(Fault::AnswersWrongly), Just(Fault::Hangs),];
    let times = (1_000..10_000_u64, 50..20_000_u64, 1..20_u64, 0..990_u64);
    (times, proptest::option::of((20_000..60_000_u64, fault)), 99..103_u64).prop_map(
        |((interval, timeout, failures, answers_after), fault, offset)| Target {
            interval,
            timeout,
            failures,
            answers_after,
            fault,
            offset,
            service: "orders".to_owned(),
            host: "127.0.0.1".to_owned(),
        },
    )
}

/// Runs the targets for `until` milliseconds. When each was first told as failed.
pub(super) fn run(targets: &[Target], flights_max: usize, seed: u64, until: MonoMs) -> BTreeMap<usize, MonoMs> {
    let mut bench = Bench { chance: SeededChance::new(seed), now: 0, ..Bench::new(flights_max) };
    for (n, target) in targets.iter().enumerate() {
        let check = check(target.interval, target.timeout, target.failures, 1);
        bench.began(&instance_of(&target.service, &target.host, &n.to_string(), check, target.offset));
    }
    let mut flights: BTreeSet<(MonoMs, FlightNo)> = BTreeSet::new();
    let mut under_way: BTreeMap<FlightNo, (usize, MonoMs, Finding)> = BTreeMap::new();
    let mut flying = BTreeSet::new();
    let mut told = BTreeMap::new();
    while bench.now <= until {
        while let Some(launch) = bench.schedule.start(bench.now) {
            let n: usize = launch.instance.id.as_str().parse().expect("a number");
            assert!(flying.insert(n), "two probes of one lease");
            let (ms, finding) = targets[n].answer(bench.now);
            flights.insert((bench.now + ms, launch.flight));
            under_way.insert(launch.flight, (n, bench.now + ms, finding));
        }
        if let Some(flight) = bench.schedule.recall(bench.now) {
            let (n, ends, _) = under_way.remove(&flight).expect("it is under way");
            flights.remove(&(ends, flight));
            flying.remove(&n);
            assert!(bench.schedule.finish(flight, Finding::Void, bench.now, &*bench.chance).is_none());
            continue;
        }
        assert!(under_way.len() <= flights_max);
        let ends = flights.first().map(|(at, _)| *at);
        let next = ends.into_iter().chain(bench.schedule.wake_at()).min().expect("there is always a next one");
        bench.now = bench.now.max(next);
        while let Some((_, flight)) = flights.first().filter(|(at, _)| *at <= bench.now).copied() {
            flights.pop_first();
            let (n, _, finding) = under_way.remove(&flight).expect("it is under way");
            flying.remove(&n);
            let word = bench.schedule.finish(flight, finding, bench.now, &*bench.chance);
            if word.is_some_and(|word| word.failed.is_some()) {
                told.entry(n).or_insert(bench.now);
            }
        }
    }
    told
}

proptest! {
    #[test]
    fn a_fault_is_told_within_the_bound_and_nothing_else_is(
        targets in proptest::collection::vec(target(), 1..12),
        seed: u64,
    ) {
        let until = targets.iter().filter_map(|t| Some(t.fault?.0 + t.bound())).max().unwrap_or(60_000) + 1;
        // A place for each, of one service and host as they are: slow ones have half of them, and those of one service
        // three quarters of that.
        let told = run(&targets, targets.len() * 3 + 2, seed, until);
        for (n, target) in targets.iter().enumerate() {
            let at = told.get(&n).copied();
            let Some((broken, _)) = target.fault else {
                prop_assert_eq!(at, None, "{} was never broken", n);
                continue;
            };
            let Some(at) = at else { return Err(TestCaseError::fail(format!("{n} was never told"))) };
            prop_assert!(at >= broken, "{n} was told {} ms before it broke", broken - at);
            // A second is left for the log, and for the node's own delays.
            prop_assert!(at + 1_000 <= broken + target.bound(), "{n} was told after {} ms", at - broken);
        }
    }

    #[test]
    fn limits_hold_and_nobody_healthy_is_accused_when_there_are_too_many(
        targets in proptest::collection::vec(target(), 12..40),
        flights_max in 1..8_usize,
        seed: u64,
    ) {
        let told = run(&targets, flights_max, seed, 90_000);
        for n in told.into_keys() {
            prop_assert!(targets[n].fault.is_some(), "{n} was never broken");
        }
    }
}
