use super::script::check;

#[test]
fn what_lapses_in_a_hold_has_its_full_time_after_it() {
    check(
        "0    register a/i ttl=15s
         0    register b/i ttl=15s
         0    register c/i ttl=60s
         0    ready
         9s   renew b/i
         9.5s hold
         20s  release
         = 20s suspect b/i age 11s lapse
         # b lapsed only after the hold.
         = 24s unhealthy b/i
         = 30s suspect a/i age 10s lapse
         = 35s unhealthy a/i
         = 40s suspect c/i age 40s lapse
         41s  end",
    );
}

#[test]
fn a_hold_stops_every_stage() {
    check(
        "0    register a/i ttl=15s remove=30s
         0    register b/i ttl=15s remove=30s
         0    register c/i checked remove=30s
         0    ready
         4s   renew b/i
         = 10s suspect a/i age 10s lapse
         = 14s suspect b/i age 10s lapse
         = 15s unhealthy a/i
         17s  hold
         18s  fail c/i refused
         60s  release
         = 60s suspect c/i age 0s check refused
         # A full time for b, and so long that a is not gone before a suspect would be; c is probed anew.
         = 75s expire a/i
         = 75s unhealthy b/i
         = 77s unhealthy c/i
         99s  end",
    );
}

#[test]
fn what_was_said_before_a_hold_is_thought_over_after_it() {
    check(
        "0     register s/a ttl=15s
         0     ready
         = 10s suspect s/a age 10s lapse
         14.9s log loses
         = 15s unhealthy s/a
         16.9s hold
         40s   log keeps
         40s   release
         = 55s unhealthy s/a
         56s   end",
    );
}

#[test]
fn refutes_are_said_in_a_hold() {
    check(
        "0     register s/a ttl=15s
         0     delay 500ms
         0     ready
         = 10s suspect s/a age 10s lapse
         10.1s hold
         10.2s renew s/a
         = 10.5s refute s/a age 0.3s
         99s   release
         = 109s suspect s/a age 10s lapse
         110s  end",
    );
}

#[test]
fn a_lost_session_has_its_full_grace_after_a_hold() {
    check(
        "0    open A 10s
         0    open B 10s
         0    open C 10s
         0    register s/a session=A
         0    ready
         0    held A
         0    held B
         0    held C
         20s  lose A
         20s  lose B
         25s  hold
         39s  lose C
         40s  release
         = 46.667s suspect s/a age 6.667s session epoch 1
         = 49s close C epoch 1
         = 50s close B epoch 1
         = 50s unhealthy s/a
         51s  end",
    );
}

#[test]
fn a_late_loop_gives_a_full_time_to_what_lapsed_meanwhile_if_it_was_long() {
    check(
        "0     register a/i ttl=3s
         0     register b/i ttl=4s
         0     register c/i ttl=30s
         0     ready
         = 2s suspect a/i age 2s lapse
         = 2.7s suspect b/i age 2.7s lapse
         2.9s  late 1.2s
         = 4.1s unhealthy b/i
         # 1.2 s are more than a third of 3 s, and not of 4 s.
         = 7.1s unhealthy a/i
         8s    end",
    );
}

#[test]
fn a_late_loop_gives_a_full_time_to_what_it_did_not_even_suspect() {
    check(
        "0     register s/a ttl=3s
         0     ready
         1s    late 9s
         = 12s suspect s/a age 2s lapse
         = 13s unhealthy s/a
         14s   end",
    );
}

#[test]
fn nothing_is_said_before_ready() {
    check(
        "0    register s/a ttl=1s
         50s  ready
         = 50.7s suspect s/a age 0.7s lapse
         = 51s unhealthy s/a
         51.5s end",
    );
}
