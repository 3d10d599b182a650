//! Where presence lands: adapters of [`compute::port::PresenceStore`] to relational databases.
//!
//! - [`sqlite`]: the embedded default, one file that one process holds.
//! - `row`, `batch`, `migrate`: what dialects share. A row becomes cells and cells become a row in one place; an adapter
//!   adds its SQL, its types and the meaning of its errors. `sqlx::Any` was not taken: it would share the SQL, which is
//!   what differs, and hide the types, which is what must not.
//!
//! Invariants: a landing is one transaction with the watermark in it; what comes out of a file is checked as if it came
//! from a stranger, and what is wrong with it names file, table, key and column; no error of a driver leaves the crate.

mod batch;
mod migrate;
pub mod mysql;
mod row;
pub mod sqlite;
