//! The binary as it is run: from outside, over real sockets and files.

#![allow(clippy::unwrap_used, reason = "what a test unwraps in vain fails it, as it should")]

mod caller;
#[cfg(target_os = "linux")]
mod clock;
mod commands;
mod configuration;
mod crash;
mod exits;
mod full_disk;
mod journal;
mod life;
mod lost_log;
#[cfg(target_os = "linux")]
mod power_loss;
mod process;
mod secure;
mod stale;
mod stream;
mod transfer;
mod unread_log;
mod wiped;
