//! Keeps every node's state converged, behind the domain's `ChangeLog` port.
//!
//! - [`codec`]: frames as bytes, the same for every log.
//! - [`journal`]: what a node decided of them, as files.
//! - [`kafka`]: the log that many nodes share, a topic of Kafka.
//! - [`local`]: the embedded log, a table in a SQLite file of its own.
pub mod codec;
pub mod journal;
pub mod kafka;
pub mod local;
mod tail;
