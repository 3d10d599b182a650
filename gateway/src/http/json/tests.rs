use proptest::prelude::*;
use serde_json::value::RawValue;

use super::{Object, number, whole};
use crate::error::Problem;

fn refused(problem: &Problem) -> (String, String) {
    let parts = problem.parts();
    assert_eq!(parts.code.as_str(), "invalid_argument", "{problem:?}");
    (parts.field.clone().expect("a field").into_owned(), parts.value.clone().unwrap_or_default())
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    for body in
        [&b""[..], b"  ", b"[]", b"null", b"12", b"\"x\"", b"{", b"{\"a\":}", b"{} {}", b"\xff\xfe", b"nonsense"]
    {
        let problem = Object::of_body(body).expect_err("not an object");
        assert_eq!(refused(&problem).0, "body", "{body:?}");
    }
}

#[test]
fn a_field_is_read_once_and_what_is_left_is_unknown() {
    let mut object = Object::of_body(br#" {"a":"x","b":7,"c":true,"d":1.5,"nonsense":{"deep":[1]}} "#).unwrap();
    assert_eq!(object.text("a").unwrap().as_deref(), Some("x"));
    assert_eq!(object.whole("b").unwrap(), Some(7));
    assert_eq!(object.flag("c").unwrap(), Some(true));
    assert_eq!(object.number("d").unwrap(), Some(1.5));
    assert_eq!(object.text("e").unwrap(), None);
    let problem = object.finish().expect_err("one is left");
    assert_eq!(refused(&problem), ("nonsense".to_owned(), "{\\\"deep\\\":[1]}".to_owned()));
    assert_eq!(problem.parts().allowed.as_deref(), Some("a, b, c, d, e"));
}

#[test]
fn a_wrong_type_names_field_value_and_what_is_allowed() {
    let body = br#"{"a":7,"b":"7","c":1,"d":[],"e":"{}"}"#;
    let mut object = Object::of_body(body).unwrap();
    let problems = [
        object.text("a").expect_err("a number"),
        object.whole("b").expect_err("a string"),
        object.flag("c").expect_err("a number"),
        object.object("d").expect_err("a list"),
        object.items("e", 1, 2).expect_err("a string"),
    ];
    let seen: Vec<_> = problems.iter().map(refused).collect();
    let wanted = [("a", "7"), ("b", "\\\"7\\\""), ("c", "1"), ("d", "[]"), ("e", "\\\"{}\\\"")];
    assert_eq!(seen, wanted.map(|(field, value)| (field.to_owned(), value.to_owned())));
    assert!(problems.iter().all(|problem| problem.parts().allowed.is_some()));
}

#[test]
fn a_field_inside_is_named_by_its_path() {
    let mut object = Object::of_body(br#"{"lease":{"check":{"http":7,"http2":1}}}"#).unwrap();
    let mut lease = object.object("lease").unwrap().unwrap();
    let mut check = lease.object("check").unwrap().unwrap();
    assert_eq!(refused(&check.text("http").expect_err("a number")).0, "lease.check.http");
    assert_eq!(refused(&check.finish().expect_err("unknown")).0, "lease.check.http2");
}

#[test]
fn a_key_that_is_there_twice_is_refused_at_every_level() {
    let problem = Object::of_body(br#"{"a":1,"b":2,"a":3}"#).expect_err("twice");
    assert_eq!(refused(&problem), ("a".to_owned(), "3".to_owned()));
    let mut object = Object::of_body(br#"{"metadata":{"k":"v","\u006b":"w"}}"#).unwrap();
    assert_eq!(refused(&object.object("metadata").expect_err("twice")).0, "metadata.k");
}

#[test]
fn too_many_fields_are_not_compared_with_each_other() {
    let fields: Vec<_> = (0..100_000).map(|n| format!("\"k{n}\":0")).collect();
    let problem = Object::of_body(format!("{{{}}}", fields.join(",")).as_bytes()).expect_err("too many");
    assert_eq!(refused(&problem).0, "body");
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep = format!("{{\"host\":{}{}}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let mut object = Object::of_body(deep.as_bytes()).unwrap();
    assert_eq!(refused(&object.text("host").expect_err("a list")).0, "host");
    let open = format!("{{\"host\":{}", "{\"a\":".repeat(1_000_000));
    assert_eq!(refused(&Object::of_body(open.as_bytes()).expect_err("cut off")).0, "body");
}

#[test]
fn null_is_a_value_only_where_it_clears() {
    let mut object = Object::of_body(br#"{"a":null,"b":null,"c":null}"#).unwrap();
    assert_eq!(refused(&object.text("a").expect_err("null")), ("a".to_owned(), "null".to_owned()));
    assert_eq!(object.settable("b", "a string or null", super::text).unwrap(), Some(None));
    assert_eq!(object.nullable_text("c").unwrap(), None);
    assert_eq!(object.settable("d", "a string or null", super::text).unwrap(), None);
}

#[test]
fn whole_numbers_are_whole_in_every_notation() {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    for (text, number) in [("0", 0), ("7", 7), ("7.0", 7), ("1e2", 100), ("18446744073709551615", u64::MAX)] {
        assert_eq!(whole(&raw(text)), Some(number), "{text}");
    }
    for text in ["-1", "7.5", "1e400", "\"7\"", "true", "null", "[7]", "99999999999999999999999"] {
        assert_eq!(whole(&raw(text)), None, "{text}");
    }
    assert_eq!(number(&raw("1e400")), None);
}

#[test]
fn a_list_has_its_bounds() {
    let items = |body: &str| {
        let body = body.to_owned();
        let mut object = Object::of_body(body.as_bytes())?;
        object.items("items", 1, 2).map(|items| items.len())
    };
    assert_eq!(items(r#"{"items":[1,{}]}"#).unwrap(), 2);
    for body in [r#"{}"#, r#"{"items":[]}"#, r#"{"items":[1,2,3]}"#, r#"{"items":null}"#, r#"{"items":{}}"#] {
        assert_eq!(refused(&items(body).expect_err(body)).0, "items", "{body}");
    }
}

#[test]
fn half_a_surrogate_pair_is_no_text() {
    let mut object = Object::of_body(br#"{"a":"\ud800"}"#).unwrap();
    assert_eq!(refused(&object.text("a").expect_err("half")).0, "a");
    assert_eq!(refused(&Object::of_body(br#"{"\ud800":1}"#).expect_err("half")).0, "body");
}

proptest! {
    /// Whatever the bytes: an object, or a problem that names a field.
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Err(problem) = Object::of_body(&bytes) {
            prop_assert!(problem.parts().field.is_some());
        }
    }

    /// The same of text that looks like JSON.
    #[test]
    fn no_text_does_harm(text in "[{}\\[\\]\",:a-z0-9\\\\ ]{0,200}") {
        if let Err(problem) = Object::of_body(text.as_bytes()) {
            prop_assert!(problem.parts().field.is_some());
        }
    }
}
