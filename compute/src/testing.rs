//! In-memory ports, fault-injecting wrappers and the conformance suite of each port. Feature `testing`.

pub mod change_log;
pub mod clock;
pub mod peers;
#[cfg(target_os = "linux")]
pub mod power_loss;
pub mod store;

pub use clock::{ManualClock, SeededChance};
