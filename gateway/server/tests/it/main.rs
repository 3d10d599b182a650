//! The binary as it is run: from outside, over real sockets and files.

#![allow(clippy::unwrap_used, reason = "what a test unwraps in vain fails it, as it should")]

mod caller;
mod commands;
mod configuration;
mod crash;
mod exits;
mod full_disk;
mod life;
mod process;
mod secure;
mod stream;
