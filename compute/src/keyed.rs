//! Maps of the names that clients choose.

use std::collections::{HashMap, HashSet};

/// Hashed with a secret of its own, at a third of what the standard library's costs: a register looks names up some
/// ten times. Nothing is ever iterated in the order of hashes where the order shows.
pub(crate) type Keyed<K, V> = HashMap<K, V, Secret>;

pub(crate) type KeyedSet<K> = HashSet<K, Secret>;

/// The same for many readers at once.
pub(crate) type KeyedForAll<K, V> = papaya::HashMap<K, V, Secret>;

#[cfg(not(fixed_hashes))]
pub(crate) type Secret = foldhash::quality::RandomState;

/// No secret, so that a program does the same each time that it runs: for the build that counts instructions, which says
/// `--cfg fixed_hashes` to the compiler. No feature of this crate, for one build can't lend it to another.
#[cfg(fixed_hashes)]
pub(crate) type Secret = foldhash::quality::FixedState;
