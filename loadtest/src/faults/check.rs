//! The properties, a file each: pure functions from what is known and what was seen to what is wrong with it.

pub mod alive;
pub mod chain;
pub mod dead;
pub mod decisions;
pub mod enough;
pub mod list;
pub mod order;
pub mod same;
pub mod written;

#[cfg(test)]
mod tests;
