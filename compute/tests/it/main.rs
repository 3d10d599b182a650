//! A whole node over ports in memory.

mod among;
mod guards;
mod journal;
mod leases;
mod members;
mod meters;
mod node;
mod overload;
mod replay;
mod simulation;
mod world;
