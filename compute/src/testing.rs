//! In-memory ports, fault-injecting wrappers and the conformance suite of each port. Feature `testing`.

pub mod chance;
pub mod change_log;
pub mod clock;
pub mod journal;
pub mod peers;
#[cfg(target_os = "linux")]
pub mod power_loss;
pub mod script;
pub mod store;

pub use chance::SeededChance;
pub use clock::ManualClock;
pub use journal::MemoryJournal;
