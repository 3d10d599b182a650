//! The suite of the port on each database, and what only a file can go through.

mod damage;
mod opening;
mod place;
mod room;
mod suite;
