use super::LeaseCell;
use crate::model::Position;

#[test]
fn only_what_a_client_said_here_was_heard_here() {
    let cell = LeaseCell::new(5);
    assert_eq!((cell.renewed_ms(), cell.heard_ms()), (5, None));
    cell.renew(7);
    assert_eq!((cell.renewed_ms(), cell.heard_ms()), (7, Some(7)));
    cell.assume(6);
    assert_eq!((cell.renewed_ms(), cell.heard_ms()), (7, Some(7)), "what is older changes nothing");
    cell.assume(7);
    assert_eq!(cell.heard_ms(), Some(7), "what came at the same time is still a heartbeat");
    cell.assume(9);
    assert_eq!((cell.renewed_ms(), cell.heard_ms()), (9, None));
    cell.renew(8);
    assert_eq!((cell.renewed_ms(), cell.heard_ms()), (9, None));
    cell.renew(9);
    assert_eq!((cell.renewed_ms(), cell.heard_ms()), (9, Some(9)));
}

#[test]
fn a_heartbeat_that_has_refuted_is_spent_and_a_younger_one_is_not() {
    for (refuted, heard, renewed) in [(8, None, 8), (7, None, 7), (6, Some(7), 7)] {
        let cell = LeaseCell::default();
        cell.renew(7);
        cell.refuted(refuted);
        assert_eq!((cell.heard_ms(), cell.renewed_ms()), (heard, renewed), "refuted as of {refuted}");
        cell.renew(9);
        assert_eq!(cell.heard_ms(), Some(9));
    }
    let cell = LeaseCell::default();
    cell.renew(7);
    cell.spend(6);
    assert_eq!(cell.heard_ms(), Some(7));
    cell.spend(8);
    assert_eq!((cell.heard_ms(), cell.renewed_ms()), (None, 7), "its time counts from the heartbeat, not from later");
}

#[test]
fn a_heartbeat_is_told_that_a_suspicion_stands() {
    let cell = LeaseCell::default();
    assert!(!cell.renew(1));
    cell.suspect(Position::new(1, 1).unwrap().at(0));
    assert!(cell.renew(2));
    cell.clear();
    assert!(!cell.renew(3));
}

#[test]
fn a_lease_takes_two_words() {
    assert_eq!(size_of::<LeaseCell>(), 16);
}
