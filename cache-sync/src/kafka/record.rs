//! A record of the topic: its key is the checksum of its value, its value is a frame.
//!
//! Kafka's offset `o` is offset `o + 1` of the log: the log counts from 1.
//!
//! Whoever may write to the topic may write what is no frame. No node ever wrote it, so nobody was told that it is kept,
//! and all nodes pass it over alike: see [`is_foreign`].

use std::sync::Arc;

use compute::model::{Entry, Frame, LogGeneration, LogIdentity, NodeIncarnation, Position};
use compute::port::change_log::{Life, outlived};
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
    /// `None`: it is foreign.
    pub(super) decoded: Option<codec::Decoded>,
}

/// Why the place of a record is taken and it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Passed {
    /// No node of any log has written it.
    Foreign,
    /// It is of an earlier life of the log.
    Outlived,
}

impl Record {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Result<Self, String> {
        let offset = u64::try_from(message.offset()).map_err(|_| format!("its offset is {}", message.offset()))?;
        let (decoded, checksum, bytes) = parse(message.key(), message.payload())?;
        Ok(Self { offset, checksum, bytes, decoded })
    }

    /// Of which log and life it is; `None`: of none.
    pub(super) fn life(&self) -> Option<Life> {
        self.decoded.as_ref().map(|decoded| (decoded.frame.identity, decoded.generation))
    }

    /// Why it is passed over in this life of the log, if it is.
    pub(super) fn passed(&self, generation: LogGeneration) -> Option<Passed> {
        match self.life() {
            None => Some(Passed::Foreign),
            Some((_, life)) if life < generation => Some(Passed::Outlived),
            Some(_) => None,
        }
    }

    /// The entry that this record is in a log of this identity and generation. One that is [`passed`](Self::passed) over
    /// says nothing, and its place is taken.
    pub(super) fn entry(self, identity: LogIdentity, generation: LogGeneration) -> Result<Entry, String> {
        let position = Position::new(generation, self.offset + 1).ok_or("there are too many")?;
        let frame = match self.decoded {
            None => Frame { identity, writer: NodeIncarnation(0), time_ms: 0, changes: Vec::new() },
            Some(codec::Decoded { frame, generation: life }) if frame.identity != identity || life > generation => {
                return Err(format!(
                    "it is of log {}, generation {life}, not {identity}, {generation}",
                    frame.identity
                ));
            }
            Some(codec::Decoded { frame, generation: life }) if life < generation => outlived(&frame),
            Some(codec::Decoded { frame, .. }) => frame,
        };
        Ok(Entry { position, frame: Arc::new(frame), checksum: self.checksum })
    }
}

/// What a record holds, unless it is foreign, its checksum, and how long it is. An error: it is ours, or was, and what
/// it says can't be known.
fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(Option<codec::Decoded>, u64, usize), String> {
    let written = key.and_then(|key| key.try_into().ok()).map(u64::from_be_bytes);
    let found = codec::checksum(value.unwrap_or_default());
    let bytes = value.map_or(0, <[u8]>::len);
    if written != Some(found) && is_foreign(written.is_some(), value.unwrap_or_default()) {
        return Ok((None, found, bytes));
    }
    let value = value.ok_or("it has no value")?;
    let written = written.ok_or("it has no checksum")?;
    if found != written {
        return Err(format!("its checksum is {found:016x}, written was {written:016x}"));
    }
    let decoded = codec::decode(value).map_err(|error| error.to_string())?;
    Ok((Some(decoded), found, bytes))
}

/// Whether no node can have written a record whose checksum is not that of its value. By its bytes alone, so that all
/// nodes say the same of it, at all times: what is said here can't be changed while there are topics.
///
/// A record of ours has four marks: a key of eight bytes, and a value that begins as every frame does, with a format
/// version (`08`, one byte) and an identity of 16 bytes (`12 10`). One that has lost any one of them, or its end, is
/// damaged, and may hold what was acknowledged. One that lacks two is not ours.
fn is_foreign(has_checksum: bool, value: &[u8]) -> bool {
    const BEGINNING: [(usize, u8); 3] = [(0, 0x08), (2, 0x12), (3, 0x10)];
    let is_there = |(at, byte): &(usize, u8)| value.get(*at).map_or(has_checksum, |found| found == byte);
    usize::from(has_checksum) + BEGINNING.iter().filter(|mark| is_there(mark)).count() < 3
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
        assert_eq!(decoded, Some(codec::Decoded { frame: written.as_ref().clone(), generation: 2 }));
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
    fn a_record_of_ours_is_never_taken_for_a_foreign_one() {
        for generation in [1, 127] {
            let value = codec::encode(&frame(LogIdentity([3; 16]), 7), generation).unwrap();
            let key = key(codec::checksum(&value));
            for at in 0..value.len() {
                for bits in 1..=255 {
                    let mut damaged = value.clone();
                    damaged[at] ^= bits;
                    assert!(parse(Some(&key), Some(&damaged)).is_err(), "byte {at} ^ {bits}");
                }
                assert!(parse(Some(&key), Some(&value[..at])).is_err(), "cut at {at}");
            }
            for wrong in [None, Some(&key[..7]), Some(b"".as_slice())] {
                assert!(parse(wrong, Some(&value)).is_err(), "{wrong:?}");
            }
        }
    }

    #[test]
    fn what_no_node_wrote_is_foreign() {
        let values: [&[u8]; 7] =
            [b"", b"\n", b"hello", br#"{"order":7}"#, b"\x08\x96\x01", &[0; 64], &[0, 0, 0, 0, 9, 2]];
        for value in values {
            let foreign = Ok((None, codec::checksum(value), value.len()));
            for key in [None, Some(b"".as_slice()), Some(b"orders")] {
                assert_eq!(parse(key, Some(value)), foreign, "{key:?} {value:?}");
            }
            // Keys of eight bytes are common: a number, a short name.
            if value.len() >= 4 {
                assert_eq!(parse(Some(&7u64.to_be_bytes()), Some(value)), foreign, "{value:?}");
            }
        }
        assert_eq!(parse(None, None), Ok((None, codec::checksum(b""), 0)));
        let record = Record { offset: 4, checksum: 9, bytes: 1, decoded: None };
        assert_eq!((record.life(), record.passed(2)), (None, Some(Passed::Foreign)));
        let ours = LogIdentity([3; 16]);
        let entry = record.entry(ours, 2).unwrap();
        assert_eq!((entry.position, entry.checksum), (Position::new(2, 5).unwrap(), 9));
        assert!(entry.frame.identity == ours && entry.frame.changes.is_empty());
    }

    #[test]
    fn a_record_of_another_life_is_no_entry() {
        let (ours, other) = (LogIdentity([3; 16]), LogIdentity([4; 16]));
        let record = |generation| {
            let decoded = Some(codec::Decoded { frame: frame(ours, 1).as_ref().clone(), generation });
            Record { offset: 4, checksum: 9, bytes: 1, decoded }
        };
        assert_eq!(record(2).entry(ours, 2).unwrap().position, Position::new(2, 5).unwrap());
        let why = record(2).entry(other, 2).unwrap_err();
        assert!(why.contains(&ours.to_string()) && why.contains(&other.to_string()), "{why}");
        assert!(record(3).entry(ours, 2).unwrap_err().contains("generation 3, not"));
        let earlier = record(2).entry(ours, 3).unwrap();
        assert_eq!((earlier.position, earlier.checksum), (Position::new(3, 5).unwrap(), 9));
        assert!(earlier.frame.changes.is_empty() && !frame(ours, 1).changes.is_empty());
        let passed: Vec<_> = (2..=3).map(|generation| record(2).passed(generation)).collect();
        assert_eq!(passed, [None, Some(Passed::Outlived)]);
    }
}
