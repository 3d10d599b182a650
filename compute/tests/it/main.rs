//! A whole node over ports in memory.

mod journal;
mod leases;
mod model;
mod node;
mod world;
