//! A node's decision journal as files: what it decided of each frame of the log, for whoever wants to know why something
//! was done, or to judge all of it again.
//!
//! A directory holds segments, `00000001.journal` and so on: each process begins one of its own, and goes on to the next
//! when one is full. The oldest go when all of them together would be larger than they may be. A segment is 16 bytes that
//! say what it is, and then records: the length of the payload (4 bytes) and its XXH3 (8 bytes), both little-endian, and
//! the payload, a `thuban.change.v1.JournalRecord`. Frames are in it as in the log ([`codec`](crate::codec)).
//!
//! Nothing waits for it. What comes faster than it can be written, or can't be written, is left out and counted, in the
//! journal too. Nor is it flushed: what a machine that breaks down takes of it is still in the log.

mod follow;
mod record;
mod segments;
mod writer;

use std::io;
use std::path::PathBuf;

pub use follow::{Follower, Found};
pub use writer::FileJournal;

/// Where a journal is kept, and how much of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub directory: PathBuf,
    /// Of all segments together.
    pub bytes_max: u64,
}

/// Why there is no journal to be had there.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the journal's directory {} can't be had: {source}", path.display())]
    Unmade { path: PathBuf, source: io::Error },
    #[error("the journal in {} is another process's: each node needs a directory of its own", path.display())]
    InUse { path: PathBuf },
}

/// Why a journal can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no journal that this program can read", path.display())]
    NoJournal { path: PathBuf },
    #[error("{} at byte {at}: {why}", path.display())]
    Broken { path: PathBuf, at: u64, why: String },
}

#[cfg(test)]
mod tests;
