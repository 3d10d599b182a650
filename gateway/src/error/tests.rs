use std::time::Duration;

use compute::Error;
use compute::error::What;
use compute::model::{Invalid, LeaseKind, Revision};

use super::{Code, Problem};

fn every_error() -> Vec<Error> {
    let at: Revision = "1.2.3".parse().unwrap();
    let whats =
        [What::Namespace, What::Service, What::Instance, What::Override, What::Session, What::Node, What::Freeze];
    let mut all: Vec<_> = whats.into_iter().map(|what| Error::not_found(what, "x")).collect();
    all.extend([
        Error::Invalid(Invalid::new("port", 70_000, "0 to 65535")),
        Error::Conflict("it holds services".to_owned()),
        Error::LeaseKind(LeaseKind::Permanent),
        Error::GenerationMismatch { asked: at, current: at },
        Error::PreconditionFailed { current: at },
        Error::Behind { at, wanted: at },
        Error::NotReady("boots".to_owned()),
        Error::Overloaded { limit: "queue", retry_after: Duration::from_millis(300) },
        Error::LogAway,
        Error::OutcomeUnknown,
        Error::RateLimited("slow down".to_owned()),
        Error::Forbidden("no".to_owned()),
    ]);
    all
}

#[test]
fn the_table_says_the_domains_codes() {
    for error in every_error() {
        assert_eq!(Code::of(&error).as_str(), error.code(), "{error:?}");
        assert_eq!(Problem::from(error.clone()).code(), Code::of(&error));
    }
}

#[test]
fn a_code_is_there_once() {
    let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Code::ALL.len());
    assert!(Code::ALL.iter().all(|code| (400..=504).contains(&code.status())));
}

#[test]
fn an_invalid_value_keeps_field_value_and_what_is_allowed() {
    let problem = Problem::from(Error::Invalid(Invalid::new("port", 70_000, "0 to 65535")));
    assert_eq!(problem.parts().field.as_deref(), Some("port"));
    assert_eq!(problem.parts().value.as_deref(), Some("70000"));
    assert_eq!(problem.parts().allowed.as_deref(), Some("0 to 65535"));
    assert!(problem.parts().detail.contains("70000"));
}

#[test]
fn a_refusal_that_ends_by_itself_says_when_to_come_back() {
    for error in every_error() {
        let problem = Problem::from(error);
        let ends = matches!(problem.code().status(), 429 | 503 | 504);
        assert_eq!(problem.parts().retry_after.is_some(), ends, "{problem:?}");
    }
}
