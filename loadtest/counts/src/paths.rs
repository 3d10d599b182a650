//! The paths that are counted. Each makes its world, runs warm, and says how many operations were counted.

use anyhow::Result;

mod discover;
mod register;
mod renew;
mod watch;

pub(crate) struct HotPath {
    pub(crate) name: &'static str,
    /// The number of operations.
    pub(crate) run: fn() -> Result<u64>,
}

const fn path(name: &'static str, run: fn() -> Result<u64>) -> HotPath {
    HotPath { name, run }
}

pub(crate) const ALL: &[HotPath] = &[
    path("discover_http", discover::http),
    path("discover_grpc", discover::grpc),
    path("register_apply", register::apply),
    path("register", register::alone),
    path("register_batch", register::batch),
    path("register_http", register::http),
    path("renew", renew::alone),
    path("renew_batch", renew::batch),
    path("renew_http", renew::http),
    path("renew_grpc_batch", renew::grpc_batch),
    path("watch_100", watch::hub),
    path("watch_100_grpc", watch::grpc),
];
