use super::script::check;

#[test]
fn one_of_ten_goes_in_its_time() {
    check(
        "0   hide suspect
         0   register s/i1..10 ttl=15s remove=30s
         0   keep s/i1..10
         0   ready
         21s kill s/i7
         = 35s unhealthy s/i7
         = 65.001s expire s/i7
         99s end",
    );
}

#[test]
fn nine_of_ten_go_in_their_time() {
    check(
        "0   hide suspect
         0   register s/i1..10 ttl=15s remove=30s
         0   keep s/i1..10
         0   ready
         21s kill s/i1..9
         = 35s unhealthy s *9
         = 65.001s expire s *9
         99s end",
    );
}

#[test]
fn a_service_of_one_or_two_is_exempt() {
    check(
        "0   hide suspect
         0   register s/i1..2 ttl=15s remove=30s
         0   ready
         = 15s unhealthy s *2
         = 45.001s expire s *2
         99s end",
    );
}

#[test]
fn a_service_that_would_lose_all_is_frozen_and_then_goes_one_by_one() {
    check(
        "0    hide suspect
         0    register s/i1..3 ttl=15s remove=30s
         0    ready
         = 15s freeze service s 3 of 3
         = 135.001s thaw service s
         = 135.002s unhealthy s/i1
         = 145.002s unhealthy s/i2
         = 155.002s unhealthy s/i3
         = 165.003s expire s/i1
         = 175.003s expire s/i2
         = 185.003s expire s/i3
         400s end",
    );
}

#[test]
fn the_last_of_a_service_are_kept_when_the_first_went_just_before() {
    check(
        "0    hide suspect
         0    register s/i1..5 ttl=15s remove=30s
         0    ready
         4s   renew s/i4..5
         # The freeze keeps those that are unhealthy already too; they go with the others.
         = 15s unhealthy s *3
         = 19s freeze service s 5 of 5
         = 139.001s thaw service s
         = 139.002s expire s/i1
         = 149.002s expire s/i2
         = 159.002s expire s/i3
         = 169.002s unhealthy s/i4
         = 179.002s unhealthy s/i5
         = 199.003s expire s/i4
         = 209.003s expire s/i5
         400s end",
    );
}

#[test]
fn members_lost_one_by_one_are_no_mass_loss() {
    check(
        "0    hide suspect
         0    register s/i1..3 ttl=15s remove=60s
         0    ready
         9s   renew s/i2..3
         = 15s unhealthy s/i1
         15.5s renew s/i2..3
         16s  end
         # The first went in the last window, and is not counted in this one.
         = 30.5s unhealthy s *2
         31s  end",
    );
}

#[test]
fn a_freeze_ends_when_enough_are_heard_again_and_the_rest_goes_slowly() {
    check(
        "0    hide suspect
         0    register s/i1..3 ttl=15s remove=30s
         0    ready
         = 15s freeze service s 3 of 3
         60s  keep s/i2
         = 60s refute s/i2 age 0s
         = 60.001s thaw service s
         = 60.002s unhealthy s/i1
         = 70.002s unhealthy s/i3
         = 90.003s expire s/i1
         = 100.003s expire s/i3
         400s end",
    );
}

#[test]
fn a_freeze_whose_leases_are_taken_back_ends() {
    check(
        "0    hide suspect
         0    register s/i1..3 ttl=15s remove=30s
         0    ready
         = 15s freeze service s 3 of 3
         60s  deregister s/i1
         = 60s thaw service s
         = 60.001s unhealthy s/i2
         = 70.001s unhealthy s/i3
         71s  end",
    );
}

#[test]
fn the_protect_threshold_is_the_limit() {
    check(
        "0    hide suspect
         0    threshold s 0.5
         0    threshold t 0.5
         0    register s/i1..10 ttl=15s remove=60s
         0    register t/i1..10 ttl=15s remove=60s
         0    keep s/i1..10
         0    keep t/i1..10
         0    ready
         21s  kill s/i1..5
         21s  kill t/i1..6
         = 35s freeze service t 6 of 10
         = 35s unhealthy s *5
         50s  keep t/i6
         = 50s refute t/i6 age 0s
         = 50.001s thaw service t
         = 50.002s unhealthy t/i1
         = 60.002s unhealthy t/i2
         60.5s end",
    );
}

#[test]
fn a_service_below_its_threshold_is_still_protected_against_losing_all() {
    check(
        "0    hide suspect
         0    threshold s 0.5
         0    register s/i1..10 ttl=15s remove=600s
         0    keep s/i1..10
         0    ready
         0    kill s/i1..5
         = 15s unhealthy s *5
         21s  kill s/i6
         # It falls below: one is enough.
         = 35s freeze service s 1 of 10
         = 155.001s thaw service s
         = 155.002s unhealthy s/i6
         201s kill s/i7..9
         = 215s unhealthy s *3
         231s kill s/i10
         = 245s unhealthy s/i10
         260s end",
    );
}

#[test]
fn fifteen_percent_of_a_hundred_may_go_and_not_sixteen() {
    check(
        "0   hide suspect
         0   register s1..100/i ttl=15s remove=600s
         0   keep s1..100/i
         0   ready
         11s hide suspect unhealthy
         21s kill s1..16/i
         = 35s freeze node 1 16 of 100
         50s end",
    );
    check(
        "0   hide suspect unhealthy
         0   register s1..100/i ttl=15s remove=600s
         0   keep s1..100/i
         0   ready
         21s kill s1..15/i
         50s end",
    );
}

#[test]
fn fewer_than_a_hundred_trip_no_freeze_of_the_node() {
    check(
        "0   hide suspect unhealthy
         0   register s1..99/i ttl=15s remove=600s
         0   register p1..50/i permanent
         0   ready
         50s end",
    );
}

#[test]
fn what_went_within_the_window_counts() {
    // 15 have gone when the window's last comes, 9.9 s after the first.
    check(
        "0   hide suspect unhealthy expire
         0   register s1..100/i ttl=15s remove=1s
         0   keep s1..100/i
         0   ready
         21s kill s1..16/i
         29.9s renew s16/i
         # The freeze ends when the 15 are gone for a window.
         = 44.9s freeze node 1 16 of 100
         = 46.901s thaw node 1
         50s end",
    );
}

#[test]
fn what_went_before_the_window_does_not() {
    check(
        "0   hide suspect unhealthy expire
         0   register s1..100/i ttl=15s remove=600s
         0   keep s1..100/i
         0   ready
         21s kill s1..16/i
         30s renew s16/i
         50s end",
    );
}

#[test]
fn one_that_flaps_counts_once() {
    check(
        "0    hide suspect unhealthy refute
         0    register s1..99/i ttl=15s remove=600s
         0    register t/i ttl=1s remove=600s
         0    keep s1..99/i
         0    ready
         21s  kill s1..14/i
         25s  renew t/i
         27s  renew t/i
         29s  renew t/i
         31s  renew t/i
         33s  renew t/i
         36.5s end",
    );
}

#[test]
fn a_lost_host_is_frozen_for_two_minutes_and_then_goes_slowly() {
    // 150 leases in 15 services; the host has 2 of each. 15 % are 22.
    check(
        "0    hide suspect
         0    register s1..15/i1..10 ttl=15s remove=30s
         0    keep s1..15/i1..10
         0    ready
         21s  kill s1..15/i1..2
         = 35s freeze node 1 30 of 150
         155s hide suspect unhealthy expire
         = 155.001s thaw node 1
         155.01s unhealthies 22
         165.001s unhealthies 22
         165.01s unhealthies 30
         185.01s expiries 22
         195.001s expiries 22
         195.01s expiries 30
         400s end",
    );
}

#[test]
fn each_service_loses_at_least_one_a_window_whatever_the_share() {
    // One in each of 30 services of 5: more than 15 %, and no service is worse off for it.
    check(
        "0    hide suspect unhealthy expire
         0    register s1..30/i1..5 ttl=15s remove=600s
         0    keep s1..30/i1..5
         0    ready
         21s  kill s1..30/i1
         = 35s freeze node 1 30 of 150
         = 155.001s thaw node 1
         155.01s unhealthies 30
         200s end",
    );
}

#[test]
fn what_lapses_while_a_freeze_stands_is_kept_by_it() {
    check(
        "0    hide suspect
         0    register s/i1..6 ttl=15s remove=30s
         0    register t1..100/i ttl=15s remove=30s
         0    keep s/i1..6
         0    keep t1..100/i
         0    ready
         21s  kill t1..20/i
         = 35s freeze node 1 20 of 106
         41s  kill s/i1
         81s  kill s/i2..6
         155.001s hide suspect unhealthy expire
         = 155.001s thaw node 1
         # One of each service: 21, more than 15 % of 106; then up to 15. Nothing of s trips another freeze.
         155.01s unhealthies 21
         165s unhealthies 21
         165.01s unhealthies 26
         400s expiries 26
         400s end",
    );
}

#[test]
fn nothing_goes_between_a_freeze_said_and_applied() {
    check(
        "0     hide suspect
         0     register s/i1..3 ttl=15s remove=30s
         0     ready
         14s   log loses
         = 15s freeze service s 3 of 3
         = 17s freeze service s 3 of 3
         17.5s delay 1.5s
         17.5s log keeps
         # Two minutes count from when it is applied.
         = 19s freeze service s 3 of 3
         = 140.5s thaw service s
         = 142s unhealthy s/i1
         143s  end",
    );
}

#[test]
fn a_freeze_that_never_came_is_dropped_when_its_reason_is_over() {
    check(
        "0     hide suspect
         0     register s/i1..3 ttl=15s remove=30s
         0     ready
         14s   log refuses
         14.9s hide suspect freeze
         15.1s log keeps
         15.1s keep s/i1
         = 15.1s refute s/i1 age 0s
         = 15.25s unhealthy s/i2
         = 25.25s unhealthy s/i3
         26s   end",
    );
}

#[test]
fn an_operator_ends_a_freeze_and_the_rest_goes_slowly() {
    check(
        "0    hide suspect
         0    register s/i1..3 ttl=15s remove=30s
         0    ready
         = 15s freeze service s 3 of 3
         20s  operator-releases
         = 20s unhealthy s/i1
         = 30s unhealthy s/i2
         = 40s unhealthy s/i3
         = 50.001s expire s/i1
         = 60.001s expire s/i2
         = 70.001s expire s/i3
         99s  end",
    );
}

#[test]
fn a_release_that_is_lost_is_said_again() {
    check(
        "0    hide suspect
         0    register s/i1..3 ttl=15s remove=30s
         0    ready
         = 15s freeze service s 3 of 3
         130s log loses
         = 135.001s thaw service s
         136s log keeps
         = 137.001s thaw service s
         = 137.002s unhealthy s/i1
         140s end",
    );
}

#[test]
fn a_freeze_outlives_a_restart_by_two_minutes() {
    check(
        "0    hide suspect
         0    register s/i1..4 ttl=15s remove=30s
         0    ready
         = 15s freeze service s 4 of 4
         60s  restart
         61s  keep s/i4
         = 61s refute s/i4 age 0s
         # How many would go is not known any more, so nothing ends it before its time.
         = 180s thaw service s
         = 180.001s unhealthy s/i1
         = 190.001s unhealthy s/i2
         = 200.001s unhealthy s/i3
         205s end",
    );
}

#[test]
fn a_restarted_node_releases_what_its_last_incarnation_froze() {
    check(
        "0    hide suspect
         0    register s1..100/i ttl=15s remove=600s
         0    keep s1..100/i
         0    ready
         11s  kill s1..16/i
         = 25s freeze node 1 16 of 100
         60s  hide suspect unhealthy
         60s  restart
         = 180s thaw node 1
         180.01s unhealthies 16
         190s end",
    );
}

#[test]
fn a_service_frozen_before_the_node_is_goes_when_its_own_freeze_ends() {
    check(
        "0    hide suspect
         0    register s/i1..3 ttl=15s remove=600s
         0    register t1..100/i ttl=15s remove=600s
         0    keep t1..100/i
         0    ready
         = 15s freeze service s 3 of 3
         71s  kill t1..20/i
         = 85s freeze node 1 20 of 103
         = 135.001s thaw service s
         = 135.002s unhealthy s/i1
         = 145.002s unhealthy s/i2
         = 155.002s unhealthy s/i3
         200s hide suspect unhealthy
         = 205.001s thaw node 1
         205.01s unhealthies 23
         210s end",
    );
}

#[test]
fn many_services_that_lose_all_are_frozen_each_or_with_the_node() {
    check(
        "0    hide suspect unhealthy expire thaw
         0    register s1..3/i1..3 ttl=15s remove=30s
         0    register t1..100/i ttl=15s remove=30s
         0    keep s1..3/i1..3
         0    keep t1..100/i
         0    ready
         21s  kill s1..3/i1..3
         = 35s freeze service s1 3 of 3
         = 35s freeze service s2 3 of 3
         = 35s freeze service s3 3 of 3
         155.1s unhealthies 3
         165.1s unhealthies 6
         175.1s unhealthies 9
         300s  expiries 9
         300s end",
    );
    check(
        "0    hide suspect unhealthy expire thaw
         0    register s1..7/i1..3 ttl=15s remove=30s
         0    register t1..100/i ttl=15s remove=30s
         0    keep s1..7/i1..3
         0    keep t1..100/i
         0    ready
         21s  kill s1..7/i1..3
         # 15 % are 18.
         = 35s freeze node 1 21 of 121
         155.1s unhealthies 18
         165.1s unhealthies 21
         300s expiries 21
         300s end",
    );
}

#[test]
fn a_hold_gives_no_new_time_to_what_is_frozen() {
    check(
        "0    hide suspect
         0    register s/i1..3 ttl=15s remove=30s
         0    ready
         = 15s freeze service s 3 of 3
         100s hold
         134.9s release
         = 135.001s thaw service s
         = 135.002s unhealthy s/i1
         = 145.002s unhealthy s/i2
         146s end",
    );
}

#[test]
fn a_service_that_comes_back_can_be_frozen_again() {
    check(
        "0    hide suspect
         0    register s/i1..3 ttl=15s remove=30s
         0    ready
         = 15s freeze service s 3 of 3
         20s  renew s/i1..3
         = 20s refute s *3
         = 20.001s thaw service s
         = 35.001s freeze service s 3 of 3
         40s  end",
    );
}
