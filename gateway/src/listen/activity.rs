//! What the sweeper sees of a connection: a few atomics that its I/O and its requests touch as they pass.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use compute::port::Clock;
use futures::task::AtomicWaker;

use super::unproven::gives_way;
use super::unread::{Standing, Turns};
use super::{Config, Unproven};
use crate::admission::{Budget, Shares};

/// The listener's coarse clock and its connections.
pub(super) struct Watchman {
    /// Milliseconds, from 1; as of the last sweep.
    now_ms: AtomicU64,
    connections: Mutex<Connections>,
    next: AtomicU64,
    head_timeout_ms: u64,
    idle_timeout_ms: u64,
    silent_timeout_ms: u64,
    turns: Turns,
    unsent: Budget,
    connections_max: usize,
    unproven: Option<Unproven>,
}

struct Connections {
    open: HashMap<u64, Arc<Activity>>,
    /// What all of them were told, and who comes now is.
    told: Word,
}

/// What a connection is told, the stronger the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Word {
    Serve,
    /// Finish what is under way, and take nothing new.
    Drain,
    /// End now.
    Cut,
}

/// One connection's part.
pub(super) struct Activity {
    watchman: Arc<Watchman>,
    id: u64,
    peer: IpAddr,
    entered_ms: u64,
    /// There was no room for it: it is told so, and ends.
    is_beyond: bool,
    /// Who calls has been shown, or need not be.
    is_proven: AtomicBool,
    /// Requests that have not been answered yet.
    busy: AtomicU32,
    /// Since when a request's head is arriving, or the first byte is waited for; 0: it is not.
    head_since_ms: AtomicU64,
    /// The last byte in either direction.
    moved_ms: AtomicU64,
    /// The last byte that came.
    heard_ms: AtomicU64,
    /// What is to go out waits for a peer that does not take it.
    is_stuck: AtomicBool,
    /// HTTP/2 says so itself when a peer is dead, and its frames are not heads.
    is_h2: AtomicBool,
    /// The connection looks at it each time it is woken: one load, where a future for each who may speak takes a lock.
    told: AtomicU8,
    waker: AtomicWaker,
    pub(super) standing: Standing,
    shares: Arc<Shares>,
}

/// Why a connection was cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    SlowHead,
    Idle,
    /// HTTP/2 gives a peer up that answers no ping, but says goodbye first, and waits for ever if that can't go out.
    Silent,
    /// An answer was not taken.
    Unread,
    /// Nobody has shown in time who calls.
    Unproven,
    /// Nor before another came for whom there was no other place.
    GaveWay,
}

impl Cut {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::Idle => "idle",
            Self::Silent => "silent",
            Self::Unread => "unread",
            Self::Unproven => "unproven",
            Self::GaveWay => "gave_way",
        }
    }
}

impl Watchman {
    pub(super) fn new(config: &Config, now_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            now_ms: AtomicU64::new(now_ms),
            connections: Mutex::new(Connections { open: HashMap::new(), told: Word::Serve }),
            next: AtomicU64::new(0),
            head_timeout_ms: config.head_timeout.as_millis() as u64,
            idle_timeout_ms: config.idle_timeout.as_millis() as u64,
            silent_timeout_ms: (config.ping_interval + config.ping_timeout).as_millis() as u64,
            turns: Turns::new(config.unread_timeout.as_millis() as u64),
            unsent: config.unsent.clone(),
            connections_max: config.connections_max,
            unproven: config.unproven,
        })
    }

    /// One more connection, beside as many as there are.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, others: usize, door: &'static str) -> Arc<Activity> {
        let now = self.now_ms.load(Relaxed);
        let mut connections = self.all();
        let has_room = match &self.unproven {
            None => others < self.connections_max,
            Some(unproven) => connections.make_room(self.connections_max, unproven, door),
        };
        let activity = Arc::new(Activity {
            watchman: Arc::clone(self),
            id: self.next.fetch_add(1, Relaxed),
            peer,
            entered_ms: now,
            is_beyond: !has_room,
            is_proven: AtomicBool::new(self.unproven.is_none()),
            busy: AtomicU32::new(0),
            head_since_ms: AtomicU64::new(now),
            moved_ms: AtomicU64::new(now),
            heard_ms: AtomicU64::new(now),
            is_stuck: AtomicBool::new(false),
            is_h2: AtomicBool::new(false),
            told: AtomicU8::new(connections.told as u8),
            waker: AtomicWaker::new(),
            standing: Standing::default(),
            shares: Arc::default(),
        });
        connections.open.insert(activity.id, Arc::clone(&activity));
        activity
    }

    pub(super) fn leave(&self, activity: &Activity) {
        self.all().open.remove(&activity.id);
    }

    /// Tells every connection, those too that are still to come.
    pub(super) fn tell(&self, word: Word) {
        let mut connections = self.all();
        connections.told = connections.told.max(word);
        connections.open.values().for_each(|activity| activity.tell(word));
    }

    /// Looks at all connections again and again. Never ends.
    pub(super) async fn sweep(self: Arc<Self>, clock: Arc<dyn Clock>, door: &'static str) {
        let shortest = self.head_timeout_ms.min(self.idle_timeout_ms).min(self.silent_timeout_ms);
        let shortest = shortest.min(2 * self.turns.length_ms());
        let shortest = self.unproven.map_or(shortest, |unproven| shortest.min(unproven.timeout.as_millis() as u64));
        let period = (shortest / 8).clamp(1, 1_000);
        loop {
            clock.sleep(Duration::from_millis(period)).await;
            self.look(clock.mono_ms() + 1, door);
        }
    }

    pub(super) fn look(&self, now_ms: u64, door: &'static str) {
        self.now_ms.store(now_ms, Relaxed);
        self.turns.advance(now_ms);
        for activity in self.all().open.values() {
            if let Some(cut) = self.judge(activity, now_ms) {
                activity.cut(cut, door);
            }
        }
    }

    fn judge(&self, activity: &Activity, now_ms: u64) -> Option<Cut> {
        let over = |since: u64, limit: u64| since > 0 && now_ms.saturating_sub(since) > limit;
        let is_h1 = !activity.is_h2.load(Relaxed);
        if is_h1 && over(activity.head_since_ms.load(Relaxed), self.head_timeout_ms) {
            return Some(Cut::SlowHead);
        }
        let is_stuck = activity.is_stuck.load(Relaxed);
        if !is_h1 && is_stuck && over(activity.heard_ms.load(Relaxed), self.silent_timeout_ms) {
            return Some(Cut::Silent);
        }
        if activity.standing.has_stuck(&self.turns) {
            return Some(Cut::Unread);
        }
        if let Some(unproven) = &self.unproven
            && activity.is_unproven()
            && over(activity.entered_ms, unproven.timeout.as_millis() as u64)
        {
            return Some(Cut::Unproven);
        }
        over(activity.moved_ms.load(Relaxed), self.idle_timeout_ms).then_some(Cut::Idle)
    }

    fn all(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Whether one more may come; an unproven one gives way to it where it must.
    fn make_room(&self, connections_max: usize, unproven: &Unproven, door: &'static str) -> bool {
        let standing = || self.open.values().filter(|activity| !activity.is_beyond && !activity.is_told(Word::Cut));
        let strangers = standing().filter(|activity| activity.is_unproven());
        let strangers: Vec<_> = strangers.map(|activity| (activity.id, activity.peer)).collect();
        if strangers.len() < unproven.connections_max && standing().count() < connections_max {
            return true;
        }
        let Some(oldest) = gives_way(&strangers).and_then(|id| self.open.get(&id)) else { return false };
        oldest.cut(Cut::GaveWay, door);
        true
    }
}

impl Activity {
    /// There was no room for it.
    pub(super) fn is_beyond(&self) -> bool {
        self.is_beyond
    }

    fn is_unproven(&self) -> bool {
        !self.is_proven.load(Relaxed)
    }

    /// Who calls has been shown.
    pub(super) fn prove(&self) {
        self.is_proven.store(true, Relaxed);
    }

    /// Whether who calls must be shown at this door.
    pub(super) fn must_prove(&self) -> bool {
        self.watchman.unproven.is_some()
    }

    fn cut(&self, why: Cut, door: &'static str) {
        metrics::counter!("thuban_connections_cut_total", "door" => door, "reason" => why.as_str()).increment(1);
        self.tell(Word::Cut);
    }

    /// Bytes came or went.
    pub(super) fn moved(&self) {
        self.moved_ms.store(self.watchman.now_ms.load(Relaxed), Relaxed);
    }

    /// Bytes went, or are to go and can't.
    pub(super) fn sent(&self, has_gone: bool) {
        self.is_stuck.store(!has_gone, Relaxed);
        if has_gone {
            self.moved();
        }
    }

    /// Bytes came: of a head, if no request is under way.
    pub(super) fn received(&self) {
        self.moved();
        self.heard_ms.store(self.watchman.now_ms.load(Relaxed), Relaxed);
        if self.busy.load(Relaxed) == 0 && self.head_since_ms.load(Relaxed) == 0 {
            self.head_since_ms.store(self.watchman.now_ms.load(Relaxed), Relaxed);
        }
    }

    pub(super) fn speaks_h2(&self) {
        self.is_h2.store(true, Relaxed);
    }

    pub(super) fn is_h2(&self) -> bool {
        self.is_h2.load(Relaxed)
    }

    pub(super) fn turns(&self) -> &Turns {
        &self.watchman.turns
    }

    /// For what all answers of the process that wait for their readers may hold.
    pub(super) fn unsent(&self) -> &Budget {
        &self.watchman.unsent
    }

    pub(super) fn shares(&self) -> &Arc<Shares> {
        &self.shares
    }

    /// A head is complete: its request is under way until what this gives is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Relaxed);
        self.head_since_ms.store(0, Relaxed);
        Busy(Arc::clone(self))
    }

    fn is_told(&self, word: Word) -> bool {
        self.told.load(Acquire) >= word as u8
    }

    fn tell(&self, word: Word) {
        self.told.fetch_max(word as u8, AcqRel);
        self.waker.wake();
    }

    /// Resolves when it was told `word` or something stronger. Only the connection's own task may wait.
    pub(super) async fn told(&self, word: Word) {
        poll_fn(|cx| {
            if self.is_told(word) {
                return Poll::Ready(());
            }
            self.waker.register(cx.waker());
            if self.is_told(word) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

pub(super) struct Busy(Arc<Activity>);

impl Busy {
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Relaxed);
    }
}
