mod fuzz;

use proptest::prelude::*;

use super::Query;
use crate::error::Problem;

fn field(problem: &Problem) -> &str {
    assert_eq!(problem.parts().code.as_str(), "invalid_argument");
    problem.parts().field.as_deref().expect("a field")
}

#[test]
fn values_are_decoded_as_forms_are() {
    let mut query = Query::read(Some("a=x%2Fy&b=1+2&&c=%C3%A4&d&e=")).unwrap();
    assert_eq!(query.text("a").as_deref(), Some("x/y"));
    assert_eq!(query.text("b").as_deref(), Some("1 2"));
    assert_eq!(query.text("c").as_deref(), Some("ä"));
    assert_eq!(query.text("d").as_deref(), Some(""));
    assert_eq!(query.text("e").as_deref(), Some(""));
    query.finish().unwrap();
    Query::read(None).unwrap().finish().unwrap();
}

#[test]
fn what_can_not_be_decoded_is_refused() {
    for (query, at) in [("a=%zz", "a"), ("a=%2", "a"), ("a=%ff", "a"), ("%ff=1", "query"), ("a=%C3", "a")] {
        assert_eq!(field(&Query::read(Some(query)).expect_err(query)), at, "{query}");
    }
}

#[test]
fn unknown_and_repeated_parameters_are_named() {
    let mut query = Query::read(Some("zone=a&zome=b")).unwrap();
    assert!(query.text("zone").is_some());
    let problem = query.finish().expect_err("unknown");
    assert_eq!(field(&problem), "zome");
    assert_eq!(problem.parts().value.as_deref(), Some("b"));
    assert_eq!(problem.parts().allowed.as_deref(), Some("zone"));
    assert_eq!(field(&Query::read(Some("a=1&b=2&%61=3")).expect_err("twice")), "a");
    let many: Vec<_> = (0..1_000).map(|n| format!("k{n}=1")).collect();
    assert_eq!(field(&Query::read(Some(&many.join("&"))).expect_err("too many")), "query");
}

#[test]
fn numbers_and_flags_have_one_form() {
    for text in ["", "-1", "1.0", "0x1", " 1", "+1", "11", "99999999999999999999"] {
        let query = format!("n={text}").replace(' ', "%20").replace('+', "%2B");
        let mut query = Query::read(Some(&query)).unwrap();
        assert_eq!(field(&query.whole("n", 1, 10).expect_err(text)), "n", "{text}");
    }
    for text in ["", "True", "1", "yes"] {
        let query = format!("f={text}");
        let mut query = Query::read(Some(&query)).unwrap();
        assert_eq!(field(&query.flag("f").expect_err(text)), "f");
    }
    let mut query = Query::read(Some("n=10&f=true&g=false")).unwrap();
    assert_eq!(query.whole("n", 1, 10).unwrap(), Some(10));
    assert_eq!(query.flag("f").unwrap(), Some(true));
    assert_eq!(query.flag("g").unwrap(), Some(false));
}

#[test]
fn a_prefix_gathers_what_follows_it() {
    let mut query = Query::read(Some("metadata.team=a&metadata.=b&metadat=c")).unwrap();
    let found = query.prefixed("metadata.", "metadata.KEY");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(String::new(), "b".into()), ("team".into(), "a".into())]);
    assert_eq!(field(&query.finish().expect_err("one is left")), "metadat");
}

proptest! {
    #[test]
    fn no_query_does_harm(text in "\\PC{0,200}") {
        match Query::read(Some(&text)) {
            Ok(query) => if let Err(problem) = query.finish() {
                prop_assert!(problem.parts().field.is_some());
            },
            Err(problem) => prop_assert!(problem.parts().field.is_some()),
        }
    }
}
