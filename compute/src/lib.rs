//! The domain of Thuban: what a registry is, and every decision it takes. Knows no SQL, Kafka, HTTP, gRPC or DNS.
pub mod error;
pub mod model;
pub mod port;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::Error;
