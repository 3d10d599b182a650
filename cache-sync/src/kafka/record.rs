//! A record of the topic: its key is the checksum of its value, its value is a frame.
//!
//! Kafka's offset `o` is offset `o + 1` of the log: the log counts from 1.

use std::sync::Arc;

use compute::model::{Entry, LogGeneration, LogIdentity, Position};
use compute::port::change_log::outlived;
use rdkafka::message::{BorrowedMessage, Message as _};

use crate::codec;

/// The only partition.
pub(super) const PARTITION: i32 = 0;

pub(super) fn key(checksum: u64) -> [u8; 8] {
    checksum.to_be_bytes()
}

/// A record, checked for being what was written, whoever wrote it.
pub(super) struct Record {
    /// Kafka's.
    pub(super) offset: u64,
    pub(super) checksum: u64,
    pub(super) bytes: usize,
    pub(super) decoded: codec::Decoded,
}

impl Record {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Result<Self, String> {
        let offset = u64::try_from(message.offset()).map_err(|_| format!("its offset is {}", message.offset()))?;
        let (decoded, checksum, bytes) = parse(message.key(), message.payload())?;
        Ok(Self { offset, checksum, bytes, decoded })
    }

    pub(super) fn life(&self) -> (LogIdentity, LogGeneration) {
        (self.decoded.frame.identity, self.decoded.generation)
    }

    /// The entry that this record is in a log of this identity and generation. One of an earlier generation was written
    /// by a node that did not know of this one: it says nothing, and its place is taken.
    pub(super) fn entry(self, identity: LogIdentity, generation: LogGeneration) -> Result<Entry, String> {
        let (log, life) = self.life();
        if log != identity || life > generation {
            return Err(format!("it is of log {log}, generation {life}, not {identity}, {generation}"));
        }
        let position = Position::new(generation, self.offset + 1).ok_or("there are too many")?;
        let mut frame = self.decoded.frame;
        if life < generation {
            tracing::warn!(%position, life, writer = frame.writer.0, "a frame of an earlier life of the log is passed over");
            metrics::counter!("thuban_log_outlived_frames_total").increment(1);
            frame = outlived(&frame);
        }
        Ok(Entry { position, frame: Arc::new(frame), checksum: self.checksum })
    }
}

fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(codec::Decoded, u64, usize), String> {
    let value = value.ok_or("it has no value")?;
    let written = key.and_then(|key| key.try_into().ok()).map(u64::from_be_bytes).ok_or("it has no checksum")?;
    let found = codec::checksum(value);
    if found != written {
        return Err(format!("its checksum is {found:016x}, written was {written:016x}"));
    }
    let decoded = codec::decode(value).map_err(|error| error.to_string())?;
    Ok((decoded, found, value.len()))
}

#[cfg(test)]
mod tests {
    use compute::model::LogIdentity;
    use compute::testing::change_log::suite::frame;

    use super::*;

    #[test]
    fn what_is_not_as_it_was_written_is_told() {
        let written = frame(LogIdentity([3; 16]), 7);
        let value = codec::encode(&written, 2).unwrap();
        let key = key(codec::checksum(&value));
        let (decoded, checksum, bytes) = parse(Some(&key), Some(&value)).unwrap();
        assert_eq!((decoded.frame, decoded.generation), (written.as_ref().clone(), 2));
        assert_eq!((checksum, bytes), (codec::checksum(&value), value.len()));

        let mut damaged = value.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(parse(Some(&key), Some(&damaged)).unwrap_err().contains("its checksum is"));
        assert!(parse(None, Some(&value)).unwrap_err().contains("no checksum"));
        assert!(parse(Some(b"orders"), Some(&value)).unwrap_err().contains("no checksum"));
        assert!(parse(Some(&key), None).unwrap_err().contains("no value"));
        let text = b"not a frame at all";
        assert!(parse(Some(&super::key(codec::checksum(text))), Some(text)).is_err());
    }

    #[test]
    fn a_record_of_another_life_is_no_entry() {
        let (ours, other) = (LogIdentity([3; 16]), LogIdentity([4; 16]));
        let record = |generation| {
            let decoded = codec::Decoded { frame: frame(ours, 1).as_ref().clone(), generation };
            Record { offset: 4, checksum: 9, bytes: 1, decoded }
        };
        assert_eq!(record(2).entry(ours, 2).unwrap().position, Position::new(2, 5).unwrap());
        let why = record(2).entry(other, 2).unwrap_err();
        assert!(why.contains(&ours.to_string()) && why.contains(&other.to_string()), "{why}");
        assert!(record(3).entry(ours, 2).unwrap_err().contains("generation 3, not"));
        let earlier = record(2).entry(ours, 3).unwrap();
        assert_eq!((earlier.position, earlier.checksum), (Position::new(3, 5).unwrap(), 9));
        assert!(earlier.frame.changes.is_empty() && !record(2).decoded.frame.changes.is_empty());
    }
}
