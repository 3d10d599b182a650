use super::script::check;
use crate::state::lease_table::is_late;

#[test]
fn a_silent_lease_is_suspect_then_unhealthy_then_gone() {
    check(
        "0   register s/a ttl=15s remove=30s
         0   ready
         = 10s suspect s/a age 10s lapse
         = 15s unhealthy s/a
         = 45.001s expire s/a
         90s end",
    );
}

#[test]
fn heartbeats_keep_a_lease_and_say_nothing() {
    check(
        "0     register s/a ttl=15s
         0     ready
         5s    renew s/a
         10s   renew s/a
         19.9s renew s/a
         29.8s end
         = 29.9s suspect s/a age 10s lapse
         34.8s end
         = 34.9s unhealthy s/a
         40s   end",
    );
}

#[test]
fn the_heartbeat_of_a_suspect_refutes_and_the_time_goes_on_from_it() {
    check(
        "0     register s/a ttl=15s
         0     ready
         = 10s suspect s/a age 10s lapse
         14.9s renew s/a
         = 14.9s refute s/a age 0s
         24.8s end
         = 24.95s suspect s/a age 10.049s lapse
         29.9s renew s/a
         = 29.9s refute s/a age 0s
         31s   end",
    );
}

#[test]
fn a_heartbeat_brings_an_unhealthy_one_back() {
    check(
        "0     register s/a ttl=15s
         0     ready
         = 10s suspect s/a age 10s lapse
         = 15s unhealthy s/a
         30s   renew s/a
         = 30s refute s/a age 0s
         39s   end
         = 40.05s suspect s/a age 10.049s lapse
         = 45.001s unhealthy s/a
         = 75.002s expire s/a
         90s   end",
    );
}

#[test]
fn a_heartbeat_that_overtakes_its_suspicion_refutes_it_with_its_own_age() {
    // Nobody knew of the suspicion when it came, so it only reached the cell.
    check(
        "0     register s/a ttl=15s
         0     delay 300ms
         0     ready
         = 10s suspect s/a age 10s lapse
         10.1s renew s/a
         = 10.3s refute s/a age 0.2s
         20s   end
         = 20.1s suspect s/a age 10s lapse
         21s   end",
    );
}

#[test]
fn an_old_heartbeat_does_not_refute() {
    check(
        "0     register s/a ttl=15s
         0     ready
         4s    renew s/a
         = 14s suspect s/a age 10s lapse
         = 19s unhealthy s/a
         19.5s end",
    );
}

#[test]
fn unhealthy_waits_for_its_suspicion_to_be_applied() {
    check(
        "0     register s/a ttl=1s remove=1s
         0     delay 900ms
         0     ready
         = 0.7s suspect s/a age 0.7s lapse
         = 1.6s unhealthy s/a
         = 3.5s expire s/a
         9s    end",
    );
}

#[test]
fn the_others_are_waited_for() {
    check(
        "0     cluster
         0     register s/c1..2 ttl=15s
         0     ready
         = 10s suspect s *2
         12s   barrier s/c1
         = 15s unhealthy s/c1
         19s   barrier s/c2
         = 19s unhealthy s/c2
         20s   end",
    );
}

#[test]
fn what_waits_for_the_others_may_still_be_heard() {
    check(
        "0     cluster
         0     register s/a ttl=15s remove=30s
         0     ready
         = 10s suspect s/a age 10s lapse
         16s   renew s/a
         = 16s refute s/a age 0s
         # The first suspicion is shown, and the second is not: the time of the second is over.
         = 26.05s suspect s/a age 10.049s lapse
         31.5s barrier s/a
         = 31.5s unhealthy s/a
         = 61.501s expire s/a
         70s   end",
    );
}

#[test]
fn the_barrier_is_looked_at_without_being_asked_to() {
    use super::world::{World, key};
    use crate::model::{Lease, Op, Position};
    let mut world = World::new();
    world.barrier = Some(Position::ZERO);
    world.register(&key("s/a"), Lease::DEFAULT);
    world.table.ready(0);
    world.run_until(16_020);
    assert_eq!(world.count(|op| matches!(op, Op::Unhealthy { .. })), 0);
    assert_eq!(world.table.next_deadline(), Some(16_100));
    world.barrier = Some(world.suspicions[&key("s/a")].revision.position());
    world.run_until(16_200);
    assert_eq!(world.count(|op| matches!(op, Op::Unhealthy { .. })), 1);
}

#[test]
fn what_does_not_come_back_is_said_again() {
    check(
        "0     register s/a ttl=15s
         0     ready
         9s    log loses
         = 10s suspect s/a age 10s lapse
         = 12s suspect s/a age 12s lapse
         12.5s log keeps
         = 14s suspect s/a age 14s lapse
         14.5s log loses
         = 15s unhealthy s/a
         = 17s unhealthy s/a
         18s   log keeps
         = 19s unhealthy s/a
         20s   end",
    );
}

#[test]
fn what_is_refused_is_thought_over_soon() {
    check(
        "0      register s/a ttl=15s
         0      ready
         9s     log refuses
         = 10s suspect s/a age 10s lapse
         = 10.25s suspect s/a age 10.25s lapse
         10.3s  log keeps
         = 10.5s suspect s/a age 10.5s lapse
         = 15s unhealthy s/a
         16s    end",
    );
}

#[test]
fn a_heartbeat_that_comes_while_the_suspicion_is_lost_ends_it() {
    check(
        "0     register s/a ttl=15s
         0     ready
         9s    log loses
         = 10s suspect s/a age 10s lapse
         11s   renew s/a
         11.5s log keeps
         20s   end
         = 21s suspect s/a age 10s lapse
         22s   end",
    );
}

#[test]
fn a_register_is_a_heartbeat_and_new_terms_count_at_once() {
    check(
        "0     register s/a ttl=15s remove=30s
         0     ready
         6s    register s/a ttl=15s remove=30s
         = 16s suspect s/a age 10s lapse
         18s   register s/a ttl=15s remove=30s
         = 28s suspect s/a age 10s lapse
         29s   register s/a ttl=3s remove=1s
         = 31s suspect s/a age 2s lapse
         = 32s unhealthy s/a
         32.5s register s/a permanent
         99s   end",
    );
}

#[test]
fn what_a_lease_is_of_can_change_within_its_life() {
    check(
        "0     register s/a permanent
         0     ready
         60s   register s/a ttl=15s
         = 70s suspect s/a age 10s lapse
         71s   register s/a checked remove=never
         99s   fail s/a refused
         = 99s suspect s/a age 0s check refused
         = 99.001s unhealthy s/a
         100s  register s/a ttl=15s
         = 110s suspect s/a age 10s lapse
         111s  end",
    );
}

#[test]
fn an_operator_does_not_touch_a_lease() {
    check(
        "0     register s/a ttl=15s
         0     ready
         8s    operate s/a
         = 10s suspect s/a age 10s lapse
         12s   operate s/a
         = 15s unhealthy s/a
         15.5s end",
    );
}

#[test]
fn an_end_ends_everything() {
    check(
        "0     register s/a1..3 ttl=15s
         0     ready
         5s    deregister s/a1
         = 10s suspect s *2
         12s   deregister s/a2
         = 15s unhealthy s/a3
         20s   deregister s/a3
         99s   end",
    );
}

#[test]
fn only_its_own_life_is_ended() {
    use super::world::{World, key, revision};
    use crate::model::Lease;
    let mut world = World::new();
    world.register(&key("s/a"), Lease::DEFAULT);
    world.remove(&key("s/a"));
    world.register(&key("s/a"), Lease::DEFAULT);
    world.table.end(&key("s/a"), revision(1), 0);
    assert_eq!(world.table.counts().ttl, 1);
    world.table.end(&key("s/a"), revision(2), 0);
    assert_eq!(world.table.counts().ttl, 0);
}

#[test]
fn after_a_restart_every_lease_has_its_full_time() {
    check(
        "0     register a1..4/i ttl=15s remove=30s
         0     ready
         4s    renew a4/i
         8s    renew a3/i
         = 10s suspect a1/i age 10s lapse
         = 10s suspect a2/i age 10s lapse
         = 14s suspect a4/i age 10s lapse
         14.5s renew a2/i
         = 14.5s refute a2/i age 0s
         # Then a1 is unhealthy, a2 is fine, a3 and a4 are suspect.
         = 15s unhealthy a1/i
         = 18s suspect a3/i age 10s lapse
         18.5s restart
         = 28.5s suspect a2/i age 10s lapse
         = 33.5s unhealthy a2/i
         = 33.5s unhealthy a3/i
         = 33.5s unhealthy a4/i
         = 63.5s expire a1/i
         = 63.501s expire a2/i
         = 63.501s expire a3/i
         = 63.501s expire a4/i
         99s   end",
    );
}

#[test]
fn another_node_may_have_heard_it() {
    use super::world::{World, key};
    use crate::model::Lease;
    let mut world = World::new();
    world.is_alone = false;
    world.register(&key("s/a"), Lease::DEFAULT);
    world.table.ready(0);
    world.run_until(14_000);
    let suspicion = world.suspicions[&key("s/a")].revision;
    world.hear_elsewhere(&key("s/a"), suspicion, 1_000);
    world.run_until(40_000);
    let suspects: Vec<_> = world.said.iter().map(|(at, _)| *at).collect();
    // Heard at 13 s: suspect again 10 s after that.
    assert_eq!(suspects[..2], [10_000, 23_000]);
}

#[test]
fn a_former_owners_suspicion_is_refuted_only_by_what_is_younger() {
    use super::world::{World, key, revision};
    use crate::model::{Cause, Lease, Op, Suspicion};
    for (age_ms, refutes) in [(3_000, false), (5_000, true)] {
        let mut world = World::new();
        world.register(&key("s/a"), Lease::DEFAULT);
        world.table.ready(0);
        world.run_until(1_000);
        world.renew(&key("s/a"));
        world.run_until(5_000);
        let suspicion = Suspicion { revision: revision(9), generation: revision(1), age_ms, cause: Cause::Lapse };
        world.table.suspected(&key("s/a"), &suspicion, world.now);
        world.wake();
        let said: Vec<_> = world.said.iter().map(|(_, op)| op.clone()).collect();
        let refute = Op::Refute { instance: key("s/a"), suspicion: revision(9), age_ms: 4_000 };
        assert_eq!(said, if refutes { vec![refute] } else { vec![] }, "{age_ms}");
    }
}

#[test]
fn late_is_more_than_a_third_of_the_ttl() {
    assert!(!is_late(1_000, 2_000, 3_000));
    assert!(is_late(1_000, 2_001, 3_000));
    assert!(!is_late(2_000, 1_000, 3_000));
}

#[test]
fn leases_are_counted_by_kind_and_by_stage() {
    use super::world::{World, checked, key, session};
    use crate::model::Lease;
    use crate::state::lease_table::Counts;
    let mut world = World::new();
    world.open(session("A"), 10_000);
    world.held(session("A"));
    for n in 0..4 {
        world.register(&key(&format!("t{n}/i")), Lease::DEFAULT);
    }
    world.register(&key("s/c"), checked(None));
    world.register(&key("s/p"), Lease::Permanent);
    world.register(&key("s/s"), Lease::stream(session("A"), 30_000).unwrap());
    world.table.ready(0);
    world.held(session("A"));
    world.run_until(3_000);
    world.renew(&key("t0/i"));
    world.run_until(10_500);
    let now = Counts { ttl: 4, stream: 1, checked: 1, permanent: 1, sessions: 1, suspects: 3, unhealthy: 0 };
    assert_eq!(world.table.counts(), now);
    world.run_until(15_500);
    assert_eq!(world.table.counts(), Counts { suspects: 1, unhealthy: 3, ..now });
    world.remove(&key("s/p"));
    world.remove(&key("s/c"));
    world.close(session("A"));
    world.run_until(60_000);
    assert_eq!(world.table.counts(), Counts::default());
    assert_eq!(world.table.next_deadline(), None);
}
