//! Heartbeats that arrived at this node, on their way to the nodes that own the leases.
//!
//! Taking one note is a push under a short lock; what is of this node's own leases is left out when the notes are
//! collected. Losing notes is no harm: whoever heard a suspect says so to the log when the suspicion comes. Who cannot
//! read the log hears of no suspicion, nor of leases that others took over from it: it tells everybody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::directory::Directory;
use crate::model::limits::TTL_MS_DEFAULT;
use crate::model::{InstanceKey, NodeIncarnation, Position, Revision};
use crate::port::clock::MonoMs;
use crate::port::peers::Age;
use crate::port::{Clock, Peers};
use crate::state::ownership::Ownership;

/// Most notes kept between two collections; beyond it heartbeats are noted in the leases alone.
const NOTES_MAX: usize = 262_144;
/// How often they are collected.
const COLLECT: Duration = Duration::from_millis(250);
/// A node that hears nobody for less is not isolated, however short the TTLs are.
const ISOLATED_MS: MonoMs = 1_000;
/// Others are asked whether they are there when the log has been silent for so long.
const SILENT_MS: MonoMs = 600;
/// Whoever renews does so within this time: its TTL counts for one or two of them.
const WINDOW_MS: MonoMs = TTL_MS_DEFAULT as MonoMs;
/// Most ages told in one call.
const AGES_MAX: usize = 8_192;

/// Which leases are this node's, as the applier has it.
pub(crate) struct Owned {
    pub(crate) me: NodeIncarnation,
    pub(crate) ownership: Ownership,
}

/// What was heard since the last collection, and from whom at all.
pub(crate) struct Heard {
    notes: Mutex<Vec<(InstanceKey, Revision)>>,
    pub(crate) owned: ArcSwap<Owned>,
    /// The shortest TTL that was renewed here in this window of time and in the one before it.
    shortest_ttl_ms: [AtomicU64; 2],
    /// When this node last read the log, and when it last reached another one.
    read_at: AtomicU64,
    reached_at: AtomicU64,
    /// The newest position that another node said it had applied, when it was asked because the log was silent here.
    applied_elsewhere: AtomicU64,
}

impl Heard {
    pub(crate) fn new(me: NodeIncarnation, now: MonoMs) -> Arc<Self> {
        let owned = ArcSwap::from_pointee(Owned { me, ownership: Ownership::default() });
        Arc::new(Self {
            notes: Mutex::default(),
            owned,
            shortest_ttl_ms: [AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)],
            read_at: AtomicU64::new(now),
            reached_at: AtomicU64::new(now),
            applied_elsewhere: AtomicU64::new(Position::ZERO.packed()),
        })
    }

    /// The log was read.
    pub(crate) fn read(&self, now: MonoMs) {
        self.read_at.store(now, Ordering::Relaxed);
    }

    /// Whether this node has heard nobody for so long that its clients had better ask another: neither the log nor a
    /// member, for the longer of 1 s and a third of the shortest TTL that it renews.
    pub(crate) fn is_isolated(&self, now: MonoMs) -> bool {
        let heard = self.read_at.load(Ordering::Relaxed).max(self.reached_at.load(Ordering::Relaxed));
        let shortest = self.shortest_ttl_ms.iter().map(|shortest| shortest.load(Ordering::Relaxed));
        let shortest = shortest.fold(u64::from(TTL_MS_DEFAULT), u64::min);
        now.saturating_sub(heard) > ISOLATED_MS.max(shortest / 3)
    }

    /// Another window begins.
    fn turn(&self) {
        let [current, before] = &self.shortest_ttl_ms;
        before.store(current.swap(u64::MAX, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether the log goes on behind `at`, as far as can be told from here: it is being read, or another node has read
    /// more. If not, it stands still for all of them.
    pub(crate) fn log_goes_on(&self, at: Position, now: MonoMs) -> bool {
        !self.is_log_silent(now) || self.applied_elsewhere.load(Ordering::Relaxed) > at.packed()
    }

    /// The newest position that another node is known to have applied, since the log was last silent here.
    pub(crate) fn applied_elsewhere(&self) -> Position {
        Position::from_packed(self.applied_elsewhere.load(Ordering::Relaxed)).unwrap_or(Position::ZERO)
    }

    /// An instance of this generation was heard.
    pub(crate) fn note(&self, key: &InstanceKey, generation: Revision, ttl_ms: u32) {
        let [shortest, _] = &self.shortest_ttl_ms;
        if u64::from(ttl_ms) < shortest.load(Ordering::Relaxed) {
            shortest.fetch_min(u64::from(ttl_ms), Ordering::Relaxed);
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < NOTES_MAX {
            notes.push((key.clone(), generation));
        }
    }

    fn take(&self) -> Vec<(InstanceKey, Revision)> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this node has not read the log for so long that it may not know any more who owns what: the others may
    /// have taken it for gone, and its leases over.
    fn is_log_silent(&self, now: MonoMs) -> bool {
        now >= self.read_at.load(Ordering::Relaxed) + SILENT_MS
    }

    /// What each other node is to be told: the owners, or, while the log is silent, all of `others`.
    fn collect(
        &self,
        directory: &Directory,
        now: MonoMs,
        others: &[NodeIncarnation],
    ) -> BTreeMap<NodeIncarnation, Vec<Age>> {
        let mut told: BTreeMap<_, Vec<Age>> = BTreeMap::new();
        let owned = self.owned.load();
        let is_silent = self.is_log_silent(now);
        for (instance, generation) in self.take() {
            let owner = owned.ownership.owner(&instance).filter(|owner| *owner != owned.me);
            let listeners = if is_silent { others } else { owner.as_slice() };
            if listeners.is_empty() {
                continue;
            }
            let view = directory.view(&instance.service);
            let there = view.get(&instance.id).filter(|there| there.generation == generation);
            let Some(heard) = there.and_then(|there| there.cell.heard_ms()) else { continue };
            let age_ms = now.saturating_sub(heard);
            for listener in listeners {
                told.entry(*listener).or_default().push(Age { instance: instance.clone(), generation, age_ms });
            }
        }
        told
    }

    /// Tells the owners, until nobody holds the other end.
    pub(crate) async fn run(self: Arc<Self>, directory: Arc<Directory>, clock: Arc<dyn Clock>, peers: Arc<dyn Peers>) {
        let mut turned = clock.mono_ms();
        loop {
            clock.sleep(COLLECT).await;
            if clock.mono_ms() >= turned + WINDOW_MS {
                turned = clock.mono_ms();
                self.turn();
            }
            let told = self.collect(&directory, clock.mono_ms(), &peers.reachable());
            let calls = told.into_iter().map(|(owner, ages)| tell(&peers, owner, ages));
            futures::future::join_all(calls).await;
            self.reach(&clock, &peers).await;
        }
    }

    /// Where the log is silent, whoever answers shows that it is not this node that is cut off.
    async fn reach(&self, clock: &Arc<dyn Clock>, peers: &Arc<dyn Peers>) {
        if !self.is_log_silent(clock.mono_ms()) {
            return;
        }
        let asked = peers.reachable().into_iter().map(|node| peers.ask(node));
        let answers = futures::future::join_all(asked).await;
        for reply in answers.iter().flatten() {
            self.applied_elsewhere.fetch_max(reply.applied.packed(), Ordering::Relaxed);
        }
        if answers.iter().any(Result::is_ok) {
            self.reached_at.store(clock.mono_ms(), Ordering::Relaxed);
        }
    }
}

async fn tell(peers: &Arc<dyn Peers>, owner: NodeIncarnation, ages: Vec<Age>) {
    for part in ages.chunks(AGES_MAX) {
        if let Err(error) = peers.heartbeats(owner, part.to_vec()).await {
            metrics::counter!("thuban_heartbeats_untold_total").increment(part.len() as u64);
            tracing::debug!(%error, %owner, count = part.len(), "heartbeats could not be told to their owner");
            return;
        }
    }
    metrics::counter!("thuban_heartbeats_told_total").increment(ages.len() as u64);
}

#[cfg(test)]
mod tests;
