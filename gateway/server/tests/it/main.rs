//! The binary as it is run: from outside, over real sockets and files.

mod caller;
mod configuration;
mod exits;
mod process;
