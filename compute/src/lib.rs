//! The domain of Thuban: what a registry is, and every decision it takes. Knows no SQL, Kafka, HTTP, gRPC or DNS.
pub mod command;
pub mod directory;
pub mod error;
mod keyed;
pub mod model;
pub mod node;
pub mod port;
pub mod registry;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod view;
pub mod watch;

pub use error::Error;
pub use registry::Registry;
