//! What SQLite says, sorted by what can be done about it.

use std::path::{Path, PathBuf};

use compute::model::LogIdentity;

/// Why a log could not be opened. None of these passes by waiting, but [`InUse`](Self::InUse) when the other process
/// ends, and [`Full`](Self::Full) and [`Io`](Self::Io) perhaps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the change log {} is in use by another process; stop it, or name another file", path.display())]
    InUse { path: PathBuf },
    #[error(
        "the change log {} has schema {found}, and this program knows up to {known}: a newer program wrote it; start \
         that one", path.display()
    )]
    NewerSchema { path: PathBuf, found: u32, known: u32 },
    #[error("{} is no change log: {why}; name another file", path.display())]
    NotALog { path: PathBuf, why: String },
    #[error("the change log {} is damaged: {why}", path.display())]
    Corrupt { path: PathBuf, why: String },
    #[error("there is no change log {}, where log {wanted} should be", path.display())]
    Missing { path: PathBuf, wanted: LogIdentity },
    #[error("the change log {} is log {found}, and not log {wanted}", path.display())]
    OtherLog { path: PathBuf, found: LogIdentity, wanted: LogIdentity },
    #[error("the disk of the change log {} is full: {why}; free space on it, and start again", path.display())]
    Full { path: PathBuf, why: String },
    #[error("the change log {} could not be opened: {why}", path.display())]
    Io { path: PathBuf, why: String },
}

/// What went wrong with a file that was open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No space. SQLite has undone what it began.
    Full(String),
    /// Another process holds it.
    InUse(String),
    /// What is in the file can't be right.
    Corrupt(String),
    /// It is not a file of SQLite.
    NotADatabase(String),
    /// Everything else; what was under way may be written or not.
    Io(String),
}

// Primary result codes of SQLite; the extended ones carry them in their lowest byte.
const BUSY: i32 = 5;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const NOTADB: i32 = 26;

impl Fault {
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Full(why) | Self::InUse(why) | Self::Corrupt(why) | Self::NotADatabase(why) | Self::Io(why) => why,
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let why = error.to_string();
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
        match code.map(|code| code & 0xff) {
            Some(BUSY) => Self::InUse(why),
            Some(CORRUPT) => Self::Corrupt(why),
            Some(FULL) => Self::Full(why),
            Some(NOTADB) => Self::NotADatabase(why),
            _ => Self::Io(why),
        }
    }
}

impl OpenError {
    pub(super) fn of(path: &Path, fault: Fault) -> Self {
        let path = path.to_owned();
        match fault {
            Fault::InUse(_) => Self::InUse { path },
            Fault::Corrupt(why) => Self::Corrupt { path, why },
            Fault::NotADatabase(why) => Self::NotALog { path, why },
            Fault::Full(why) => Self::Full { path, why },
            Fault::Io(why) => Self::Io { path, why },
        }
    }
}
