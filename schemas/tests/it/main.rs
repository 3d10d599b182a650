//! What the contracts promise: they compile, they describe themselves, and what was written stays readable.

mod contract;
mod golden;
mod migration;
mod prepared;
