use schemas::migration::Migration;

use super::{Applied, Mismatch, outstanding};

const KNOWN: &[Migration] = &[
    Migration { number: 1, name: "tables", sql: ";" },
    Migration { number: 2, name: "more", sql: ";" },
    Migration { number: 3, name: "still_more", sql: ";" },
];

fn applied(rows: &[(i64, &str)]) -> Vec<Applied> {
    rows.iter().map(|(number, name)| Applied { number: *number, name: (*name).to_owned() }).collect()
}

#[test]
fn what_is_missing_is_applied_in_order() {
    assert_eq!(outstanding(&[], KNOWN).unwrap(), KNOWN);
    assert_eq!(outstanding(&applied(&[(1, "tables")]), KNOWN).unwrap(), &KNOWN[1..]);
    assert_eq!(outstanding(&applied(&[(1, "tables"), (2, "more"), (3, "still_more")]), KNOWN).unwrap(), &[]);
}

#[test]
fn a_newer_schema_is_refused_whatever_it_is_called() {
    let newer = applied(&[(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]);
    assert_eq!(outstanding(&newer, KNOWN), Err(Mismatch::Newer { found: 5, known: 3 }));
    for far in [[(99, "a")].as_slice(), &[(1, "tables"), (99, "z")]] {
        assert_eq!(outstanding(&applied(far), KNOWN), Err(Mismatch::Newer { found: 99, known: 3 }), "{far:?}");
    }
}

#[test]
fn another_past_is_refused() {
    let renamed = outstanding(&applied(&[(1, "tables"), (2, "other")]), KNOWN);
    assert_eq!(renamed, Err(Mismatch::Foreign("migration 2 was \"other\", here it is \"more\"".to_owned())));
    for gap in [[(2, "more")].as_slice(), &[(1, "tables"), (3, "still_more")], &[(0, "tables")]] {
        let refused = outstanding(&applied(gap), KNOWN);
        assert!(matches!(refused, Err(Mismatch::Foreign(_))), "{gap:?}: {refused:?}");
    }
}
