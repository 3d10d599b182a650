//! MemoryStore, FaultyStore and the suite of the PresenceStore port.
