//! The node's directory: made for this user alone, and held by one process at a time. The files of store and log, which
//! may be elsewhere, are held by who opens them.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
const FOLDER_MODE: u32 = 0o700;
const LOCK_MODE: u32 = 0o600;

/// Held as long as the process lives; the kernel lets go of it however the process ends.
pub(crate) struct Home {
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    #[error("the data directory {} can't be made: {source}; --data-dir names another one", path.display())]
    Unmade { path: PathBuf, source: io::Error },
    #[error("the file {} can't be opened: {source}; --data-dir names another directory", path.display())]
    Unopened { path: PathBuf, source: io::Error },
    #[error(
        "the data directory {} is in use by {holder}: stop it, or name another directory with --data-dir",
        path.display()
    )]
    Held { path: PathBuf, holder: String },
    #[error("{} can't be locked: {source}; its file system must know locks", path.display())]
    Unlocked { path: PathBuf, source: io::Error },
}

impl Home {
    /// Makes the directory if need be, and takes hold of it.
    pub(crate) fn take(folder: &Path) -> Result<Self, HomeError> {
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        made.map_err(|source| HomeError::Unmade { path: folder.to_owned(), source })?;
        lock(folder).map(|lock| Self { _lock: lock })
    }
}

/// The file names its holder, for people: what counts is the kernel's lock on it.
fn lock(folder: &Path) -> Result<File, HomeError> {
    let path = folder.join(LOCK);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(LOCK_MODE).open(&path);
    let mut file = match opened {
        Ok(file) => file,
        Err(source) => return Err(HomeError::Unopened { path, source }),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(HomeError::Held { path: folder.to_owned(), holder: holder(&mut file) });
        }
        Err(TryLockError::Error(source)) => return Err(HomeError::Unlocked { path, source }),
    }
    // A full disk is no reason to stay away: then the file names nobody.
    if file.set_len(0).is_ok() && file.rewind().is_ok() {
        let _ = writeln!(file, "{}", std::process::id());
    }
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match read.ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}
