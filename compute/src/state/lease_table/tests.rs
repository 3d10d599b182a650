mod holds;
mod mass;
mod mass_property;
mod property;
mod script;
mod stream_and_check;
mod ttl;
pub(in crate::state) mod world;
