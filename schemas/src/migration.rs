//! The SQL that brings a database to the schema of this build, by dialect and set of tables.
//!
//! A file `migrations/{dialect}/{set}/NNNN_name.sql` is found by the build; numbers run from 0001 without a gap. A file
//! that has been released is never edited: another is added.

/// One step of a schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migration {
    /// From 1, without a gap.
    pub number: u32,
    pub name: &'static str,
    /// One statement or several.
    pub sql: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
