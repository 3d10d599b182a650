//! Nodes that share a log and a store, in one process, and a clock that the test moves.

mod company;
mod copies;
mod death;
mod leases;
mod lost;
mod operations;
mod repair;
mod roles;
mod stale;
