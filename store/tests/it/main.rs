//! The suite of the port on each database, and what only a file can go through.
#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod damage;
mod large;
mod mysql;
mod opening;
mod place;
#[cfg(target_os = "linux")]
mod power_loss;
mod room;
mod suite;
mod watermarks;
