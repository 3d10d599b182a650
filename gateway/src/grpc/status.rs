//! A refusal as gRPC says it: the status of a call, and the problem of one item.

use std::collections::HashMap;
use std::time::Duration;

use schemas::thuban::v1 as pb;
use tonic::{Code as Grpc, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::wire::Unreadable;
use crate::error::{Code, Problem};

/// `ErrorInfo.domain`.
const DOMAIN: &str = "thuban";

/// When one should come back for whose message there was no room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The gRPC status code of each problem code.
pub(crate) fn grpc_code(code: Code) -> Grpc {
    match code {
        Code::Unauthenticated => Grpc::Unauthenticated,
        Code::Forbidden => Grpc::PermissionDenied,
        Code::NamespaceNotFound
        | Code::ServiceNotFound
        | Code::InstanceNotFound
        | Code::OverrideNotFound
        | Code::SessionNotFound
        | Code::NodeNotFound
        | Code::FreezeNotFound => Grpc::NotFound,
        Code::PathNotFound | Code::MethodNotAllowed | Code::UnsupportedMediaType => Grpc::Unimplemented,
        Code::RequestTimeout => Grpc::DeadlineExceeded,
        Code::InvalidArgument => Grpc::InvalidArgument,
        Code::Conflict | Code::LeaseKind | Code::GenerationMismatch | Code::PreconditionFailed => {
            Grpc::FailedPrecondition
        }
        Code::TooLarge | Code::RateLimited => Grpc::ResourceExhausted,
        Code::Internal => Grpc::Internal,
        Code::NotReady | Code::Behind | Code::Overloaded | Code::NodeAway => Grpc::Unavailable,
        Code::SessionTaken | Code::OutcomeUnknown => Grpc::Aborted,
    }
}

/// The status of a call that is refused as a whole.
pub(crate) fn status(problem: &Problem) -> Status {
    let parts = problem.parts();
    let mut metadata = HashMap::new();
    let mut details = ErrorDetails::new();
    if let Some(field) = &parts.field {
        metadata.insert("field".to_owned(), field.to_string());
        details.add_bad_request_violation(field.as_ref(), parts.detail.as_str());
    }
    details.set_error_info(parts.code.as_str(), DOMAIN, metadata);
    if let Some(after) = parts.retry_after {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(grpc_code(parts.code), parts.detail.as_str(), details)
}

/// The problem of one item, or of one request of a session.
pub(crate) fn message(problem: &Problem) -> pb::Problem {
    let parts = problem.parts();
    pb::Problem {
        code: parts.code.as_str().to_owned(),
        field: parts.field.as_deref().unwrap_or_default().to_owned(),
        detail: parts.detail.clone(),
        status: u32::from(parts.code.status()),
        retry_after_ms: parts.retry_after.map(|after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX)),
    }
}

/// The same problem of a field that is inside `outer`: `port` becomes `items[3].port`.
pub(crate) fn within(problem: Problem, outer: std::fmt::Arguments<'_>) -> Problem {
    match problem.parts().field.as_deref().map(|field| format!("{outer}.{field}")) {
        Some(path) => problem.about(path),
        None => problem,
    }
}

impl From<Unreadable> for Problem {
    fn from(unreadable: Unreadable) -> Self {
        let code = match unreadable {
            Unreadable::TooLarge { .. } => Code::TooLarge,
            Unreadable::Compressed => Code::UnsupportedMediaType,
            Unreadable::Malformed(_) | Unreadable::CutShort | Unreadable::Missing | Unreadable::Surplus => {
                Code::InvalidArgument
            }
            Unreadable::NoRoom => Code::Overloaded,
            Unreadable::Lost(_) => Code::RequestTimeout,
        };
        let problem = Self::new(code, unreadable.to_string());
        if code == Code::Overloaded { problem.retry_after(RETRY_AFTER) } else { problem }
    }
}

#[cfg(test)]
mod tests;
