//! The seams: what the domain needs of the world. Traits and their errors, nothing else.
//!
//! Each port is object-safe and small; `testing` has an in-memory implementation, a fault-injecting wrapper and one
//! conformance suite for each, which every adapter runs.

pub mod chance;
pub mod change_log;
pub mod clock;
pub mod journal;
pub mod peers;
pub mod prober;
pub mod store;

pub use chance::Chance;
pub use change_log::ChangeLog;
pub use clock::Clock;
pub use journal::Journal;
pub use peers::Peers;
pub use prober::Prober;
pub use store::PresenceStore;
