//! What the sweeper sees of a connection: a few atomics that its I/O and its requests touch as they pass.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compute::port::Clock;
use tokio::sync::Notify;

use super::Config;

/// The listener's coarse clock and its connections.
pub(super) struct Watchman {
    /// Milliseconds, from 1; as of the last sweep.
    now_ms: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<Activity>>>,
    next: AtomicU64,
    head_timeout_ms: u64,
    idle_timeout_ms: u64,
}

/// One connection's part.
pub(super) struct Activity {
    watchman: Arc<Watchman>,
    id: u64,
    /// Requests that have not been answered yet.
    busy: AtomicU32,
    /// Since when a request's head is arriving, or the first byte is waited for; 0: it is not.
    head_since_ms: AtomicU64,
    /// The last byte in either direction.
    moved_ms: AtomicU64,
    /// HTTP/2 says so itself when a peer is dead, and its frames are not heads.
    is_h2: AtomicBool,
    cut: Notify,
}

/// Why a connection was cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    SlowHead,
    Idle,
}

impl Cut {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::Idle => "idle",
        }
    }
}

impl Watchman {
    pub(super) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            now_ms: AtomicU64::new(1),
            connections: Mutex::default(),
            next: AtomicU64::new(0),
            head_timeout_ms: config.head_timeout.as_millis() as u64,
            idle_timeout_ms: config.idle_timeout.as_millis() as u64,
        })
    }

    pub(super) fn enter(self: &Arc<Self>) -> Arc<Activity> {
        let now = self.now_ms.load(Relaxed);
        let activity = Arc::new(Activity {
            watchman: Arc::clone(self),
            id: self.next.fetch_add(1, Relaxed),
            busy: AtomicU32::new(0),
            head_since_ms: AtomicU64::new(now),
            moved_ms: AtomicU64::new(now),
            is_h2: AtomicBool::new(false),
            cut: Notify::new(),
        });
        self.all().insert(activity.id, Arc::clone(&activity));
        activity
    }

    pub(super) fn leave(&self, activity: &Activity) {
        self.all().remove(&activity.id);
    }

    /// Looks at all connections again and again. Never ends.
    pub(super) async fn sweep(self: Arc<Self>, clock: Arc<dyn Clock>, door: &'static str) {
        let period = (self.head_timeout_ms.min(self.idle_timeout_ms) / 8).clamp(1, 1_000);
        loop {
            clock.sleep(Duration::from_millis(period)).await;
            self.look(clock.mono_ms() + 1, door);
        }
    }

    pub(super) fn look(&self, now_ms: u64, door: &'static str) {
        self.now_ms.store(now_ms, Relaxed);
        for activity in self.all().values() {
            if let Some(cut) = self.judge(activity, now_ms) {
                metrics::counter!("thuban_connections_cut_total", "door" => door, "reason" => cut.as_str())
                    .increment(1);
                activity.cut.notify_one();
            }
        }
    }

    fn judge(&self, activity: &Activity, now_ms: u64) -> Option<Cut> {
        let over = |since: u64, limit: u64| since > 0 && now_ms.saturating_sub(since) > limit;
        let is_h1 = !activity.is_h2.load(Relaxed);
        if is_h1 && over(activity.head_since_ms.load(Relaxed), self.head_timeout_ms) {
            return Some(Cut::SlowHead);
        }
        over(activity.moved_ms.load(Relaxed), self.idle_timeout_ms).then_some(Cut::Idle)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Activity {
    /// Bytes came or went.
    pub(super) fn moved(&self) {
        self.moved_ms.store(self.watchman.now_ms.load(Relaxed), Relaxed);
    }

    /// Bytes came: of a head, if no request is under way.
    pub(super) fn received(&self) {
        self.moved();
        if self.busy.load(Relaxed) == 0 && self.head_since_ms.load(Relaxed) == 0 {
            self.head_since_ms.store(self.watchman.now_ms.load(Relaxed), Relaxed);
        }
    }

    pub(super) fn speaks_h2(&self) {
        self.is_h2.store(true, Relaxed);
    }

    /// A head is complete: its request is under way until what this gives is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Relaxed);
        self.head_since_ms.store(0, Relaxed);
        Busy(Arc::clone(self))
    }

    /// Resolves when the sweeper has given the connection up.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }
}

pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Relaxed);
    }
}
