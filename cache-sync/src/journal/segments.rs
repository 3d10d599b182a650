//! The files of a journal: which there are, and which one is written.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::MAGIC;
use super::{Config, OpenError};

/// A node that is started again and again has small ones.
const SEGMENTS_MAX: usize = 512;
/// So many of the full size are kept.
const SHARES: u64 = 8;
const LOCK: &str = "journal.lock";
const SUFFIX: &str = ".journal";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}{SUFFIX}"))
}

/// The numbers of the segments in a directory, rising.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// All of them, and the one that is written.
pub(super) struct Segments {
    config: Config,
    /// Number and length, oldest first; the last is written, if `open` is there.
    all: VecDeque<(u64, u64)>,
    open: Option<File>,
    /// Held as long as this is.
    lock: File,
}

impl Drop for Segments {
    /// Closing the file would not be enough: a process that is being started holds a copy of it for a moment.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Segments {
    pub(super) fn take(config: &Config) -> Result<Self, OpenError> {
        let unmade = |source| OpenError::Unmade { path: config.directory.clone(), source };
        let folder = &config.directory;
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(unmade)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(folder.join(LOCK));
        let lock = lock.map_err(unmade)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: folder.clone() }),
            Err(TryLockError::Error(source)) => return Err(unmade(source)),
        }
        let mut all = VecDeque::new();
        for number in numbers(folder).map_err(unmade)? {
            all.push_back((number, path(folder, number).metadata().map_err(unmade)?.len()));
        }
        Ok(Self { config: config.clone(), all, open: None, lock })
    }

    /// Writes whole records. After an error none of them is there, and the next go into another segment.
    pub(super) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        let is_full = self.all.back().is_some_and(|(_, length)| *length >= self.config.bytes_max / SHARES);
        if self.open.is_none() || is_full {
            self.begin()?;
        }
        let (Some(file), Some((_, length))) = (&mut self.open, self.all.back_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.write_all(records) {
            // Who reads it finds a torn end if not even this can be done.
            let _ = file.set_len(*length);
            self.open = None;
            return Err(error);
        }
        *length += records.len() as u64;
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        self.open = None;
        self.make_room();
        let number = self.all.back().map_or(1, |(number, _)| number + 1);
        let path = path(&self.config.directory, number);
        let mut file = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(&path)?;
        if let Err(error) = file.write_all(MAGIC) {
            // Its number is used again, unless it stays.
            if std::fs::remove_file(&path).is_err() {
                self.all.push_back((number, 0));
            }
            return Err(error);
        }
        self.all.push_back((number, MAGIC.len() as u64));
        self.open = Some(file);
        Ok(())
    }

    /// For another one of full size. One that can't be removed is forgotten here: the next process finds it again.
    fn make_room(&mut self) {
        let room = self.config.bytes_max - self.config.bytes_max / SHARES;
        while self.all.len() >= SEGMENTS_MAX || self.all.iter().map(|(_, length)| length).sum::<u64>() > room {
            let Some((number, _)) = self.all.pop_front() else { return };
            if let Err(error) = std::fs::remove_file(path(&self.config.directory, number)) {
                tracing::warn!(%error, number, "an old part of the decision journal could not be removed");
            }
        }
    }
}
