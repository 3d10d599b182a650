//! A whole node over ports in memory.

mod journal;
mod model;
mod node;
mod world;
