//! The one table of what every door refuses with: a stable code, and what each protocol says for it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use compute::Error;
use compute::error::What;
use compute::model::Invalid;

#[cfg(test)]
mod tests;

macro_rules! codes {
    ($($name:ident, $code:literal, $status:literal, $title:literal;)*) => {
        /// Why something was refused: the closed list that all doors share.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum Code {
            $($name,)*
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable word that programs branch on.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// In a few words, for people; the same for every problem of this code.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    InvalidArgument, "invalid_argument", 400, "a value is not allowed";
    Unauthenticated, "unauthenticated", 401, "no valid token";
    Forbidden, "forbidden", 403, "the caller may not do this";
    PathNotFound, "path_not_found", 404, "no such path";
    NamespaceNotFound, "namespace_not_found", 404, "no such namespace";
    ServiceNotFound, "service_not_found", 404, "no such service";
    InstanceNotFound, "instance_not_found", 404, "no such instance";
    OverrideNotFound, "override_not_found", 404, "no such override";
    SessionNotFound, "session_not_found", 404, "no such session";
    NodeNotFound, "node_not_found", 404, "no such node";
    FreezeNotFound, "freeze_not_found", 404, "no such freeze";
    MethodNotAllowed, "method_not_allowed", 405, "the path does not take this method";
    RequestTimeout, "request_timeout", 408, "the request did not arrive in time";
    Conflict, "conflict", 409, "the state does not allow it";
    SessionTaken, "session_taken", 409, "another stream has taken the session over";
    LeaseKind, "lease_kind", 409, "the lease is of another kind";
    GenerationMismatch, "generation_mismatch", 412, "registered again since";
    PreconditionFailed, "precondition_failed", 412, "the condition does not hold";
    TooLarge, "too_large", 413, "what was sent is too large";
    UnsupportedMediaType, "unsupported_media_type", 415, "the body is not JSON";
    RateLimited, "rate_limited", 429, "too many requests";
    Internal, "internal", 500, "a fault of this node";
    NotReady, "not_ready", 503, "this node can't answer now";
    Behind, "behind", 503, "this node has not caught up";
    Overloaded, "overloaded", 503, "a limit of this node is reached";
    NodeAway, "node_away", 503, "another node does not answer";
    OutcomeUnknown, "outcome_unknown", 504, "it is not known whether it was written";
}

/// When a caller should come back whom a node refused that is not ready or behind.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// A refusal: what every door translates to its own protocol.
#[derive(Clone, PartialEq, Eq)]
pub struct Problem(Box<Parts>);

/// What a [`Problem`] says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    pub code: Code,
    /// For people: what was met, and what to do.
    pub detail: String,
    /// The field, parameter or header to blame.
    pub field: Option<Cow<'static, str>>,
    /// What was given there, fit to print.
    pub value: Option<String>,
    /// What is allowed there.
    pub allowed: Option<Cow<'static, str>>,
    /// Worth another try, that much later.
    pub retry_after: Option<Duration>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let parts = Parts { code, detail: detail.into(), field: None, value: None, allowed: None, retry_after: None };
        Self(Box::new(parts))
    }

    /// A value that is not allowed.
    pub fn invalid(
        field: impl Into<Cow<'static, str>>,
        value: impl fmt::Display,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Self {
        Invalid::new(field, value, allowed).into()
    }

    /// A field that must be there and is not.
    pub fn missing(field: impl Into<Cow<'static, str>>, allowed: impl Into<Cow<'static, str>>) -> Self {
        let (field, allowed) = (field.into(), allowed.into());
        let problem = Self::new(Code::InvalidArgument, format!("{field} is missing; allowed: {allowed}"));
        problem.about(field).allowing(allowed)
    }

    #[must_use]
    pub fn about(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    #[must_use]
    pub fn allowing(mut self, allowed: impl Into<Cow<'static, str>>) -> Self {
        self.0.allowed = Some(allowed.into());
        self
    }

    /// What was given, fit to print.
    #[must_use]
    pub fn of_value(mut self, value: impl Into<String>) -> Self {
        self.0.value = Some(value.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    pub fn parts(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl std::error::Error for Problem {}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self(Box::new(Parts {
            code: Code::InvalidArgument,
            detail: invalid.to_string(),
            field: Some(invalid.field),
            value: Some(invalid.value),
            allowed: Some(invalid.allowed),
            retry_after: None,
        }))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if let Error::Invalid(invalid) = error {
            return invalid.into();
        }
        let problem = Self::new(Code::of(&error), error.to_string());
        match &error {
            Error::GenerationMismatch { .. } => problem.about("generation"),
            Error::NotReady(_)
            | Error::Behind { .. }
            | Error::LogAway
            | Error::OutcomeUnknown
            | Error::NodeAway { .. } => problem.retry_after(RETRY_SOON),
            Error::Overloaded { retry_after, .. } => problem.retry_after(*retry_after),
            Error::RateLimited(_) => problem.retry_after(RETRY_SOON),
            _ => problem,
        }
    }
}

impl Code {
    /// The row of a domain error.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Invalid(_) => Self::InvalidArgument,
            Error::NotFound { what, .. } => match what {
                What::Namespace => Self::NamespaceNotFound,
                What::Service => Self::ServiceNotFound,
                What::Instance => Self::InstanceNotFound,
                What::Override => Self::OverrideNotFound,
                What::Session => Self::SessionNotFound,
                What::Node => Self::NodeNotFound,
                What::Freeze => Self::FreezeNotFound,
            },
            Error::Conflict(_) => Self::Conflict,
            Error::LeaseKind(_) => Self::LeaseKind,
            Error::GenerationMismatch { .. } => Self::GenerationMismatch,
            Error::PreconditionFailed { .. } => Self::PreconditionFailed,
            Error::Behind { .. } => Self::Behind,
            Error::NotReady(_) | Error::LogAway => Self::NotReady,
            Error::Overloaded { .. } => Self::Overloaded,
            Error::OutcomeUnknown => Self::OutcomeUnknown,
            Error::NodeAway { .. } => Self::NodeAway,
            Error::RateLimited(_) => Self::RateLimited,
            Error::Forbidden(_) => Self::Forbidden,
        }
    }
}
