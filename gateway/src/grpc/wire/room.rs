//! What all requests of a door together may hold of messages that are not here whole: one alone may be large, and a
//! peer may begin very many and end none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use metrics::Gauge;

/// So much of a message takes none of the room.
const FREE_BYTES: usize = 64 << 10;

/// Cheap to clone; all clones are one room.
#[derive(Clone)]
pub(crate) struct Room {
    taken: Arc<AtomicUsize>,
    bytes_max: usize,
    gauge: Gauge,
}

impl Room {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let gauge = metrics::gauge!("thuban_grpc_unfinished_message_bytes");
        Self { taken: Arc::default(), bytes_max, gauge }
    }

    fn take(&self, bytes: usize) -> bool {
        let has_room = self.taken.fetch_add(bytes, Relaxed).saturating_add(bytes) <= self.bytes_max;
        if has_room {
            self.gauge.increment(bytes as f64);
        } else {
            self.taken.fetch_sub(bytes, Relaxed);
        }
        has_room
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Relaxed);
        self.gauge.decrement(bytes as f64);
    }
}

/// What one request holds of the room; dropping it gives it back.
pub(super) struct Held {
    room: Room,
    bytes: usize,
}

impl Held {
    pub(super) fn none_of(room: Room) -> Self {
        Self { room, bytes: 0 }
    }

    /// Makes it so much. False when there is no room for it: then it stays as it was.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        let bytes = if bytes > FREE_BYTES { bytes } else { 0 };
        if bytes > self.bytes && !self.room.take(bytes - self.bytes) {
            return false;
        }
        if bytes < self.bytes {
            self.room.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}
