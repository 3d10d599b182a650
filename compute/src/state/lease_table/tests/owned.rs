use super::script::check;

#[test]
fn the_time_of_a_lease_that_is_taken_over_counts_from_when_it_is_told_to() {
    check(
        "0   ready
         1s  elsewhere a1..3/i ttl=15s remove=30s
         40s take-over a1/i 35s
         # An age of 9 s was handed over.
         40s take-over a2/i 31s
         40s take-over a3/i 40s
         = 41s suspect a2/i age 10s lapse
         = 45s suspect a1/i age 10s lapse
         = 46s unhealthy a2/i
         = 50s suspect a3/i age 10s lapse
         = 50s unhealthy a1/i
         = 55s unhealthy a3/i
         = 76.001s expire a2/i
         = 80.001s expire a1/i
         = 85.001s expire a3/i
         99s end",
    );
}

#[test]
fn it_never_counts_from_before_this_node_was_ready_nor_from_the_future() {
    check(
        "1s  elsewhere a1..3/i ttl=15s
         20s take-over a1/i 5s
         38s ready
         40s take-over a2/i 35s
         40s take-over a3/i 99s
         = 48s suspect a1/i age 10s lapse
         = 48s suspect a2/i age 10s lapse
         = 50s suspect a3/i age 10s lapse
         51s end",
    );
}

#[test]
fn what_this_node_heard_or_applied_itself_counts_if_it_is_younger() {
    check(
        "0   ready
         1s  elsewhere a1..3/i ttl=15s
         30s renew a2/i
         36s renew a1/i
         37s elsewhere a3/i ttl=15s
         40s take-over a1..3/i 35s
         = 45s suspect a2/i age 10s lapse
         = 46s suspect a1/i age 10s lapse
         = 47s suspect a3/i age 10s lapse
         48s end",
    );
}

#[test]
fn a_suspicion_of_the_last_owner_goes_on() {
    check(
        "0   cluster
         0   ready
         1s  elsewhere a1..2/i ttl=15s remove=30s
         20s they-suspect a1/i 10s
         40s take-over a1..2/i 35s
         41s barrier a1/i
         # A full time from 35 s; the suspicion of a1 was shown, that of a2 was not.
         = 45s suspect a2/i age 10s lapse
         = 50s unhealthy a1/i
         70s they-refute a1/i 5s
         = 75s suspect a1/i age 10s lapse
         76s end",
    );
}

#[test]
fn one_that_is_unhealthy_is_removed_behind_a_full_time() {
    check(
        "0   ready
         1s  elsewhere a/i ttl=15s remove=30s
         20s they-suspect a/i 10s
         25s they-fell a/i
         40s take-over a/i 35s
         # 35 s, 15 s and 30 s.
         = 80s expire a/i
         99s end",
    );
}

#[test]
fn a_failed_check_is_found_out_anew_by_its_new_owner() {
    // 3 failures, 5 s apart, and twice the timeout of 1 s: 17 s.
    check(
        "0   cluster
         0   ready
         1s  elsewhere a1..2/i checked remove=30s
         20s they-suspect a1/i 0
         20s they-suspect a2/i 0
         40s take-over a1..2/i 35s
         50s recover a2/i
         = 50s refute a2/i age 0s
         = 52s unhealthy a1/i
         60s end",
    );
}

#[test]
fn who_was_heard_by_the_new_owner_is_refuted_by_it() {
    check(
        "0   ready
         1s  elsewhere a1..2/i ttl=15s
         32s renew a1..2/i
         34s they-suspect a1/i 10s
         34s they-suspect a2/i 2s
         # As witness this node has been asked already; what it heard is not forgotten.
         35s take-over a1..2/i 20s
         = 35s refute a1/i age 3s
         = 42s suspect a1/i age 10s lapse
         = 47s unhealthy a1/i
         = 47s unhealthy a2/i
         48s end",
    );
}

#[test]
fn it_is_taken_over_once() {
    check(
        "0   ready
         1s  elsewhere s/a ttl=15s
         40s take-over s/a 35s
         44s take-over s/a 44s
         = 45s suspect s/a age 10s lapse
         46s take-over s/a 46s
         = 50s unhealthy s/a
         51s end",
    );
}

#[test]
fn a_lease_that_is_given_away_is_silent() {
    check(
        "0   ready
         0   register s/a1..3 ttl=15s
         5s  give s/a1
         = 10s suspect s *2
         12s give s/a2
         = 15s unhealthy s/a3
         16s give s/a3
         99s end",
    );
}

#[test]
fn heartbeats_that_others_tell_of_count_with_their_age() {
    check(
        "0   ready
         0   register s/a ttl=15s
         8s  told s/a 1s
         # Older than what is known: nothing new.
         = 17s suspect s/a age 10s lapse
         18s told s/a 12s
         19s told s/a 4s
         = 19s refute s/a age 4s
         = 25s suspect s/a age 10s lapse
         = 30s unhealthy s/a
         31s told s/a 0.5s
         = 31s refute s/a age 0.5s
         32s end",
    );
}

#[test]
fn another_nodes_refute_counts_although_this_ones_is_under_way() {
    check(
        "0     ready
         0     register s/a ttl=15s
         = 10s suspect s/a age 10s lapse
         10.5s delay 400ms
         11s   told s/a 4s
         = 11s refute s/a age 4s
         11.2s they-refute s/a 0.2s
         20.9s end
         = 21s suspect s/a age 10s lapse
         21.1s end",
    );
}

#[test]
fn of_another_nodes_suspicion_an_owner_is_a_witness() {
    // Two nodes believe that it is theirs; the other knows less.
    check(
        "0     cluster
         0     ready
         0     register s/a ttl=15s
         4s    renew s/a
         = 14s suspect s/a age 10s lapse
         14.5s they-refute s/a 10.5s
         = 14.5s suspect s/a age 10.5s lapse
         15s   they-refute s/a 11s
         = 15s suspect s/a age 11s lapse
         15.5s end",
    );
    check(
        "0     ready
         0     register s/a ttl=15s
         4s    renew s/a
         9s    they-suspect s/a 12s
         = 9s refute s/a age 5s
         9.5s  they-suspect s/a 12s
         19s   end
         = 19s unhealthy s/a
         20s   end",
    );
}

#[test]
fn a_session_whose_node_is_gone_has_its_grace_from_there() {
    check(
        "0   ready
         0   open-elsewhere A 10s
         0   open-elsewhere B 10s
         0   register s1..3/a session=A remove=30s
         0   register t/b session=B remove=30s
         30s they-suspect s1/a 7s
         30s they-suspect s2/a 7s
         33s they-fell s2/a
         40s own A 35s
         # 35 s, 10 s and 30 s.
         = 41.667s suspect s3/a age 6.667s session epoch 1
         = 45s unhealthy s1/a
         = 45s unhealthy s3/a
         = 75s expire s2/a
         = 75.001s expire s1/a
         = 75.001s expire s3/a
         = 75.002s close A epoch 1
         99s end",
    );
}

#[test]
fn the_grace_of_a_session_never_counts_from_before_this_node_was_ready() {
    check(
        "0   open-elsewhere A 10s
         0   register s/a session=A
         30s ready
         40s own A 5s
         = 40s suspect s/a age 10s session epoch 1
         = 40.001s unhealthy s/a
         41s end",
    );
}

#[test]
fn a_holder_that_comes_back_to_another_node_clears_everything() {
    check(
        "0   ready
         0   open-elsewhere A 10s
         0   register s1..2/a session=A remove=30s
         40s own A 35s
         = 41.667s suspect s1/a age 6.667s session epoch 1
         = 41.667s suspect s2/a age 6.667s session epoch 1
         44s attach-elsewhere A
         99s own A 99s
         = 105.667s suspect s1/a age 6.667s session epoch 2
         = 105.667s suspect s2/a age 6.667s session epoch 2
         = 109s unhealthy s1/a
         = 109s unhealthy s2/a
         110s attach-elsewhere A
         200s end",
    );
}

#[test]
fn a_session_that_is_given_away_is_silent() {
    check(
        "0   ready
         0   open A 10s
         0   register s1..2/a session=A
         20s lose A
         = 26.667s suspect s1/a age 6.667s session epoch 1
         = 26.667s suspect s2/a age 6.667s session epoch 1
         27s disown A
         50s own A 50s
         = 60s unhealthy s1/a
         = 60s unhealthy s2/a
         61s disown A
         99s end",
    );
}

#[test]
fn leases_of_sessions_at_other_nodes_are_not_counted() {
    use super::world::{World, key, session};
    use crate::model::Lease;
    let mut world = World::new();
    world.table.ready(0);
    world.open(session("A"), 10_000);
    for n in 0..3 {
        world.register(&key(&format!("s{n}/i")), Lease::stream(session("A"), 30_000).unwrap());
    }
    assert_eq!(world.table.counts().stream, 3);
    world.table.session_disowned(session("A"));
    world.table.session_disowned(session("A"));
    assert_eq!(world.table.counts().stream, 0);
    world.table.session_owned(session("A"), 0, 0);
    world.table.session_owned(session("A"), 0, 0);
    assert_eq!(world.table.counts().stream, 3);
}

#[test]
fn an_age_is_told_to_the_next_owner() {
    use super::world::{World, key, revision};
    use crate::model::Lease;
    let mut world = World::new();
    world.table.ready(0);
    world.register(&key("s/a"), Lease::DEFAULT);
    world.run_until(4_000);
    world.renew(&key("s/a"));
    world.run_until(9_500);
    assert_eq!(world.table.age(&key("s/a"), revision(1), world.now), Some(5_500));
    assert_eq!(world.table.age(&key("s/a"), revision(2), world.now), None);
    assert_eq!(world.table.age(&key("s/b"), revision(1), world.now), None);
}

#[test]
fn a_freeze_of_another_nodes_leases_holds_nothing_here() {
    use super::world::{World, key, revision};
    use crate::model::{FreezeScope, Lease, NodeIncarnation, Op};
    let mut world = World::new();
    world.table.ready(0);
    world.register(&key("s/a"), Lease::DEFAULT);
    world.table.frozen(&FreezeScope::Node(NodeIncarnation(2)), revision(50), 0);
    world.run_until(16_000);
    assert_eq!(world.count(|op| matches!(op, Op::Unhealthy { .. })), 1);
    world.register(&key("s/b"), Lease::DEFAULT);
    world.table.frozen(&FreezeScope::Node(NodeIncarnation(1)), revision(51), world.now);
    world.run_until(40_000);
    assert_eq!(world.count(|op| matches!(op, Op::Unhealthy { .. })), 1);
}
