//! MemoryLog, FaultyLog and the suite of the ChangeLog port.
