//! Frames as bytes: `thuban.change.v1.Frame`, the same in every log.
//!
//! What is written here is read again after years, and by newer programs: fields are only added, limits only raised,
//! and the golden files under `tests/golden/` stay readable. Nothing is written that could not be read back:
//! [`encode`] makes the same checks as [`decode`] wherever the model's types alone do not vouch for a value.

mod check;
mod parse;
mod write;

use compute::model::limits::{FRAME_BYTES_MAX, FRAME_CHANGES_MAX};
use compute::model::{Frame, Invalid, LogGeneration};
use prost::Message as _;
use schemas::thuban::change::v1 as wire;

/// The format that [`encode`] writes; [`decode`] reads it and every earlier one.
pub const FORMAT_VERSION: u32 = 1;

/// A frame, and which life of the log it was written for.
#[derive(Clone, PartialEq, Debug)]
pub struct Decoded {
    pub frame: Frame,
    pub generation: LogGeneration,
}

/// Why bytes are not a frame that this program can use.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("{bytes} bytes; allowed: at most {FRAME_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("{changes} changes; allowed: at most {FRAME_CHANGES_MAX}")]
    TooManyChanges { changes: usize },
    #[error("not a frame: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("frame format {found}; this program reads up to {FORMAT_VERSION}: a newer one wrote it")]
    NewerFormat { found: u32 },
    #[error("{0}")]
    Frame(Invalid),
    #[error("change {place}: {wrong}")]
    Change { place: usize, wrong: Invalid },
}

/// Why a frame is not written.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("a frame of {bytes} bytes; allowed: at most {FRAME_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("a frame of {changes} changes; allowed: at most {FRAME_CHANGES_MAX}")]
    TooManyChanges { changes: usize },
    #[error("a frame of generation {generation}; allowed: 1 to 127")]
    Generation { generation: LogGeneration },
    #[error("change {place}: {wrong}")]
    Change { place: usize, wrong: Invalid },
}

/// The bytes of a frame for a log of this generation. The same frame always gives the same bytes.
pub fn encode(frame: &Frame, generation: LogGeneration) -> Result<Vec<u8>, EncodeError> {
    if frame.changes.len() > FRAME_CHANGES_MAX {
        return Err(EncodeError::TooManyChanges { changes: frame.changes.len() });
    }
    if !(1..=127).contains(&generation) {
        return Err(EncodeError::Generation { generation });
    }
    let bytes = write::frame(frame, generation)?;
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(EncodeError::TooLong { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// The frame that these bytes are. Whatever they are, this ends with a frame within all limits or an error that names
/// what is wrong.
pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(DecodeError::TooLong { bytes: bytes.len() });
    }
    let changes = count_changes(bytes)?;
    if changes > FRAME_CHANGES_MAX {
        return Err(DecodeError::TooManyChanges { changes });
    }
    parse::frame(wire::Frame::decode(bytes)?)
}

/// What names the bytes of a frame in the rolling hash: XXH3, 64 bits, seed 0.
pub fn checksum(bytes: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(bytes)
}

/// How many changes or authors these bytes say they have, whichever is more, without making anything of them: two bytes
/// can ask for hundreds.
fn count_changes(mut bytes: &[u8]) -> Result<usize, DecodeError> {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    const AUTHORS: u32 = 6;
    const CHANGES: u32 = 7;
    let (mut authors, mut changes) = (0, 0);
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        authors += usize::from(tag == AUTHORS);
        changes += usize::from(tag == CHANGES);
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
    }
    Ok(changes.max(authors))
}

#[cfg(test)]
mod tests;
