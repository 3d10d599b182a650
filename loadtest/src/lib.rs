//! Load on a live node, and the figures that come of it: one workload and one judge.
//!
//! A figure is CPU per operation of the server process, which does not depend on the neighbours, and latency
//! percentiles; ratios are between servers measured in the same run. `bare` serves the very bytes that the node answered
//! from nothing but axum or tonic: the limit of the transport, beside which the node is measured.
//!
//! Every scenario ends with a truth check: what the clients last saw against what the load made true.

#![allow(clippy::disallowed_methods, reason = "a load generator measures real time")]

pub mod bare;
pub mod compare;
pub mod faults;
pub mod http;
pub mod machine;
pub mod measure;
pub mod peer;
pub mod process;
pub mod report;
pub mod scenario;
pub mod table;
pub mod target;
