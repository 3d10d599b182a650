use std::collections::BTreeSet;

use super::*;
use crate::port::Chance as _;
use crate::testing::SeededChance;

#[test]
fn a_new_log_seldom_has_the_generation_of_the_one_before() {
    let drawn: BTreeSet<_> = (0..10_000).map(|seed| first_generation(SeededChance::new(seed).number())).collect();
    assert_eq!(drawn, GENERATIONS_FIRST.collect(), "all of them, and no other");
}
