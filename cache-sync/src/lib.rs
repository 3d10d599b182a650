//! Keeps every node's state converged, behind the domain's `ChangeLog` port.
//!
//! - [`codec`]: frames as bytes, the same for every log.
//! - [`local`]: the embedded log, a table in a SQLite file of its own.
pub mod codec;
pub mod local;
