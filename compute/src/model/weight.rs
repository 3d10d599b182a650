//! How much of a frame a change takes, without encoding it.

use std::hash::{Hash, Hasher};

use super::{Change, Frame};

const CHANGE_OVERHEAD_BYTES: usize = 128;
const FRAME_OVERHEAD_BYTES: usize = 64;

impl Change {
    /// Not below the bytes that this change takes in any log's encoding: what a writer adds up to keep a frame within
    /// [`FRAME_BYTES_MAX`](super::limits::FRAME_BYTES_MAX). At most a little over twice the bytes of its texts.
    pub fn weight(&self) -> usize {
        let mut count = Count(0);
        self.hash(&mut count);
        // Twice, because an encoding may frame each short text with more bytes than hashing it shows.
        CHANGE_OVERHEAD_BYTES + 2 * count.0
    }
}

impl Frame {
    /// Not below the bytes that this frame takes in any log's encoding.
    pub fn weight(&self) -> usize {
        FRAME_OVERHEAD_BYTES + self.changes.iter().map(Change::weight).sum::<usize>()
    }
}

/// Sees every byte of a value without keeping it.
struct Count(usize);

impl Hasher for Count {
    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn finish(&self) -> u64 {
        self.0 as u64
    }
}
