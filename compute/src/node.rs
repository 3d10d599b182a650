//! The only part of the domain that spawns tasks: one applier owns the state, the lander follows it.

mod link;

pub use link::{Counted, Freezing, Link, NodeStatus, Readiness};
