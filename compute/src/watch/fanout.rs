//! Who is to be woken when a topic changes, and when.
//!
//! Knows neither what a topic is nor what changed: a topic is any key, a change is its place in some order. Whoever
//! changes things calls [`Fanout::touch`] and [`Fanout::cover`], which cost the same however many follow the topic; one
//! task, [`Fanout::run`], wakes the members in rounds, as far apart as the [`Window`] says.

use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::slot::{Mark, Marked, Slot};
use super::window::{Round, Window};
use crate::keyed::Keyed;
use crate::port::Clock;

/// How many members are told before others get a turn.
const TOLD_AT_ONCE: usize = 512;

/// `K`: what a topic is called. `X`: what is kept with it. `M`: what is kept with a member.
pub(super) struct Fanout<K, X, M> {
    topics: Mutex<Topics<K, X, M>>,
    queue: Mutex<Queue<K, X, M>>,
    has_work: Notify,
    /// Everything up to here has been told to everybody whom it concerns.
    covered: AtomicU64,
    rounds: Rounds,
    /// Slots with a mark that was not read.
    dirty: AtomicI64,
    is_closed: AtomicBool,
}

type Topics<K, X, M> = Keyed<K, Arc<Topic<K, X, M>>>;

/// One thing that can be followed, as long as somebody does.
pub(super) struct Topic<K, X, M> {
    pub(super) key: K,
    pub(super) attached: X,
    /// The place of its last change since it is followed; 0: none yet.
    newest: AtomicU64,
    /// Counts how often it was touched.
    touches: AtomicU64,
    /// Its place in the queue, from 1; 0: not in it. Changes under the queue's lock.
    queued: AtomicUsize,
    count: AtomicUsize,
    members: Mutex<Members<M>>,
}

struct Members<M> {
    list: Vec<Option<Member<M>>>,
    free: Vec<u32>,
}

struct Member<M> {
    slot: Arc<Slot>,
    line: u32,
    /// How often the topic had been touched when this one came: it has seen all that.
    since: u64,
    note: M,
}

struct Queue<K, X, M> {
    touched: Vec<Touched<K, X, M>>,
    cover: u64,
    is_round_on: bool,
}

struct Touched<K, X, M> {
    topic: Arc<Topic<K, X, M>>,
    first: Option<u64>,
    touches: u64,
}

#[derive(Default)]
struct Rounds {
    number: AtomicU64,
    woken: AtomicU64,
    read: AtomicU64,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) woken: u64,
    /// Marks that found the last one unread.
    pub(super) merged: u64,
}

struct Telling {
    number: u64,
    /// How many members are told before it is somebody else's turn.
    rest: usize,
    told: Told,
    /// Slots to ring when all marks are there.
    late: Vec<Arc<Slot>>,
}

/// Membership of one topic; ends when it is dropped.
pub(super) struct Held<K: Eq + Hash, X, M> {
    fanout: Arc<Fanout<K, X, M>>,
    pub(super) topic: Arc<Topic<K, X, M>>,
    place: u32,
}

impl<K: Clone + Eq + Hash, X: Default, M> Fanout<K, X, M> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            topics: Mutex::default(),
            queue: Mutex::new(Queue { touched: Vec::new(), cover: 0, is_round_on: false }),
            has_work: Notify::new(),
            covered: AtomicU64::new(0),
            rounds: Rounds::default(),
            dirty: AtomicI64::new(0),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Follows `key`: `slot` is marked at `line` for each touch from now on.
    pub(super) fn follow(self: &Arc<Self>, key: &K, slot: Arc<Slot>, line: u32, note: M) -> Held<K, X, M> {
        let mut topics = lock(&self.topics);
        let topic = topics.entry(key.clone()).or_insert_with(|| Arc::new(Topic::new(key.clone()))).clone();
        let since = topic.touches.load(Ordering::SeqCst);
        let place = lock(&topic.members).add(Member { slot, line, since, note });
        topic.count.fetch_add(1, Ordering::SeqCst);
        drop(topics);
        Held { fanout: self.clone(), topic, place }
    }

    pub(super) fn topic(&self, key: &K) -> Option<Arc<Topic<K, X, M>>> {
        lock(&self.topics).get(key).cloned()
    }

    /// `key` has changed at `at`; places only rise. `None`: a change without a place in the order.
    pub(super) fn touch(&self, key: &K, at: Option<u64>) {
        let Some(topic) = self.topic(key) else { return };
        let touches = topic.touches.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(at) = at {
            topic.newest.store(at, Ordering::SeqCst);
        }
        let mut locked = lock(&self.queue);
        let queue = &mut *locked;
        match queue.touched.get_mut(topic.queued.load(Ordering::SeqCst).wrapping_sub(1)) {
            Some(waiting) => {
                waiting.first = waiting.first.or(at);
                waiting.touches = touches;
            }
            None => {
                queue.touched.push(Touched { topic: topic.clone(), first: at, touches });
                topic.queued.store(queue.touched.len(), Ordering::SeqCst);
            }
        }
    }

    /// Everything up to `at` has been touched. Without this nobody is woken. 0: after a change without a place.
    pub(super) fn cover(&self, at: u64) {
        let mut queue = lock(&self.queue);
        queue.cover = queue.cover.max(at);
        let is_idle = queue.touched.is_empty();
        if is_idle && !queue.is_round_on {
            self.covered.store(queue.cover, Ordering::SeqCst);
        }
        drop(queue);
        if !is_idle {
            self.has_work.notify_one();
        }
    }

    /// Whoever has read all its marks after this call has been told of everything up to what it returned.
    pub(super) fn covered(&self) -> u64 {
        self.covered.load(Ordering::SeqCst)
    }

    /// Moves the marks of a slot to `into`.
    pub(super) fn take(&self, slot: &Slot, into: &mut Vec<Mark>) {
        if let Some(round) = slot.take(into) {
            self.dirty.fetch_sub(1, Ordering::Relaxed);
            if round == self.rounds.number.load(Ordering::SeqCst) {
                self.rounds.read.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Wakes members until it is closed. `after` is told of each round, and of the span that keeps the next one apart.
    pub(super) async fn run(&self, clock: &dyn Clock, mut after: impl FnMut(Told, u64)) {
        let mut window = Window::default();
        while !self.is_closed() {
            if lock(&self.queue).touched.is_empty() {
                self.has_work.notified().await;
                continue;
            }
            let now = clock.mono_ms();
            let delay = window.delay(now, self.last_round());
            if delay > 0 {
                clock.sleep_until(now + delay).await;
            }
            let told = self.round().await;
            window.ended(clock.mono_ms());
            after(told, window.span_ms());
        }
    }

    /// Topics that wait for the next round.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        lock(&self.queue).touched.len()
    }

    /// Tells everybody who follows what was touched since the last round. Not to be dropped half-way.
    pub(super) async fn round(&self) -> Told {
        let (touched, cover) = self.begin_round();
        let number = self.rounds.number.load(Ordering::SeqCst);
        let mut telling = Telling { number, rest: TOLD_AT_ONCE, told: Told::default(), late: Vec::new() };
        for touched in &touched {
            let mut place = 0;
            while let Some(next) = self.tell(touched, place, &mut telling) {
                place = next;
                telling.rest = TOLD_AT_ONCE;
                tokio::task::yield_now().await;
            }
        }
        self.end_round(cover);
        for some in telling.late.chunks(TOLD_AT_ONCE) {
            some.iter().for_each(|slot| slot.ring());
            tokio::task::yield_now().await;
        }
        telling.told
    }

    fn begin_round(&self) -> (Vec<Touched<K, X, M>>, u64) {
        let mut queue = lock(&self.queue);
        let touched = std::mem::take(&mut queue.touched);
        touched.iter().for_each(|touched| touched.topic.queued.store(0, Ordering::SeqCst));
        queue.is_round_on = true;
        self.rounds.number.fetch_add(1, Ordering::SeqCst);
        self.rounds.woken.store(0, Ordering::SeqCst);
        self.rounds.read.store(0, Ordering::SeqCst);
        (touched, queue.cover)
    }

    fn end_round(&self, cover: u64) {
        let mut queue = lock(&self.queue);
        queue.is_round_on = false;
        let reached = if queue.touched.is_empty() { queue.cover } else { cover };
        self.covered.store(reached, Ordering::SeqCst);
    }

    /// Tells the members of one topic from `place` on; where to go on when it is somebody else's turn.
    fn tell(&self, touched: &Touched<K, X, M>, place: usize, telling: &mut Telling) -> Option<usize> {
        let members = lock(&touched.topic.members);
        for (place, member) in members.list.iter().enumerate().skip(place) {
            if telling.rest == 0 {
                return Some(place);
            }
            telling.rest -= 1;
            let Some(member) = member.as_ref().filter(|m| m.since < touched.touches) else { continue };
            match member.slot.mark(member.line, touched.first, telling.number) {
                Marked::Merged => telling.told.merged += 1,
                Marked::Added => {}
                Marked::First => {
                    telling.told.woken += 1;
                    self.rounds.woken.fetch_add(1, Ordering::SeqCst);
                    self.dirty.fetch_add(1, Ordering::Relaxed);
                    if member.slot.is_rung_late() {
                        telling.late.push(member.slot.clone());
                    }
                }
            }
        }
        None
    }

    pub(super) fn last_round(&self) -> Round {
        let woken = self.rounds.woken.load(Ordering::SeqCst);
        Round { woken, waiting: woken.saturating_sub(self.rounds.read.load(Ordering::SeqCst)) }
    }

    /// Slots that have something to read.
    pub(super) fn dirty(&self) -> i64 {
        self.dirty.load(Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Rings everybody, for the last time.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.has_work.notify_one();
        let topics: Vec<_> = lock(&self.topics).values().cloned().collect();
        for topic in topics {
            lock(&topic.members).list.iter().flatten().for_each(|member| member.slot.ring());
        }
    }
}

impl<K, X: Default, M> Topic<K, X, M> {
    fn new(key: K) -> Self {
        Self {
            key,
            attached: X::default(),
            newest: AtomicU64::new(0),
            touches: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            members: Mutex::new(Members { list: Vec::new(), free: Vec::new() }),
        }
    }
}

impl<K, X, M> Topic<K, X, M> {
    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::SeqCst)
    }

    /// How many follow it.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub(super) fn each(&self, mut with: impl FnMut(&M)) {
        lock(&self.members).list.iter().flatten().for_each(|member| with(&member.note));
    }
}

impl<M> Members<M> {
    fn add(&mut self, member: Member<M>) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.list[place as usize] = Some(member);
                place
            }
            None => {
                self.list.push(Some(member));
                (self.list.len() - 1) as u32
            }
        }
    }

    fn remove(&mut self, place: u32) -> Option<Member<M>> {
        let member = self.list.get_mut(place as usize).and_then(Option::take)?;
        self.free.push(place);
        Some(member)
    }
}

impl<K: Eq + Hash, X, M> Drop for Held<K, X, M> {
    fn drop(&mut self) {
        let mut topics = lock(&self.fanout.topics);
        let left = lock(&self.topic.members).remove(self.place);
        if self.topic.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            topics.remove(&self.topic.key);
        }
        drop(topics);
        // The last topic of a slot takes its unread marks along.
        if left.is_some_and(|member| member.slot.take(&mut Vec::new()).is_some()) {
            self.fanout.dirty.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A panic elsewhere leaves nothing half-done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
