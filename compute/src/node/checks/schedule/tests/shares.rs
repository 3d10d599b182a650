//! Too many targets that do not answer: what they may not take from others.

use super::bounds::{Fault, Target, run};
use super::*;

const PLACES: usize = 512;
const HOSTILE: usize = 3_000;

/// It swallows what it is sent, from `broken` on.
fn black_hole(broken: MonoMs, service: String, host: String) -> Target {
    Target {
        interval: 60_000,
        timeout: 60_000,
        failures: 3,
        answers_after: 0,
        fault: Some((broken, Fault::Hangs)),
        offset: BOOTED + 1,
        service,
        host,
    }
}

fn honest(broken: MonoMs, fault: Fault) -> Target {
    let black_hole = black_hole(broken, "honest".to_owned(), "10.9.9.9".to_owned());
    Target { interval: 5_000, timeout: 1_000, fault: Some((broken, fault)), ..black_hole }
}

fn one_service(broken: MonoMs) -> Vec<Target> {
    (0..HOSTILE).map(|n| black_hole(broken, "hostile".to_owned(), format!("10.0.{}.{}", n / 250, n % 250))).collect()
}

fn one_host(broken: MonoMs) -> Vec<Target> {
    (0..HOSTILE).map(|n| black_hole(broken, format!("hostile-{n}"), "10.0.0.1".to_owned())).collect()
}

/// Neither the service nor the host tells one from the other.
fn all_apart(broken: MonoMs) -> Vec<Target> {
    let apart = |n| black_hole(broken, format!("hostile-{n}"), format!("10.0.{}.{}", n / 250, n % 250));
    (0..HOSTILE).map(apart).collect()
}

/// How long it took, of an honest target that came last, until it was told as failed.
fn told_after(mut targets: Vec<Target>, honest: Target) -> u64 {
    let bound = honest.bound();
    let broken = honest.fault.map_or(0, |(broken, _)| broken);
    targets.push(honest);
    let told = run(&targets, PLACES, 5, broken + bound);
    told.get(&(targets.len() - 1)).copied().map_or(u64::MAX / 2, |at| at.saturating_sub(broken))
}

#[test]
fn a_target_that_refuses_is_told_within_the_bound_whatever_others_do() {
    let bound = honest(0, Fault::Refuses).bound();
    for hostile in [one_service(0), one_host(0), all_apart(0)] {
        // All of them are new.
        let after = told_after(hostile, honest(0, Fault::Refuses));
        assert!(after + 1_000 <= bound, "told after {after} ms");
    }
}

#[test]
fn the_same_when_all_of_them_answered_before() {
    let bound = honest(0, Fault::Refuses).bound();
    for hostile in [one_service(100_000), all_apart(100_000)] {
        let after = told_after(hostile, honest(200_000, Fault::Refuses));
        assert!(after + 1_000 <= bound, "told after {after} ms");
    }
}

#[test]
fn a_slow_target_has_its_place_beside_those_of_another_service_or_host() {
    let slow = |broken| honest(broken, Fault::AnswersWrongly(700));
    for (hostile, broken) in [(one_service(0), 0), (one_host(0), 0), (one_service(0), 300_000)] {
        let after = told_after(hostile, slow(broken));
        assert!(after + 1_000 <= slow(broken).bound(), "told after {after} ms");
    }
}

#[test]
fn one_service_may_have_most_of_the_slow_places_while_nobody_else_wants_them() {
    let mut bench = Bench::new(64);
    let begin = |bench: &mut Bench, service: &str| {
        for n in 0..100 {
            bench.began(&instance_of(
                service,
                &format!("10.0.0.{n}"),
                &n.to_string(),
                check(60_000, 60_000, 3, 1),
                101,
            ));
        }
        (0..100).for_each(|_| {
            let launch = bench.next();
            bench.finish(&launch, SLOW_MS, Finding::Good);
        });
    };
    begin(&mut bench, "a");
    let start = |bench: &mut Bench| std::iter::from_fn(|| bench.schedule.start(bench.now)).collect::<Vec<_>>();
    bench.now += 120_000;
    let of_a = start(&mut bench);
    assert_eq!(of_a.len(), 24, "three quarters of half of the places");
    let after = bench.schedule.wake_at();
    assert_eq!(after, None, "the others stand back until one of these has ended");
    assert!(bench.schedule.lag_ms(bench.now) > 50_000, "and are seen to be late");
    bench.finish(&of_a[0], 1, Finding::Good);
    assert_eq!(start(&mut bench).len(), 1);
    // What stands back is forgotten like anything else.
    for n in 0..100 {
        bench.ended(&instance_of("a", "10.0.0.1", &n.to_string(), check(60_000, 60_000, 3, 1), 101));
    }
    assert_eq!(bench.schedule.watched(), 0);
    assert_eq!(bench.schedule.lanes.waiting(Class::Slow), 0);
}

#[test]
fn a_first_probe_gives_up_its_place_only_when_it_is_wanted_and_only_after_a_while() {
    let mut bench = Bench::new(2);
    let slow = instance("slow", check(60_000, 30_000, 3, 1), 101);
    bench.began(&slow);
    let launch = bench.next();
    let begun = bench.now;
    bench.now += 20_000;
    assert_eq!(bench.schedule.recall(bench.now), None, "nobody wants it");
    bench.finish(&launch, 0, Finding::Good);
    bench.now = begun + 60_000;
    let mut bench = Bench::new(2);
    bench.began(&slow);
    let launch = bench.next();
    let begun = bench.now;
    let other = instance("other", check(60_000, 30_000, 3, 1), 101);
    bench.began(&other);
    bench.now = begun + SLOW_MS - 1;
    assert_eq!(bench.schedule.recall(bench.now), None);
    bench.now = bench.schedule.wake_at().expect("when it is wanted");
    assert!(bench.now >= begun + SLOW_MS && bench.schedule.start(bench.now).is_none());
    assert_eq!(bench.schedule.recall(bench.now), Some(launch.flight));
    assert_eq!(bench.schedule.recall(bench.now), None, "once");
    assert_eq!(bench.finish(&launch, 0, Finding::Void), None);
    let next = bench.schedule.start(bench.now).expect("there is a place");
    assert_eq!(next.instance.id, other.0.id);
    bench.finish(&next, 1, Finding::Good);
    let again = bench.schedule.start(bench.now).expect("its turn");
    assert_eq!((again.instance.id.as_str(), again.late_ms >= SLOW_MS), ("slow", true), "due since then");
}
