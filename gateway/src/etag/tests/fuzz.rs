//! Conditions and revisions as callers write them, and as they should.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::precondition::Expected;

fn revision() -> impl Strategy<Value = Revision> {
    prop_oneof![0..1_u64 << 63, 0..1_u64 << 20].prop_map(|packed| Revision::from_packed(packed).unwrap())
}

/// Something like a tag, or like a list of them.
fn condition() -> impl Strategy<Value = String> {
    let known = vec![
        "",
        "*",
        "\"",
        "\"\"",
        "W/",
        "W/\"",
        "w/\"1.1.0\"",
        "-",
        "\"-\"",
        "1.1.0",
        "\"1.1.0\"",
        "W/\"1.1.0\"",
        "\"1.1.0-\"",
        "\"0.0.0\"",
        "0.0.0-0",
        "\"1.1.0-0011223344556677\"",
        ",",
        ", ,",
        " \"1.1.0\" ",
        "\"1.1.0\"\"",
        "\"ü\"",
        "\"128.0.0\"",
    ];
    let one =
        prop_oneof![3 => select(known).prop_map(str::to_owned), 1 => "[W/\"0-9a-f.*, -]{0,24}", 1 => "\\PC{0,12}"];
    proptest::collection::vec(one, 0..4).prop_map(|all| all.join(","))
}

proptest! {
    #[test]
    fn a_revision_is_found_in_whatever_was_given_as_one(revision in revision(), content in "\\PC{0,20}") {
        for tag in [Etag::of_revision(revision), Etag::of_content(revision, content.as_bytes())] {
            for tag in [tag.clone(), tag.weak().weak()] {
                prop_assert_eq!(revision_of("from", tag.as_str()), Ok(revision));
                let bytes = tag.revision_bytes();
                prop_assert_eq!(str::from_utf8(&bytes).unwrap(), revision.to_string());
                prop_assert!(http::HeaderValue::from_maybe_shared(tag.bytes()).is_ok());
            }
        }
        prop_assert_eq!(revision_of("from", &revision.to_string()), Ok(revision));
    }

    #[test]
    fn a_tag_names_itself_and_no_other_content(
        revisions in [revision(), revision()],
        contents in ["[a-z]{1,8}", "[a-z]{1,8}"],
        around in condition(),
    ) {
        let [first, second] = [0, 1].map(|at| Etag::of_content(revisions[at], contents[at].as_bytes()));
        for own in [first.clone(), first.clone().weak()] {
            let listed = format!("{around}, {own},");
            prop_assert!(first.matches(own.as_str()) && own.matches(first.as_str()) && first.matches(&listed), "{}", listed);
        }
        prop_assert_eq!(first.matches(second.as_str()), contents[0] == contents[1]);
        // A bare revision is no word about the content of another one.
        let bare = Etag::of_revision(revisions[1]);
        prop_assert_eq!(first.matches(bare.as_str()), revisions[0] == revisions[1]);
        prop_assert_eq!(bare.matches(first.as_str()), false);
    }

    #[test]
    fn no_condition_is_too_strange(text in condition(), revision in revision()) {
        let exists = Etag::of_content(Revision::from_packed(1).unwrap(), b"here");
        let is_any = text.split(',').any(|one| one.trim() == "*");
        prop_assert!(!is_any || exists.matches(&text));
        let absent = Etag::of_revision(Revision::ZERO);
        prop_assert!(!absent.matches("*"));
        if let Err(wrong) = revision_of("last-event-id", &text) {
            prop_assert_eq!(wrong.field.as_ref(), "last-event-id");
            prop_assert!(wrong.allowed.contains("ETag") && wrong.value.len() < 1_000);
        }
        match Expected::named(Some(&text)) {
            Expected::Any => prop_assert!(false, "a condition that is given is none"),
            Expected::Existing => prop_assert_eq!(text.trim(), "*"),
            Expected::Revision(named) => {
                let quoted = text.trim().trim_matches('"').parse::<Revision>();
                prop_assert_eq!(quoted, Ok(named));
            }
            Expected::Nothing => {}
        }
        let own = Etag::of_revision(revision);
        prop_assert_eq!(Expected::named(Some(own.as_str())), Expected::Revision(revision));
        prop_assert_eq!(Expected::named(Some(own.weak().as_str())), Expected::Nothing);
        prop_assert_eq!(Expected::named(None), Expected::Any);
    }
}
