use proptest::prelude::*;

use super::{LAST_MS, parse, write};

fn format(ms: u64) -> String {
    let mut out = Vec::new();
    write(&mut out, ms);
    String::from_utf8(out).unwrap()
}

#[test]
fn known_times() {
    for (ms, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (951_868_799_999, "2000-02-29T23:59:59.999Z"),
        (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
        (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (LAST_MS, "9999-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(format(ms), text);
        assert_eq!(parse("at", text), Ok(ms));
    }
    assert_eq!(format(u64::MAX), format(LAST_MS));
}

#[test]
fn every_form_that_the_standard_allows() {
    for text in [
        "2023-11-14T22:13:20Z",
        "2023-11-14t22:13:20z",
        "2023-11-14T22:13:20.0Z",
        "2023-11-14T22:13:20.000000000Z",
        "2023-11-15T00:43:20+02:30",
        "2023-11-14T14:13:20-08:00",
    ] {
        assert_eq!(parse("at", text), Ok(1_700_000_000_000), "{text}");
    }
    assert_eq!(parse("at", "2023-11-14T22:13:20.1239Z"), Ok(1_700_000_000_123));
}

#[test]
fn what_is_no_time_is_refused() {
    for text in [
        "",
        "now",
        "2023-11-14",
        "2023-11-14 22:13:20Z",
        "2023-11-14T22:13:20",
        "2023-13-01T00:00:00Z",
        "2023-00-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2023-11-31T00:00:00Z",
        "2023-11-00T00:00:00Z",
        "2023-11-14T24:00:00Z",
        "2023-11-14T22:60:20Z",
        "2023-11-14T22:13:60Z",
        "2023-11-14T22:13:20.Z",
        "2023-11-14T22:13:20+24:00",
        "2023-11-14T22:13:20+02",
        "2023-11-14T22:13:20Z ",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "1700000000000",
        "２023-11-14T22:13:20Z",
        "9999-12-31T23:59:59-01:00",
    ] {
        let wrong = parse("expires_at", text).expect_err(text);
        assert_eq!(wrong.field, "expires_at");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(ms in 0..=LAST_MS) {
        prop_assert_eq!(parse("at", &format(ms)), Ok(ms));
    }

    #[test]
    fn no_text_does_harm(text in "\\PC{0,40}") {
        let _ = parse("at", &text);
    }

    #[test]
    fn nothing_that_looks_like_a_time_does_harm(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{0,12}[Z+-]?[0-9:]{0,5}") {
        let _ = parse("at", &text);
    }
}
