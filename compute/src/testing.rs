//! In-memory ports, fault-injecting wrappers and the conformance suite of each port. Feature `testing`.

pub mod change_log;
pub mod clock;
pub mod peers;
pub mod store;

pub use clock::{ManualClock, SeededChance};
