use std::time::Duration;

use compute::Error;
use compute::model::Revision;
use tonic::Code as Grpc;
use tonic_types::StatusExt;

use super::{grpc_code, message, status, within};
use crate::error::{Code, Problem};
use crate::grpc::wire::Unreadable;

#[test]
fn a_status_carries_code_field_and_detail() {
    let problem = Problem::invalid("port", 70_000, "0 to 65535");
    let status = status(&problem);
    assert_eq!(status.code(), Grpc::InvalidArgument);
    assert!(status.message().contains("70000"), "{}", status.message());
    let details = status.get_error_details();
    let reason = details.error_info().expect("always there");
    assert_eq!((reason.reason.as_str(), reason.domain.as_str()), ("invalid_argument", "thuban"));
    assert_eq!(reason.metadata["field"], "port");
    let violations = &details.bad_request().expect("a field is to blame").field_violations;
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].field, "port");
    assert!(violations[0].description.contains("0 to 65535"));
    assert!(details.retry_info().is_none());
}

#[test]
fn what_ends_by_itself_says_when_to_come_back() {
    let overloaded = Error::Overloaded { limit: "queue", retry_after: Duration::from_millis(300) };
    let problem = Problem::from(overloaded);
    assert_eq!(message(&problem).retry_after_ms, Some(300));
    let details = status(&problem).get_error_details();
    assert_eq!(details.retry_info().expect("worth another try").retry_delay, Some(Duration::from_millis(300)));
    assert!(details.bad_request().is_none());
}

#[test]
fn the_codes_are_those_of_the_contract() {
    for code in Code::ALL {
        let expected = match code.status() {
            400 => Grpc::InvalidArgument,
            401 => Grpc::Unauthenticated,
            403 => Grpc::PermissionDenied,
            404 if *code == Code::PathNotFound => Grpc::Unimplemented,
            404 => Grpc::NotFound,
            405 | 415 => Grpc::Unimplemented,
            408 => Grpc::DeadlineExceeded,
            409 if *code == Code::SessionTaken => Grpc::Aborted,
            409 | 412 => Grpc::FailedPrecondition,
            413 | 429 => Grpc::ResourceExhausted,
            503 => Grpc::Unavailable,
            504 => Grpc::Aborted,
            _ => Grpc::Internal,
        };
        assert_eq!(grpc_code(*code), expected, "{code:?}");
    }
}

#[test]
fn nothing_unreadable_is_internal() {
    let all = [
        Unreadable::TooLarge { bytes: 2, bytes_max: 1 },
        Unreadable::Compressed,
        Unreadable::Malformed("x".to_owned()),
        Unreadable::CutShort,
        Unreadable::Missing,
        Unreadable::Surplus,
        Unreadable::Lost("x".to_owned()),
    ];
    for unreadable in all {
        let problem = Problem::from(unreadable);
        assert_ne!(grpc_code(problem.code()), Grpc::Internal, "{problem:?}");
    }
}

#[test]
fn a_field_is_named_from_the_top() {
    let inner = Problem::invalid("lease.ttl_ms", 5, "1000 to 86400000");
    assert_eq!(message(&within(inner, format_args!("items[{}]", 3))).field, "items[3].lease.ttl_ms");
    let asked = Revision::ZERO;
    let whole = within(Error::Behind { at: asked, wanted: asked }.into(), format_args!("items[3]"));
    assert_eq!(message(&whole).field, "");
}
