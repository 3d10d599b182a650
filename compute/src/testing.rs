//! In-memory ports, fault-injecting wrappers and the conformance suite of each port; and an independent model, which
//! judges the decision journals of nodes, in tests and of real ones. Feature `testing`.

pub mod chance;
pub mod change_log;
pub mod clock;
pub mod journal;
pub mod ledger;
pub mod model;
pub mod peers;
#[cfg(target_os = "linux")]
pub mod power_loss;
pub mod script;
pub mod store;

pub use chance::SeededChance;
pub use clock::ManualClock;
pub use journal::MemoryJournal;
