mod fuzz;

use std::sync::Arc;

use compute::model::{Digest, Revision, ServiceKey};
use compute::view::{Encoded, View};

use super::{Etag, revision_of};

fn service() -> ServiceKey {
    ServiceKey::new("default", "orders").unwrap()
}

fn view(revision: &str, digest: u8) -> View {
    let row = compute::model::ServiceRow {
        settings: Default::default(),
        created_at_ms: 0,
        revision: revision.parse().unwrap(),
        settings_revision: revision.parse().unwrap(),
        implicit: true,
        last_removal: None,
        digest: Digest::default(),
    };
    View {
        row: Some(Arc::new(row)),
        revision: revision.parse().unwrap(),
        digest: Digest::from_bytes([digest; 16]),
        ..View::unknown(service())
    }
}

#[test]
fn the_content_is_compared_and_the_revision_is_not() {
    let (old, new) = (Etag::of(&view("1.5.0", 7)), Etag::of(&view("1.6.0", 7)));
    assert_ne!(old, new);
    assert!(new.matches(old.as_str()));
    assert!(!Etag::of(&view("1.6.0", 8)).matches(old.as_str()));
    let protected = View { protected: true, encoded: Encoded::default(), ..view("1.5.0", 7) };
    assert!(!Etag::of(&protected).matches(old.as_str()));
}

#[test]
fn an_unknown_service_has_a_tag_of_its_own() {
    let unknown = Etag::of(&View::unknown(service()));
    assert_eq!(unknown.as_str(), "\"0.0.0\"");
    assert!(unknown.matches("\"0.0.0\""));
    assert!(!unknown.matches("*"));
    let known = Etag::of(&view("1.5.0", 0));
    assert!(!known.matches(unknown.as_str()));
    assert!(!unknown.matches(known.as_str()));
    assert!(known.matches("*"));
}

#[test]
fn a_condition_may_name_several_and_be_weak_or_bare() {
    let tag = Etag::of(&view("1.5.0", 7));
    let condition = format!("\"1.2.3\", W/{tag} ,\"x\"");
    assert!(tag.matches(&condition));
    assert!(tag.matches("1.5.0"));
    assert!(!tag.matches("\"1.5.1\""));
    assert!(!tag.matches(""));
}

#[test]
fn what_is_not_in_the_log_makes_a_weak_tag_that_tells_its_content() {
    let logged = view("1.5.0", 7);
    let overlaid = View { overlay: 1, encoded: Encoded::default(), ..view("1.5.0", 7) };
    let tag = Etag::of(&overlaid);
    assert!(tag.as_str().starts_with("W/\"1.5.0-"), "{tag}");
    assert!(!tag.matches(Etag::of(&logged).as_str()));
    assert_eq!(tag.revision_bytes(), "1.5.0");
    assert_eq!(Etag::of_revision("1.5.0".parse().unwrap()).weak().as_str(), "W/\"1.5.0\"");
}

#[test]
fn a_tag_is_good_where_a_revision_is_asked_for() {
    let tag = Etag::of(&view("1.5.0", 7));
    let wanted: Revision = "1.5.0".parse().unwrap();
    for text in [tag.as_str(), "1.5.0", "\"1.5.0\"", "W/\"1.5.0\"", "1.5.0-abc"] {
        assert_eq!(revision_of("from", text), Ok(wanted), "{text}");
    }
    assert_eq!(tag.revision_bytes(), "1.5.0");
    for text in ["", "x", "1.5", "1.5.0.1", "\"1.5.0", "-1.5.0", "1.5.99999999"] {
        assert_eq!(revision_of("from", text).expect_err(text).field, "from");
    }
}
