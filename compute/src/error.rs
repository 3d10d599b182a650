//! Everything a command or a read can be refused with: closed, with a stable code for each.

use std::time::Duration;

use crate::model::{Invalid, LeaseKind, Revision};

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Invalid(#[from] Invalid),
    #[error("no {what} \"{name}\"")]
    NotFound { what: What, name: String },
    #[error("{0}")]
    Conflict(String),
    #[error("the lease of this instance is {}, which is not renewed", .0.as_str())]
    LeaseKind(LeaseKind),
    /// Registered again since the generation that the caller named.
    #[error("the instance is of generation {current} now, not {asked}: it was registered again since")]
    GenerationMismatch { asked: Revision, current: Revision },
    #[error("it is at revision {current} now, not as the condition says")]
    PreconditionFailed { current: Revision },
    /// This node has not applied what the caller has seen.
    #[error("this node is at {at} and has not reached {wanted}; try another node, or again")]
    Behind { at: Revision, wanted: Revision },
    #[error("this node is not ready: {0}")]
    NotReady(String),
    /// A limit of this node is reached: which one, and when to come back.
    #[error("{limit} is at its limit; try again in {} ms", retry_after.as_millis())]
    Overloaded { limit: &'static str, retry_after: Duration },
    /// The log is away, and nobody would repeat this: it can't be accepted.
    #[error(
        "the change log is away, and what nobody repeats is not accepted meanwhile; ask ack=memory to have it kept on this node"
    )]
    LogAway,
    #[error("it is not known whether this was written; repeat it")]
    OutcomeUnknown,
    /// Another node, which alone can do it, does not answer. It may have heard.
    #[error("node \"{node}\" does not answer: {why}; ask it directly, or again")]
    NodeAway { node: String, why: String },
    #[error("{0}")]
    RateLimited(String),
    #[error("{0}")]
    Forbidden(String),
}

/// What was not found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Namespace,
    Service,
    Instance,
    Override,
    Session,
    Node,
    Freeze,
}

impl What {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Service => "service",
            Self::Instance => "instance",
            Self::Override => "override",
            Self::Session => "session",
            Self::Node => "node",
            Self::Freeze => "freeze",
        }
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    pub fn not_found(what: What, name: impl std::fmt::Display) -> Self {
        Self::NotFound { what, name: name.to_string() }
    }

    /// The word that programs branch on; the same on every door.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_argument",
            Self::NotFound { what, .. } => match what {
                What::Namespace => "namespace_not_found",
                What::Service => "service_not_found",
                What::Instance => "instance_not_found",
                What::Override => "override_not_found",
                What::Session => "session_not_found",
                What::Node => "node_not_found",
                What::Freeze => "freeze_not_found",
            },
            Self::Conflict(_) => "conflict",
            Self::LeaseKind(_) => "lease_kind",
            Self::GenerationMismatch { .. } => "generation_mismatch",
            Self::PreconditionFailed { .. } => "precondition_failed",
            Self::Behind { .. } => "behind",
            Self::NotReady(_) => "not_ready",
            Self::Overloaded { .. } => "overloaded",
            Self::LogAway => "not_ready",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::NodeAway { .. } => "node_away",
            Self::RateLimited(_) => "rate_limited",
            Self::Forbidden(_) => "forbidden",
        }
    }
}
