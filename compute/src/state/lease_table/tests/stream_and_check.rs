use super::script::check;

#[test]
fn an_attached_session_never_lapses() {
    check(
        "0   open A 10s
         0   register s/a session=A
         0   ready
         0   held A
         86400s end",
    );
}

#[test]
fn a_lost_session_takes_its_leases_with_it_and_then_closes() {
    check(
        "0   open A 10s
         0   register s1..2/a session=A remove=30s
         0   ready
         0   held A
         50s lose A
         = 56.667s suspect s1/a age 6.667s session epoch 1
         = 56.667s suspect s2/a age 6.667s session epoch 1
         = 60s unhealthy s1/a
         = 60s unhealthy s2/a
         = 90.001s expire s1/a
         = 90.001s expire s2/a
         = 90.002s close A epoch 1
         200s end",
    );
}

#[test]
fn a_session_that_comes_back_within_its_grace_keeps_everything() {
    check(
        "0   open A 10s
         0   register s/a session=A
         0   ready
         0   held A
         50s lose A
         = 56.667s suspect s/a age 6.667s session epoch 1
         59s resume A
         99s lose-old A
         200s lose A
         = 206.667s suspect s/a age 6.667s session epoch 2
         209s end",
    );
}

#[test]
fn a_session_that_comes_back_late_brings_its_leases_back() {
    check(
        "0   open A 10s
         0   register s/a session=A
         0   ready
         0   held A
         50s lose A
         = 56.667s suspect s/a age 6.667s session epoch 1
         = 60s unhealthy s/a
         80s resume A
         200s end",
    );
}

#[test]
fn an_attach_that_nobody_holds_is_a_loss() {
    check(
        "0   open A 10s
         0   register s/a session=A remove=30s
         0   ready
         0   held A
         50s attach A
         = 56.667s suspect s/a age 6.667s session epoch 2
         57s held A
         = 57s refute s/a age 0s
         99s attach A
         = 105.667s suspect s/a age 6.667s session epoch 3
         = 109s unhealthy s/a
         = 139.001s expire s/a
         = 139.002s close A epoch 3
         200s end",
    );
}

#[test]
fn a_session_at_another_node_is_none_of_ours() {
    check(
        "0   open A 10s
         0   register s/a session=A remove=30s
         0   ready
         0   held A
         50s lose A
         = 56.667s suspect s/a age 6.667s session epoch 1
         58s attach-elsewhere A
         99s lose A
         200s attach A
         = 206.667s suspect s/a age 6.667s session epoch 3
         209s end",
    );
}

#[test]
fn a_session_without_leases_is_closed_when_its_grace_is_over() {
    check(
        "0   open A 10s
         0   open B 10s
         0   register s/b session=B
         0   ready
         0   held A
         0   held B
         20s lose A
         25s lose B
         28s deregister s/b
         29s log loses
         = 30s close A epoch 1
         = 32s close A epoch 1
         33s log keeps
         = 34s close A epoch 1
         = 35s close B epoch 1
         99s end",
    );
}

#[test]
fn a_goodbye_leaves_nothing() {
    check(
        "0   open A 10s
         0   register s/a1..5 session=A
         0   ready
         0   held A
         20s lose A
         = 26.667s suspect s *5
         27s close A
         99s end",
    );
}

#[test]
fn a_lease_that_joins_a_lost_session_goes_with_it() {
    check(
        "0   open A 10s
         0   register r/a session=A
         0   ready
         0   held A
         20s lose A
         = 26.667s suspect r/a age 6.667s session epoch 1
         28s register s/a session=A
         = 28s suspect s/a age 8s session epoch 1
         29s register r/a session=A
         = 29s suspect r/a age 9s session epoch 1
         = 30s unhealthy r/a
         = 30s unhealthy s/a
         40s end",
    );
}

#[test]
fn after_a_restart_every_session_is_lost_and_has_its_full_grace() {
    check(
        "0   open A 10s
         0   open B 10s
         0   register s1..2/a session=A remove=30s
         0   register s3/b session=B remove=30s
         0   ready
         0   held A
         0   held B
         20s lose A
         = 26.667s suspect s1/a age 6.667s session epoch 1
         = 26.667s suspect s2/a age 6.667s session epoch 1
         29s restart
         30s resume B
         = 39s unhealthy s1/a
         = 39s unhealthy s2/a
         = 69.001s expire s1/a
         = 69.001s expire s2/a
         = 69.002s close A epoch 1
         99s end",
    );
}

#[test]
fn a_failed_check_is_unhealthy_at_once_and_stays_listed() {
    check(
        "0   register s/a checked remove=never
         0   ready
         20s fail s/a refused
         = 20s suspect s/a age 0s check refused
         = 20.001s unhealthy s/a
         25s fail s/a timeout
         86400s recover s/a
         = 86400s refute s/a age 0s
         86405s fail s/a closed
         = 86405s suspect s/a age 0s check closed
         = 86405.001s unhealthy s/a
         86500s end",
    );
}

#[test]
fn a_failed_check_with_a_time_to_removal_is_removed() {
    check(
        "0   register s/a checked remove=30s
         0   ready
         20s fail s/a refused
         = 20s suspect s/a age 0s check refused
         = 20.001s unhealthy s/a
         = 50.002s expire s/a
         99s end",
    );
}

#[test]
fn in_a_cluster_a_failed_check_waits_for_a_second_opinion() {
    check(
        "0   cluster
         0   register s/a checked remove=30s
         0   ready
         20s fail s/a refused
         = 20s suspect s/a age 0s check refused
         21s confirm s/a
         = 21s unhealthy s/a
         30s end",
    );
}

#[test]
fn a_failed_check_waits_no_longer_than_a_second_behind_its_timeout() {
    // The barrier, which stands at the log's start, is none of its concern.
    check(
        "0   cluster
         0   register s/a checked remove=30s
         0   ready
         20s fail s/a refused
         = 20s suspect s/a age 0s check refused
         = 22.001s unhealthy s/a
         30s end",
    );
}

#[test]
fn a_failed_check_does_not_wait_for_a_second_that_is_gone() {
    check(
        "0   cluster
         0   register s1..2/a checked remove=30s
         0   ready
         20s fail s1/a refused
         = 20s suspect s1/a age 0s check refused
         20s fail s2/a refused
         = 20s suspect s2/a age 0s check refused
         21s second-gone s2/a
         = 21s unhealthy s2/a
         = 22.001s unhealthy s1/a
         30s end",
    );
}

#[test]
fn a_confirmed_lapse_still_waits_for_the_barrier() {
    check(
        "0   cluster
         0   register s/a ttl=15s
         0   ready
         = 10s suspect s/a age 10s lapse
         11s confirm s/a
         40s end",
    );
}

#[test]
fn a_check_that_recovers_before_its_suspicion_is_applied_refutes_it() {
    check(
        "0     register s/a checked
         0     delay 500ms
         0     ready
         20s   fail s/a refused
         = 20s suspect s/a age 0s check refused
         20.2s recover s/a
         = 20.5s refute s/a age 0s
         30s   end",
    );
}

#[test]
fn a_check_that_recovers_is_believed_however_late_its_suspicion_comes() {
    check(
        "0     register s/a checked
         0     delay 5s
         0     ready
         20s   fail s/a refused
         = 20s suspect s/a age 0s check refused
         20.2s recover s/a
         21s   delay 1ms
         = 25s refute s/a age 0s
         40s   end",
    );
}

#[test]
fn a_check_that_fails_again_while_its_refute_is_under_way_is_suspect_again() {
    check(
        "0     register s/a checked
         0     delay 500ms
         0     ready
         20s   fail s/a refused
         = 20s suspect s/a age 0s check refused
         = 20.5s unhealthy s/a
         30s   recover s/a
         = 30s refute s/a age 0s
         30.2s fail s/a timeout
         = 30.5s suspect s/a age 0s check timeout
         = 31s unhealthy s/a
         40s   end",
    );
}

#[test]
fn a_refute_that_was_lost_is_void_when_the_check_has_failed_again() {
    check(
        "0     register s/a checked remove=30s
         0     ready
         20s   fail s/a refused
         = 20s suspect s/a age 0s check refused
         = 20.001s unhealthy s/a
         29s   log loses
         30s   recover s/a
         = 30s refute s/a age 0s
         30.2s fail s/a timeout
         31s   log keeps
         = 50.002s expire s/a
         60s   end",
    );
}

#[test]
fn a_recovery_without_a_failure_says_nothing() {
    check(
        "0   register s/a checked
         0   ready
         20s recover s/a
         30s fail s/a refused
         = 30s suspect s/a age 0s check refused
         = 30.001s unhealthy s/a
         31s end",
    );
}

#[test]
fn after_a_restart_a_check_is_found_out_anew() {
    // 3 failures, 5 s apart, and twice the timeout of 1 s: 17 s.
    check(
        "0   register s1..2/a checked remove=30s
         0   ready
         20s fail s1/a refused
         = 20s suspect s1/a age 0s check refused
         = 20.001s unhealthy s1/a
         29s delay 2s
         30s fail s2/a refused
         = 30s suspect s2/a age 0s check refused
         = 32s unhealthy s2/a
         33s restart
         33s delay 1ms
         40s recover s2/a
         = 40s refute s2/a age 0s
         = 80s expire s1/a
         99s end",
    );
}
