//! What an error of SQLite means to whoever called.

use std::path::Path;

use compute::port::store::{LandError, ReadError};

/// The primary result codes that are told apart, as SQLite numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Another program holds the file.
    Busy,
    Full,
    /// Not a database, or a broken one.
    Corrupt,
    /// The SQL does not fit the tables: somebody changed them.
    Altered,
    /// Anything else: the disk, memory, permissions.
    Other,
}

const ERROR: i32 = 1;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const NOT_A_DATABASE: i32 = 26;

impl Fault {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        let sqlx::Error::Database(told) = error else { return Self::Other };
        let extended: Option<i32> = told.code().and_then(|code| code.parse().ok());
        match extended.map(|code| code & 0xff) {
            Some(BUSY | LOCKED) => Self::Busy,
            Some(FULL) => Self::Full,
            Some(ERROR) => Self::Altered,
            Some(CORRUPT | NOT_A_DATABASE) => Self::Corrupt,
            _ => Self::Other,
        }
    }
}

/// In words: which file, what is wrong with it, what to do.
pub(super) fn told(path: &Path, error: &sqlx::Error) -> String {
    let path = path.display();
    match (Fault::of(error), error) {
        (_, sqlx::Error::PoolClosed) => format!("{path} is closed"),
        (Fault::Busy, _) => format!("{path} is locked by another program: end that program"),
        (Fault::Full, _) => {
            format!(
                "no room for {path}: free space on its disk, or raise its limit; nothing that was acknowledged is lost"
            )
        }
        (Fault::Corrupt, _) => {
            format!("{path} is damaged ({}): restore it from a copy, and check the disk", plain(error))
        }
        (Fault::Altered, _) => {
            format!("{path} has not the tables that it was made with ({}): restore it from a copy", plain(error))
        }
        (Fault::Other, _) => format!("{path}: {}", plain(error)),
    }
}

/// The driver's words without the driver's own preface.
fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(told) => told.to_string(),
        other => other.to_string(),
    }
}

/// Of a call that reads.
pub(super) fn read(path: &Path, error: &sqlx::Error) -> ReadError {
    match Fault::of(error) {
        Fault::Corrupt | Fault::Altered => ReadError::Unusable(told(path, error)),
        _ => ReadError::Away(told(path, error)),
    }
}

/// Of a statement before the commit: nothing is written, for the transaction goes with it.
pub(super) fn refused(path: &Path, error: &sqlx::Error) -> LandError {
    LandError::Rejected(told(path, error))
}

/// Of the commit itself. SQLite says of the first two that the transaction did not commit.
pub(super) fn commit(path: &Path, error: &sqlx::Error) -> LandError {
    match Fault::of(error) {
        Fault::Busy | Fault::Full => LandError::Rejected(told(path, error)),
        Fault::Corrupt | Fault::Altered | Fault::Other => LandError::Unknown(told(path, error)),
    }
}
