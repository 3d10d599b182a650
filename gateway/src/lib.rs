//! Front doors: they translate a protocol to calls of the registry and back, and decide nothing.
//!
//! What all doors share is here beside them: [`error`] (what is refused, and how each protocol says it), [`admission`]
//! (who may, and how much at once), [`listen`] (ports, encryption, connections).

pub mod admission;
mod basis;
pub mod booting;
pub mod error;
pub mod etag;
pub mod grpc;
pub mod http;
pub mod listen;
mod listing;
pub mod peer;
mod precondition;
pub mod probe;
mod reread;
pub mod session;
