//! Queries of any names and values, encoded in any way that is allowed.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode_byte, utf8_percent_encode};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Each byte as it may stand, or as it must, or as it need not.
fn encoded(text: &str, how: &[u8]) -> String {
    let mut how = how.iter().cycle();
    let mut out = String::new();
    for c in text.chars() {
        match (c, how.next().map_or(0, |how| how % 3)) {
            (' ', 0) => out.push('+'),
            (c, 1) if c.is_alphanumeric() => out.push(c),
            (c, 2) => c.to_string().bytes().for_each(|byte| out.push_str(&percent_encode_byte(byte).to_lowercase())),
            (c, _) => out.extend(utf8_percent_encode(c.encode_utf8(&mut [0; 4]), NON_ALPHANUMERIC)),
        }
    }
    out
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(
        pairs in proptest::collection::btree_map("[^\u{0}]{0,6}", "\\PC{0,8}|[ +%&=]{0,4}", 0..8),
        how in proptest::collection::vec(any::<u8>(), 1..16),
    ) {
        let text: Vec<_> = pairs.iter().map(|(k, v)| format!("x.{}={}", encoded(k, &how), encoded(v, &how))).collect();
        let joined = text.join("&");
        let mut query = Query::read(Some(&joined)).map_err(|problem| TestCaseError::fail(format!("{problem:?}")))?;
        let found: BTreeMap<_, _> = query.prefixed("x.", "x.KEY");
        prop_assert_eq!(found, pairs);
        prop_assert!(query.finish().is_ok());
    }

    #[test]
    fn a_broken_escape_is_refused_with_what_is_allowed(
        good in "[a-z]{1,6}", broken in "%|%[0-9a-f]|%[g-z]0|%ff|%c3%28|%ed%a0%80|%f5%80%80%80", at in any::<Index>(),
    ) {
        let at = at.index(good.len() + 1);
        let text = format!("n={}{broken}", &good[..at]);
        let problem = Query::read(Some(&text)).expect_err("broken");
        prop_assert_eq!(field(&problem), "n");
        prop_assert!(problem.parts().allowed.as_ref().is_some_and(|allowed| allowed.contains("UTF-8")), "{:?}", problem);
        let problem = Query::read(Some(&format!("{broken}=1"))).expect_err("broken");
        prop_assert_eq!(field(&problem), "query");
    }

    #[test]
    fn a_number_is_within_its_bounds_or_refused(text in "[0-9+ .e-]{0,21}|\\PC{0,6}", bounds in any::<[u64; 2]>()) {
        let (min, max) = (bounds[0].min(bounds[1]), bounds[0].max(bounds[1]));
        let query = format!("n={}", encoded(&text, &[0]));
        let mut query = Query::read(Some(&query)).unwrap();
        match query.whole("n", min, max) {
            Ok(number) => prop_assert_eq!(number.filter(|number| (min..=max).contains(number)), text.parse().ok()),
            Err(problem) => prop_assert_eq!(field(&problem), "n"),
        }
    }
}
