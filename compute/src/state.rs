//! Pure and synchronous: command + now -> changes, and changes -> state. The only place that decides.
