//! The store on a real MariaDB, and on a MySQL where there is one.

pub(crate) mod base;
mod damage;
mod faults;
mod large;
mod opening;
mod server;
mod suite;
mod tls;
mod wire;
