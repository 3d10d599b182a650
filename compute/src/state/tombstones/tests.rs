use super::*;

fn floor(generation: u8, offset: u64) -> (u8, u64) {
    let floor = Tombstones::floor(Position::new(generation, offset).expect("within a generation"));
    (floor.generation(), floor.offset())
}

#[test]
fn what_was_absent_before_a_log_of_its_first_life_was_absent() {
    for first in GENERATIONS_FIRST {
        assert_eq!(floor(first, 1), (0, 0), "nothing was removed before it began");
    }
    let raised = GENERATIONS_FIRST.end() + 1;
    assert_eq!(floor(raised, 1), (raised, 0), "what was removed before it is in rows that say nothing of it");
    assert_eq!(floor(3, TOMBSTONE_POSITIONS + 5), (3, 5));
}
