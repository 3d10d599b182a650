//! Numbers for Prometheus. Handles are looked up once: a lookup for each event would cost more than the event.

use metrics::{Counter, Gauge, counter, gauge};

pub(super) struct Meters {
    pub(super) watchers: Gauge,
    pub(super) dirty: Gauge,
    pub(super) window: Gauge,
    pub(super) history_records: Gauge,
    pub(super) history_bytes: Gauge,
    /// Told to watchers.
    pub(super) deltas: Counter,
    /// Made; the rest were shared.
    pub(super) deltas_made: Counter,
    pub(super) snapshots: Counter,
    pub(super) compacted: Counter,
    pub(super) progress: Counter,
    /// Wake-ups that found the last one unread.
    pub(super) merged: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            watchers: gauge!("thuban_watchers"),
            dirty: gauge!("thuban_watch_slots_dirty"),
            window: gauge!("thuban_watch_window_seconds"),
            history_records: gauge!("thuban_watch_history_records"),
            history_bytes: gauge!("thuban_watch_history_bytes"),
            deltas: counter!("thuban_watch_deltas_total"),
            deltas_made: counter!("thuban_watch_deltas_made_total"),
            snapshots: counter!("thuban_watch_snapshots_total"),
            compacted: counter!("thuban_watch_compacted_total"),
            progress: counter!("thuban_watch_progress_total"),
            merged: counter!("thuban_watch_merged_total"),
        }
    }
}
