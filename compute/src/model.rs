//! What a registry is made of: validated values and nothing else.
//!
//! A value of these types is within the limits of [`limits`], whoever made it: every constructor checks and says which
//! field was wrong, with the value it saw and what is allowed. No type here knows a wire or table format.

mod change;
mod digest;
mod health;
mod instance;
mod invalid;
mod lease;
pub mod limits;
mod name;
mod operator;
mod provider;
mod removal;
mod revision;
mod rows;
mod selector;
mod service;
mod session;
mod text;
mod weight;

pub use change::{Author, Base, Cause, Change, Entry, Frame, Op, Origin};
pub use digest::Digest;
pub use health::{Health, HealthReason};
pub use instance::Instance;
pub use invalid::Invalid;
pub use lease::{Check, CheckKind, Lease, LeaseCell, LeaseKind};
pub use name::{InstanceId, InstanceKey, Namespace, ServiceKey, ServiceName};
pub use operator::{Operator, OperatorPatch, Set};
pub use provider::{Process, Provider, ProviderSpec, ProviderText};
pub use removal::{Removal, RemovalReason, Tombstone};
pub use revision::{GENERATIONS_FIRST, LogGeneration, LogIdentity, NodeIncarnation, Position, Revision};
pub use rows::{
    FreezeRow, LogState, MemberRow, NamespaceRow, OriginRow, OverrideRow, Row, Rows, ServiceRow, SessionRow,
    SuspicionRow,
};
pub use selector::Selector;
pub use service::{Metadata, NamespaceSettings, ServiceSettings};
pub use session::{Freeze, FreezeScope, Session, SessionId, Suspicion};

#[cfg(test)]
mod tests;
