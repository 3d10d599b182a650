use std::collections::BTreeMap;

use super::*;
use crate::model::{CheckKind, Health, LeaseCell, Provider, ProviderSpec, Revision};
use crate::testing::SeededChance;

mod bounds;
mod shares;

const BOOTED: u64 = 100;

fn revision(offset: u64) -> Revision {
    Position::new(1, offset).expect("within a generation").at(0)
}

pub(in crate::node::checks) fn check(interval_ms: u64, timeout_ms: u64, failures: u64, successes: u64) -> Check {
    Check::new(CheckKind::Tcp, interval_ms, timeout_ms, failures, successes, None).expect("a valid check")
}

/// An instance registered at `offset`.
pub(in crate::node::checks) fn instance(id: &str, check: Check, offset: u64) -> (InstanceKey, Arc<Instance>) {
    instance_of("orders", "127.0.0.1", id, check, offset)
}

fn instance_of(service: &str, host: &str, id: &str, check: Check, offset: u64) -> (InstanceKey, Arc<Instance>) {
    let key = InstanceKey::new("default", service, id).expect("a valid key");
    let lease = Lease::checked(check, None).expect("a valid lease");
    let provider = Provider::new(&ProviderSpec { lease, ..ProviderSpec::at(host, 80) }).expect("a valid provider");
    let revision = revision(offset);
    let instance = Instance {
        id: key.id.clone(),
        provider,
        health: Health::good(0),
        operator: None,
        registered_at_ms: 0,
        generation: revision,
        revision,
        cell: Arc::new(LeaseCell::default()),
    };
    (key, Arc::new(instance))
}

/// A schedule with its time and chance.
struct Bench {
    schedule: Schedule,
    chance: Arc<SeededChance>,
    now: MonoMs,
}

impl Bench {
    fn new(flights_max: usize) -> Self {
        let booted = Position::new(1, BOOTED).expect("within a generation");
        Self { schedule: Schedule::new(flights_max, booted), chance: SeededChance::new(7), now: 1_000_000 }
    }

    fn take(&mut self, event: CheckEvent) -> Option<FlightNo> {
        self.schedule.take(event, self.now, &*self.chance)
    }

    fn began(&mut self, (key, instance): &(InstanceKey, Arc<Instance>)) -> Option<FlightNo> {
        self.take(CheckEvent::Began { key: key.clone(), instance: instance.clone() })
    }

    fn ended(&mut self, (key, instance): &(InstanceKey, Arc<Instance>)) -> Option<FlightNo> {
        self.take(CheckEvent::Ended { key: key.clone(), generation: instance.generation })
    }

    fn cleared(&mut self, (key, _): &(InstanceKey, Arc<Instance>)) -> Option<FlightNo> {
        self.take(CheckEvent::Cleared { key: key.clone() })
    }

    /// Goes on to when the next probe is due, and starts it.
    fn next(&mut self) -> Launch {
        self.now = self.now.max(self.schedule.wake_at().expect("a probe is due some time"));
        self.schedule.start(self.now).expect("it is due")
    }

    /// The probe takes `ms` and comes to `finding`.
    fn finish(&mut self, launch: &Launch, ms: u64, finding: Finding) -> Option<CheckWord> {
        self.now += ms;
        self.schedule.finish(launch.flight, finding, self.now, &*self.chance)
    }

    /// The next probe takes a millisecond.
    fn probe(&mut self, finding: Finding) -> Option<CheckWord> {
        let launch = self.next();
        self.finish(&launch, 1, finding)
    }

    fn good(&mut self) -> Option<CheckWord> {
        self.probe(Finding::Good)
    }

    fn bad(&mut self) -> Option<CheckWord> {
        self.probe(Finding::Bad("refused".into()))
    }
}

fn failed(lease: &(InstanceKey, Arc<Instance>)) -> Option<CheckWord> {
    Some(CheckWord { key: lease.0.clone(), generation: lease.1.generation, failed: Some("refused".into()) })
}

fn recovered(lease: &(InstanceKey, Arc<Instance>)) -> Option<CheckWord> {
    Some(CheckWord { failed: None, ..failed(lease).expect("a word") })
}

#[test]
fn as_many_failures_in_a_row_as_the_threshold_are_told_and_each_further_one_again() {
    let mut bench = Bench::new(4);
    let lease = instance("a", check(5_000, 1_000, 3, 1), 101);
    bench.began(&lease);
    assert_eq!([bench.bad(), bench.bad()], [None, None]);
    assert_eq!(bench.good(), None, "a success starts the count again");
    assert_eq!([bench.bad(), bench.bad()], [None, None]);
    assert_eq!(bench.bad(), failed(&lease));
    assert_eq!(bench.bad(), failed(&lease));
}

#[test]
fn as_many_successes_in_a_row_as_the_threshold_are_told_after_a_failure_was() {
    let mut bench = Bench::new(4);
    let lease = instance("a", check(5_000, 1_000, 1, 2), 101);
    bench.began(&lease);
    assert_eq!([bench.good(), bench.good(), bench.good()], [None, None, None], "nobody said that it failed");
    assert_eq!(bench.bad(), failed(&lease));
    assert_eq!(bench.good(), None);
    assert_eq!(bench.bad(), failed(&lease));
    assert_eq!([bench.good(), bench.good()], [None, recovered(&lease)]);
    assert_eq!(bench.good(), None, "told once, as no suspicion stands");
}

#[test]
fn successes_are_told_as_long_as_a_suspicion_stands() {
    let mut bench = Bench::new(4);
    let lease = instance("a", check(5_000, 1_000, 3, 2), 50);
    // It is from before the restart.
    lease.1.cell.suspect(revision(60));
    bench.began(&lease);
    assert_eq!([bench.good(), bench.good(), bench.good()], [None, recovered(&lease), recovered(&lease)]);
    lease.1.cell.clear();
    assert_eq!(bench.good(), None);
}

#[test]
fn a_clearing_starts_the_counts_again() {
    let mut bench = Bench::new(4);
    let lease = instance("a", check(5_000, 1_000, 2, 1), 101);
    bench.began(&lease);
    assert_eq!(bench.bad(), None);
    assert_eq!(bench.cleared(&lease), None);
    assert_eq!(bench.bad(), None, "what was before the clearing does not count");
    assert_eq!(bench.bad(), failed(&lease));
    bench.cleared(&lease);
    assert_eq!(bench.good(), None, "the accusation was cleared by somebody else");
}

#[test]
fn a_probe_from_before_a_clearing_is_called_off_and_made_again_soon() {
    let mut bench = Bench::new(4);
    let lease = instance("a", check(60_000, 1_000, 1, 1), 101);
    bench.began(&lease);
    let old = bench.next();
    assert_eq!(bench.cleared(&lease), Some(old.flight));
    let cleared_at = bench.now;
    let new = bench.next();
    assert!(bench.now <= cleared_at + SOON_MS, "due {} ms later", bench.now - cleared_at);
    assert_eq!(bench.finish(&old, 5, Finding::Bad("refused".into())), None, "it saw what was before");
    assert_eq!(bench.finish(&new, 5, Finding::Bad("refused".into())), failed(&lease));
}

#[test]
fn results_of_an_old_generation_are_dropped() {
    let mut bench = Bench::new(4);
    let old = instance("a", check(5_000, 1_000, 1, 1), 101);
    bench.began(&old);
    let launch = bench.next();
    let new = instance("a", check(5_000, 1_000, 1, 1), 102);
    assert_eq!(bench.began(&new), Some(launch.flight), "the old probe is called off");
    assert_eq!(bench.finish(&launch, 1, Finding::Bad("refused".into())), None);
    assert_eq!(bench.ended(&old), None, "the end of the old generation came late");
    assert_eq!(bench.bad(), failed(&new));
}

#[test]
fn nothing_is_probed_or_kept_of_what_ended() {
    let mut bench = Bench::new(4);
    let (waiting, flying) =
        (instance("a", check(5_000, 1_000, 1, 1), 101), instance("b", check(5_000, 1_000, 1, 1), 101));
    bench.began(&flying);
    let launch = bench.next();
    bench.began(&waiting);
    assert_eq!(bench.ended(&waiting), None);
    assert_eq!(bench.ended(&flying), Some(launch.flight));
    assert_eq!(bench.schedule.in_flight(), 1, "it has its place until it has really ended");
    assert_eq!(bench.finish(&launch, 1, Finding::Void), None);
    let schedule = &bench.schedule;
    assert_eq!((schedule.watched(), schedule.in_flight(), schedule.wake_at()), (0, 0, None));
    assert!(schedule.by_key.is_empty() && schedule.lanes.is_empty());
    assert!(schedule.lent.iter().all(BTreeSet::is_empty) && schedule.flights.is_empty());
}

#[test]
fn a_lease_that_is_not_checked_any_more_is_not_probed() {
    let mut bench = Bench::new(4);
    let (key, checked) = instance("a", check(5_000, 1_000, 1, 1), 101);
    bench.began(&(key.clone(), checked.clone()));
    let provider = checked.provider.clone().with_lease(Lease::DEFAULT);
    bench.began(&(key, Arc::new(Instance { provider, ..(*checked).clone() })));
    assert_eq!((bench.schedule.watched(), bench.schedule.wake_at()), (0, None));
}

#[test]
fn the_same_target_told_again_keeps_its_counts_and_its_place() {
    let mut bench = Bench::new(4);
    let (key, first) = instance("a", check(5_000, 1_000, 2, 1), 101);
    bench.began(&(key.clone(), first.clone()));
    assert_eq!(bench.bad(), None);
    let due = bench.schedule.wake_at();
    let again = (key, Arc::new(Instance { revision: revision(102), ..(*first).clone() }));
    assert_eq!(bench.began(&again), None);
    assert_eq!(bench.schedule.wake_at(), due);
    assert_eq!(bench.bad(), failed(&again));
}

#[test]
fn registering_over_and_over_does_not_put_the_probe_off() {
    let mut bench = Bench::new(4);
    bench.began(&instance("a", check(5_000, 1_000, 1, 1), 101));
    let due = bench.schedule.wake_at().expect("due");
    for round in 0..50 {
        bench.now = (bench.now + 5).min(due - 1);
        bench.began(&instance("a", check(5_000, 1_000, 1, 1), 102 + round));
        assert!(bench.schedule.wake_at().expect("due") <= due);
    }
}

/// How many of `count` leases, told at once, are due in each tenth of `within_ms`.
fn spread(offset: u64, interval: u64, within_ms: u64, count: usize) -> Vec<usize> {
    let mut bench = Bench::new(usize::MAX);
    for n in 0..count {
        bench.began(&instance(&n.to_string(), check(interval, 100, 3, 1), offset));
    }
    let started = bench.now;
    let mut tenths = vec![0; 10];
    for _ in 0..count {
        bench.next();
        tenths[((bench.now - started) * 10 / within_ms) as usize] += 1;
    }
    tenths
}

#[test]
fn first_probes_come_soon_and_after_a_restart_over_the_whole_interval() {
    for (offset, within_ms) in [(BOOTED + 1, 1_000), (BOOTED, 20_000), (1, 20_000)] {
        let tenths = spread(offset, 20_000, within_ms, 2_000);
        assert!(tenths.iter().all(|n| (120..280).contains(n)), "registered at {offset}: {tenths:?}");
    }
    let tenths = spread(BOOTED + 1, 1_000, 1_000, 2_000);
    assert!(tenths.iter().all(|n| (120..280).contains(n)), "{tenths:?}");
}

#[test]
fn those_that_came_together_are_spread_from_the_second_probe_on() {
    let mut bench = Bench::new(usize::MAX);
    for n in 0..2_000 {
        bench.began(&instance(&n.to_string(), check(20_000, 100, 3, 1), BOOTED + 1));
    }
    (0..2_000).for_each(|_| drop(bench.good()));
    let started = bench.now;
    let mut seconds = BTreeMap::<u64, usize>::new();
    for _ in 0..2_000 {
        bench.good();
        *seconds.entry((bench.now - started) / 1_000).or_default() += 1;
    }
    // From half an interval to a whole one after the first, which fell into the first second.
    assert!(seconds.len() >= 10 && seconds.values().all(|n| *n < 350), "{seconds:?}");
}

#[test]
fn slots_keep_their_distance_and_jitter_does_not_add_up() {
    for (interval, half) in [(1_000, 100), (5_000, 500), (60_000, 500)] {
        let mut bench = Bench::new(1);
        bench.began(&instance("a", check(interval, 100, 3, 1), BOOTED));
        bench.good();
        let first = bench.now - 1;
        let mut offs = Vec::new();
        for n in 1..=200 {
            bench.good();
            offs.push((bench.now - 1) as i64 - (first + n * interval) as i64);
        }
        assert!(offs.iter().all(|off| off.unsigned_abs() <= half), "interval {interval}: {offs:?}");
        assert!(offs.iter().any(|off| *off < 0) && offs.iter().any(|off| *off > 0), "interval {interval}: {offs:?}");
    }
}

#[test]
fn no_more_than_the_limit_are_under_way_and_the_longest_due_goes_first() {
    let mut bench = Bench::new(4);
    for n in 0..10 {
        bench.began(&instance(&n.to_string(), check(5_000, 1_000, 3, 1), 101));
    }
    (0..10).for_each(|_| drop(bench.good()));
    bench.now += 60_000;
    let first: Vec<_> = std::iter::from_fn(|| bench.schedule.start(bench.now)).collect();
    let given_up = bench.now + SLOW_MS;
    assert_eq!((first.len(), bench.schedule.wake_at()), (4, Some(given_up)), "no place before one is given up");
    let lag = bench.schedule.lag_ms(bench.now);
    assert!(lag > 50_000, "those that wait are late by {lag} ms");
    let mut late = first.iter().map(|launch| launch.late_ms).collect::<Vec<_>>();
    for launch in &first {
        bench.finish(launch, 0, Finding::Good);
        late.extend(bench.schedule.start(bench.now).map(|launch| launch.late_ms));
    }
    assert!(late.is_sorted_by(|a, b| a >= b), "{late:?}");
}

#[test]
fn slow_targets_leave_room_for_prompt_ones() {
    let mut bench = Bench::new(8);
    let prompt = instance("prompt", check(5_000, 1_000, 3, 1), 101);
    bench.began(&prompt);
    bench.good();
    let due = bench.schedule.wake_at().expect("due");
    for n in 0..100 {
        bench.began(&instance(&n.to_string(), check(5_000, 60_000, 3, 1), 101));
    }
    bench.now = due;
    let started: Vec<_> = std::iter::from_fn(|| bench.schedule.start(bench.now)).collect();
    let ids: Vec<_> = started.iter().map(|launch| launch.instance.id.as_str()).collect();
    assert_eq!(ids.len(), 5, "four that are not known yet and the prompt one: {ids:?}");
    assert!(ids.contains(&"prompt"), "{ids:?}");
}

#[test]
fn who_answers_late_is_slow_until_it_answers_promptly() {
    let mut bench = Bench::new(8);
    bench.began(&instance("a", check(5_000, 1_000, 3, 1), 101));
    for (ms, is_slow) in [(SLOW_MS, true), (SLOW_MS - 1, false), (999, true), (1, false)] {
        let launch = bench.next();
        bench.finish(&launch, ms, Finding::Good);
        let waiting = |class| bench.schedule.lanes.waiting(class);
        assert_eq!((waiting(Class::Slow), waiting(Class::Prompt)), (is_slow.into(), (!is_slow).into()));
    }
}

#[test]
fn a_probe_that_outlasts_its_interval_stands_for_the_slots_it_took() {
    let mut bench = Bench::new(1);
    let lease = instance("a", check(1_000, 3_500, 5, 1), 101);
    bench.began(&lease);
    bench.good();
    let launch = bench.next();
    assert_eq!(bench.finish(&launch, 3_500, Finding::Bad("refused".into())), None, "four of five");
    let launch = bench.next();
    assert_eq!(bench.finish(&launch, 1, Finding::Bad("refused".into())), failed(&lease));
}

#[test]
fn a_probe_that_ends_near_its_next_slot_stands_for_its_own_alone() {
    let mut bench = Bench::new(1);
    let lease = instance("a", check(1_000, 1_050, 2, 1), BOOTED);
    bench.began(&lease);
    let launch = bench.next();
    assert_eq!(bench.finish(&launch, 1_050, Finding::Bad("refused".into())), None, "the next slot can still be met");
    assert_eq!(bench.bad(), failed(&lease));
}

#[test]
fn time_spent_waiting_for_a_place_is_not_held_against_the_target() {
    let mut bench = Bench::new(1);
    bench.began(&instance("a", check(1_000, 500, 2, 1), 101));
    bench.good();
    bench.now += 60_000;
    let launch = bench.next();
    assert!(launch.late_ms > 50_000);
    assert_eq!(bench.finish(&launch, 500, Finding::Bad("refused".into())), None);
    assert!(bench.schedule.wake_at().expect("due") >= bench.now + 300, "slots that were missed are not made up for");
}

#[test]
fn a_failure_seen_by_a_node_that_stood_still_does_not_count() {
    let mut bench = Bench::new(1);
    let lease = instance("a", check(60_000, 500, 1, 1), 101);
    bench.began(&lease);
    let launch = bench.next();
    assert_eq!(bench.finish(&launch, 500 + LATE_MS_MAX + 1, Finding::Bad("refused".into())), None);
    let due = bench.schedule.wake_at().expect("due") - bench.now;
    assert!(due <= SOON_MS, "made again soon, not in {due} ms");
    let launch = bench.next();
    assert_eq!(bench.finish(&launch, 500 + LATE_MS_MAX, Finding::Bad("refused".into())), failed(&lease));
}

#[test]
fn a_void_probe_counts_for_nothing() {
    let mut bench = Bench::new(1);
    let lease = instance("a", check(5_000, 500, 2, 1), 101);
    bench.began(&lease);
    assert_eq!([bench.bad(), bench.probe(Finding::Void), bench.bad()], [None, None, failed(&lease)]);
}

#[test]
fn a_hundred_thousand_leases_cost_little_each() {
    let mut bench = Bench::new(64);
    for n in 0..100_000 {
        bench.began(&instance(&n.to_string(), check(5_000, 1_000, 3, 1), 1));
    }
    let started = bench.now;
    let mut probes = 0;
    while bench.now < started + 10_000 {
        bench.good();
        probes += 1;
    }
    // Each probe took a millisecond, one at a time: nothing was made twice, nothing was made up for.
    assert!((9_900..=10_001).contains(&probes), "{probes}");
    assert_eq!(bench.schedule.watched(), 100_000);
    let classes = [Class::Unknown, Class::Prompt, Class::Slow];
    assert_eq!(classes.map(|class| bench.schedule.lanes.waiting(class)).iter().sum::<usize>(), 100_000);
}
