use super::*;

const INTERVAL_MS: u64 = 5_000;

fn heard(heard_ms: u64) -> Silence {
    Silence { heard_ms, nonce: 0, asked_ms: None }
}

/// What is due at a look that is made when it was meant to be.
fn in_time(silence: &mut Silence, now: u64) -> Look {
    silence.look(now, 0, INTERVAL_MS)
}

#[test]
fn a_silent_client_is_asked_once_and_then_given_up() {
    let mut silence = heard(1_000);
    assert!(matches!(in_time(&mut silence, 5_999), Look::Wait(1)));
    assert!(matches!(in_time(&mut silence, 6_000), Look::Ask(INTERVAL_MS)));
    assert!(matches!(in_time(&mut silence, 10_999), Look::Wait(1)));
    assert!(matches!(in_time(&mut silence, 11_000), Look::Over));
}

#[test]
fn a_ping_that_goes_out_late_has_its_whole_time_all_the_same() {
    let mut silence = heard(1_000);
    assert!(matches!(silence.look(18_000, 12_000, INTERVAL_MS), Look::Ask(INTERVAL_MS)));
    assert!(matches!(in_time(&mut silence, 22_999), Look::Wait(1)));
    assert!(matches!(in_time(&mut silence, 23_000), Look::Over));
}

#[test]
fn a_node_that_stood_still_while_it_waited_for_the_answer_waits_anew() {
    let mut silence = heard(1_000);
    assert!(matches!(in_time(&mut silence, 6_000), Look::Ask(_)));
    assert!(matches!(silence.look(30_000, 19_000, INTERVAL_MS), Look::Wait(INTERVAL_MS)));
    assert!(matches!(silence.look(35_010, 10, INTERVAL_MS), Look::Over), "a little late is in time");
}
