pub(in crate::state) mod world;
