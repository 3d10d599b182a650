//! The logs of this crate against the port's suite, and what happens to the embedded one when its file, its disk or its
//! process fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod full;
mod kafka;
mod opening;
mod place;
#[cfg(target_os = "linux")]
mod power_loss;
mod space;
mod suite;
