use super::{BEACON_MS, Roll};
use crate::model::NodeIncarnation;

const ME: NodeIncarnation = NodeIncarnation(1);
const OTHER: NodeIncarnation = NodeIncarnation(2);

fn roll() -> Roll {
    Roll::new(ME, [ME, OTHER].into_iter(), 1_000)
}

#[test]
fn the_first_beacon_is_due_at_once_and_the_next_after_it_came_back() {
    let mut roll = roll();
    assert!(roll.is_due(1_000));
    roll.sent();
    assert!(!roll.is_due(60_000), "one is under way");
    assert_eq!(roll.next_deadline(), None);
    roll.heard(ME, 2_000);
    assert!(!roll.is_due(2_000 + BEACON_MS - 1));
    assert!(roll.is_due(2_000 + BEACON_MS));
}

#[test]
fn one_that_never_got_into_the_log_is_said_again() {
    let mut roll = roll();
    roll.sent();
    roll.taken_back(3_000);
    assert_eq!(roll.next_deadline(), Some(3_000 + BEACON_MS));
}

#[test]
fn a_member_is_gone_after_four_own_beacons_without_one_of_its() {
    let mut roll = roll();
    for at in 1..=3 {
        assert_eq!(roll.heard(ME, at), []);
    }
    assert_eq!(roll.heard(ME, 4), [OTHER]);
    // Until the log says so it is said again.
    assert_eq!(roll.heard(ME, 5), [OTHER]);
    assert_eq!(roll.gone(OTHER), Some(1_000));
    assert_eq!(roll.heard(ME, 6), []);
}

#[test]
fn a_member_that_speaks_is_not_gone() {
    let mut roll = roll();
    for at in 1..=20 {
        assert_eq!(roll.heard(ME, at), []);
        if at % 3 == 0 {
            roll.heard(OTHER, at);
        }
    }
    assert_eq!(roll.gone(OTHER), Some(18), "what is heard last counts");
}

#[test]
fn after_the_log_was_away_the_count_starts_again() {
    let mut roll = roll();
    (1..=3).for_each(|at| drop(roll.heard(ME, at)));
    roll.log_is_away();
    for at in 4..=6 {
        assert_eq!(roll.heard(ME, at), [], "its silence before means nothing");
    }
    assert_eq!(roll.heard(ME, 7), [OTHER]);
}

#[test]
fn time_alone_makes_nobody_gone() {
    let mut roll = roll();
    assert!(roll.is_due(1_000_000));
    assert_eq!(roll.heard(ME, 1_000_000), []);
}
