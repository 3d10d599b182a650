//! A whole node over ports in memory.

mod node;
mod world;
