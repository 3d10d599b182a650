use compute::testing::change_log::suite::frame;

use super::*;

const LOG: LogIdentity = LogIdentity([5; 16]);

fn entry(offset: u64) -> (Entry, usize) {
    let position = Position::new(1, offset).unwrap();
    (Entry { position, frame: frame(LOG, offset), checksum: offset * 10 }, 100)
}

fn at(offset: u64) -> Position {
    Position::new(1, offset).unwrap()
}

fn look(shown: &Shown, after: u64) -> Result<Look, LogReadError> {
    shown.subscribe().look(shown, at(after), 10)
}

#[test]
fn a_reader_is_told_where_its_frames_are() {
    let shown = Shown::new(LOG, 1, (3, 10), 400);
    // The follower begins with the last one.
    assert!(matches!(look(&shown, 9), Ok(Look::Nothing)));
    assert!(matches!(look(&shown, 5), Ok(Look::Older)));
    assert!(matches!(look(&shown, 2), Err(LogReadError::Trimmed { trimmed }) if trimmed == at(3)));
    assert!(matches!(look(&shown, 11), Ok(Look::Beyond)));
    shown.push((10..=12).map(entry).collect()).unwrap();
    assert!(matches!(look(&shown, 9), Ok(Look::Older)), "only one fits into the tail");
    assert!(matches!(look(&shown, 11), Ok(Look::Entries(entries)) if entries[0].position == at(12)));
    assert!(matches!(look(&shown, 12), Ok(Look::Nothing)));
    assert!(matches!(shown.subscribe().look(&shown, Position::new(2, 1).unwrap(), 1), Err(LogReadError::Unusable(_))));
}

#[test]
fn ends_that_go_back_are_another_topic() {
    let shown = Shown::new(LOG, 1, (3, 10), 1_000);
    let bounds = shown.observe((4, 12), 10).unwrap();
    assert_eq!((bounds.trimmed, bounds.last), (at(4), at(12)));
    assert!(shown.observe((4, 11), 12).unwrap_err().contains("ended at 12 and now ends at 11"));
    assert!(shown.observe((3, 12), 12).unwrap_err().contains("trimmed up to 4 and now begins behind 3"));
    // An answer that is older than what was acknowledged meanwhile is no sign of it.
    shown.acknowledge(13, 130, 12).unwrap();
    shown.observe((4, 12), 12).unwrap();
    assert_eq!(shown.known(), 13);
}

#[test]
fn an_append_that_is_not_where_it_should_be_is_told() {
    let shown = Shown::new(LOG, 1, (0, 10), 1_000);
    assert!(shown.acknowledge(10, 1, 10).unwrap_err().contains("made anew"));
    // The follower comes to another frame than the one that was acknowledged there.
    shown.acknowledge(11, 7, 10).unwrap();
    assert!(shown.push(vec![entry(10), entry(11)]).unwrap_err().contains("the frame at 11 has checksum"));
    // Or it was there already.
    let shown = Shown::new(LOG, 1, (0, 10), 1_000);
    shown.push(vec![entry(10), entry(11), entry(12)]).unwrap();
    assert_eq!(shown.acknowledge(12, 120, 10).unwrap(), at(12));
    assert!(shown.acknowledge(11, 1, 10).unwrap_err().contains("appended was"));
}

/// By it a topic that was made anew is known, however soon the follower went over to it.
#[test]
fn what_was_shown_first_is_kept() {
    let shown = Shown::new(LOG, 1, (0, 10), 100);
    assert_eq!((shown.first(), shown.last()), (None, None));
    shown.push(vec![entry(10), entry(11)]).unwrap();
    shown.push((12..40).map(entry).collect()).unwrap();
    assert_eq!((shown.first(), shown.last()), (Some((10, 100)), Some((39, 390))));
    shown.restart_behind(50);
    assert_eq!((shown.first(), shown.last()), (Some((10, 100)), None));
}

#[test]
fn the_first_trouble_stands() {
    let shown = Shown::new(LOG, 1, (0, 0), 1_000);
    shown.set_unusable("it was made anew".into());
    shown.set_unusable("and more".into());
    assert!(matches!(look(&shown, 0), Err(LogReadError::Unusable(why)) if why == "it was made anew"));
    assert_eq!(shown.refusal().unwrap(), "it was made anew");
    shown.set_closed();
    assert!(matches!(look(&shown, 0), Err(LogReadError::Away(_))));
}
