//! Records as bytes.

use std::sync::Arc;

use compute::model::limits::FRAME_BYTES_MAX;
use compute::model::{Entry, LogIdentity, Position, Revision};
use compute::port::journal::{Decided, Raised, Record};
use compute::state::{Refusal, Verdict};
use prost::Message as _;
use schemas::thuban::change::v1 as wire;
use wire::journal_record::Record as Wire;

use crate::codec::{self, EncodeError};

/// What a segment begins with.
pub(super) const MAGIC: &[u8; 16] = b"thuban journal 1";
/// Of a record: the length of its payload and the payload's hash.
pub(super) const HEAD_BYTES: usize = 12;
/// A frame, and a verdict of 12 bytes at most for each of 4,096 changes.
const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX + (1 << 20);

/// Puts a record behind what is there. What a log holds can be encoded; an error leaves `out` as it was.
pub(super) fn put(out: &mut Vec<u8>, record: &Record) -> Result<(), EncodeError> {
    let record = match record {
        Record::Begun { log, at } => Wire::Begun(wire::Begun { log: log.0.to_vec(), at: at.packed() }),
        Record::Decided(decided) => Wire::Decided(said(decided)?),
        Record::Raised(Raised { log, from, next, is_lifted }) => Wire::Raised(wire::Raised {
            log: log.0.to_vec(),
            from: from.packed(),
            next: next.packed(),
            is_lifted: *is_lifted,
        }),
        Record::Lost { frames } => Wire::Lost(wire::Lost { frames: *frames }),
    };
    let payload = wire::JournalRecord { record: Some(record) }.encode_to_vec();
    // Within PAYLOAD_BYTES_MAX, because frames are within theirs.
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&codec::checksum(&payload).to_le_bytes());
    out.extend_from_slice(&payload);
    Ok(())
}

fn said(decided: &Decided) -> Result<wire::Decided, EncodeError> {
    let Entry { position, frame, checksum } = &decided.entry;
    Ok(wire::Decided {
        position: position.packed(),
        checksum: *checksum,
        frame: codec::encode(frame, position.generation())?,
        verdicts: decided.verdicts.iter().map(|verdict| wire::Verdict { verdict: Some(ruled(*verdict)) }).collect(),
    })
}

fn ruled(verdict: Verdict) -> wire::verdict::Verdict {
    let why = match verdict {
        Verdict::Applied(at) => return wire::verdict::Verdict::Applied(at.packed()),
        Verdict::Duplicate => wire::Unapplied::Duplicate,
        Verdict::Refused(Refusal::Base) => wire::Unapplied::Base,
        Verdict::Refused(Refusal::BaseTooOld) => wire::Unapplied::BaseTooOld,
        Verdict::Refused(Refusal::Generation) => wire::Unapplied::Generation,
        Verdict::Refused(Refusal::Suspicion) => wire::Unapplied::Suspicion,
        Verdict::Refused(Refusal::Already) => wire::Unapplied::Already,
        Verdict::Refused(Refusal::Epoch) => wire::Unapplied::Epoch,
        Verdict::Refused(Refusal::Absent) => wire::Unapplied::Absent,
        Verdict::Refused(Refusal::NotEmpty) => wire::Unapplied::NotEmpty,
        Verdict::Refused(Refusal::Gone) => wire::Unapplied::Gone,
        Verdict::Refused(Refusal::Barrier) => wire::Unapplied::Barrier,
    };
    wire::verdict::Verdict::Unapplied(why.into())
}

/// How long the payload behind this head is, and what it hashes to; an error says what is wrong.
pub(super) fn head(bytes: [u8; HEAD_BYTES]) -> Result<(usize, u64), String> {
    let [a, b, c, d, hash @ ..] = bytes;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > PAYLOAD_BYTES_MAX {
        return Err(format!("a record of {length} bytes; allowed: at most {PAYLOAD_BYTES_MAX}"));
    }
    Ok((length, u64::from_le_bytes(hash)))
}

/// The record that this payload is.
pub(super) fn parse(payload: &[u8], hash: u64) -> Result<Record, String> {
    if codec::checksum(payload) != hash {
        return Err("a record that is not what was written".to_owned());
    }
    let record = wire::JournalRecord::decode(payload).map_err(|error| error.to_string())?;
    match record.record.ok_or("a record that this program does not know")? {
        Wire::Begun(begun) => Ok(Record::Begun { log: identity(&begun.log)?, at: position(begun.at)? }),
        Wire::Decided(said) => decided(&said).map(Record::Decided),
        Wire::Raised(raised) => Ok(Record::Raised(Raised {
            log: identity(&raised.log)?,
            from: position(raised.from)?,
            next: position(raised.next)?,
            is_lifted: raised.is_lifted,
        })),
        Wire::Lost(lost) => Ok(Record::Lost { frames: lost.frames }),
    }
}

fn decided(said: &wire::Decided) -> Result<Decided, String> {
    let position = position(said.position)?;
    let decoded = codec::decode(&said.frame).map_err(|error| error.to_string())?;
    if decoded.generation != position.generation() {
        return Err(format!("a frame of generation {} at {position}", decoded.generation));
    }
    let entry = Entry { position, frame: Arc::new(decoded.frame), checksum: said.checksum };
    let verdicts = said.verdicts.iter().map(verdict).collect::<Result<Vec<_>, _>>()?;
    Ok(Decided { entry, verdicts })
}

fn verdict(said: &wire::Verdict) -> Result<Verdict, String> {
    let why = match said.verdict {
        Some(wire::verdict::Verdict::Applied(at)) => {
            return Revision::from_packed(at).map(Verdict::Applied).ok_or_else(|| format!("{at} is no revision"));
        }
        Some(wire::verdict::Verdict::Unapplied(why)) => wire::Unapplied::try_from(why).ok(),
        None => None,
    };
    let refusal = match why.ok_or("a verdict that this program does not know")? {
        wire::Unapplied::Unspecified => return Err("a verdict that says nothing".to_owned()),
        wire::Unapplied::Duplicate => return Ok(Verdict::Duplicate),
        wire::Unapplied::Base => Refusal::Base,
        wire::Unapplied::BaseTooOld => Refusal::BaseTooOld,
        wire::Unapplied::Generation => Refusal::Generation,
        wire::Unapplied::Suspicion => Refusal::Suspicion,
        wire::Unapplied::Already => Refusal::Already,
        wire::Unapplied::Epoch => Refusal::Epoch,
        wire::Unapplied::Absent => Refusal::Absent,
        wire::Unapplied::NotEmpty => Refusal::NotEmpty,
        wire::Unapplied::Gone => Refusal::Gone,
        wire::Unapplied::Barrier => Refusal::Barrier,
    };
    Ok(Verdict::Refused(refusal))
}

fn identity(bytes: &[u8]) -> Result<LogIdentity, String> {
    bytes.try_into().map(LogIdentity).map_err(|_| format!("a log's identity of {} bytes; allowed: 16", bytes.len()))
}

fn position(packed: u64) -> Result<Position, String> {
    Position::from_packed(packed).ok_or_else(|| format!("{packed} is no position"))
}
