//! Reads a journal from its beginning, also while it is written.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

use compute::port::journal::Record;

use super::ReadError;
use super::record::{HEAD_BYTES, MAGIC, head, parse};
use super::segments::{numbers, path};

/// What is found of a journal.
#[derive(Debug)]
pub enum Found {
    Record(Box<Record>),
    /// A process died while it wrote: behind its last whole record are so many bytes that are none.
    Torn {
        bytes: u64,
    },
    /// Segments that are gone: there were too many.
    Missing {
        segments: u64,
    },
}

/// How far a journal has been read.
#[derive(Debug)]
pub struct Follower {
    folder: PathBuf,
    /// The segment that is read, and what of it is left.
    reading: Option<(u64, Segment)>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: BufReader<File>,
    /// Behind the last whole record.
    at: u64,
}

impl Follower {
    /// A directory that is not there yet has nothing in it.
    pub fn of(folder: PathBuf) -> Self {
        Self { folder, reading: None }
    }

    /// Everything that has come since the last time, up to the last record that is whole.
    pub fn read(&mut self, mut take: impl FnMut(Found)) -> Result<(), ReadError> {
        let listed = match numbers(&self.folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(ReadError::Io { path: self.folder.clone(), source }),
        };
        let begun = self.reading.as_ref().map(|(number, _)| *number);
        for number in listed.into_iter().filter(|number| begun.is_none_or(|begun| *number >= begun)) {
            match &self.reading {
                Some((reading, _)) if *reading == number => {}
                Some((reading, segment)) => {
                    // Another one follows, so nothing more comes of this.
                    let bytes = segment.rest()?;
                    if bytes > 0 {
                        take(Found::Torn { bytes });
                    }
                    let segments = number - reading - 1;
                    if segments > 0 {
                        take(Found::Missing { segments });
                    }
                    self.reading = Some((number, Segment::open(path(&self.folder, number))?));
                }
                None => {
                    if number > 1 {
                        take(Found::Missing { segments: number - 1 });
                    }
                    self.reading = Some((number, Segment::open(path(&self.folder, number))?));
                }
            }
            let Some((_, segment)) = &mut self.reading else { continue };
            while let Some(record) = segment.next()? {
                take(Found::Record(Box::new(record)));
            }
        }
        Ok(())
    }
}

impl Segment {
    fn open(path: PathBuf) -> Result<Self, ReadError> {
        match File::open(&path) {
            Ok(file) => Ok(Self { path, file: BufReader::new(file), at: 0 }),
            Err(source) => Err(ReadError::Io { path, source }),
        }
    }

    /// The next record, once it is whole.
    fn next(&mut self) -> Result<Option<Record>, ReadError> {
        if self.at == 0 {
            let Some(magic) = self.bytes(MAGIC.len())? else { return Ok(None) };
            if magic != MAGIC {
                return Err(ReadError::NoJournal { path: self.path.clone() });
            }
            self.at = MAGIC.len() as u64;
        }
        let Some(read) = self.bytes(HEAD_BYTES)? else { return Ok(None) };
        let (length, hash) = head(std::array::from_fn(|at| read[at])).map_err(|why| self.broken(why))?;
        let Some(payload) = self.bytes(length)? else { return Ok(None) };
        let record = parse(&payload, hash).map_err(|why| self.broken(why))?;
        self.at += (HEAD_BYTES + length) as u64;
        Ok(Some(record))
    }

    /// So many, or none, and then the next are read from behind the last record again.
    fn bytes(&mut self, count: usize) -> Result<Option<Vec<u8>>, ReadError> {
        let mut bytes = vec![0; count];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.file.seek(SeekFrom::Start(self.at)).map_err(|source| self.failed(source))?;
                Ok(None)
            }
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Bytes behind the last whole record.
    fn rest(&self) -> Result<u64, ReadError> {
        let metadata = self.file.get_ref().metadata().map_err(|source| self.failed(source))?;
        Ok(metadata.len().saturating_sub(self.at))
    }

    fn failed(&self, source: io::Error) -> ReadError {
        ReadError::Io { path: self.path.clone(), source }
    }

    fn broken(&self, why: String) -> ReadError {
        ReadError::Broken { path: self.path.clone(), at: self.at, why }
    }
}
