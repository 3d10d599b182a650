//! Where presence lands: adapters of [`compute::port::PresenceStore`] to relational databases.
//!
//! - [`sqlite`]: the embedded default, one file that one process holds.
//! - [`mysql`]: a MySQL 8 or MariaDB database that many nodes share; one SQL for both.
//! - `row`, `batch`, `migrate`: what dialects share. A row becomes cells and cells become a row in one place; an adapter
//!   adds its SQL, its types and the meaning of its errors. `sqlx::Any` was not taken: it would share the SQL, which is
//!   what differs, and hide the types, which is what must not.
//!
//! Invariants: a landing is one transaction with the watermark in it, and rows in it only move forward; before the
//! commit was sent an error means that nothing is written, from then on only the mark tells; what comes out of a file or
//! from a server is checked as if it came from a stranger, and what is wrong with it names place, table, key and column;
//! no error of a driver leaves the crate, and no password does.

mod batch;
mod gathering;
mod migrate;
pub mod mysql;
mod row;
pub mod sqlite;
