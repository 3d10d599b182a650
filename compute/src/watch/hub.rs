//! Between the applier and everybody who waits: what changed goes into the history, who follows it is woken.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use super::account::{Account, Accounts};
use super::deltas::Deltas;
use super::fanout::{self, Fanout};
use super::history::{History, HistoryLimits};
use super::meters::Meters;
use super::slot::Slot;
use super::{Scope, Subscriber, Watch, WatchSpec};
use crate::directory::Directory;
use crate::error::Error;
use crate::model::{Instance, InstanceId, Invalid, Namespace, Position, Removal, Revision, ServiceKey};
use crate::port::Clock;
use crate::view::View;

/// When a watcher that was refused should come back.
const RETRY_AFTER: Duration = Duration::from_millis(1_000);

/// One change of one service, as the applier made it.
#[derive(Clone, Debug)]
pub struct Record {
    pub revision: Revision,
    pub what: Recorded,
}

#[derive(Clone, Debug)]
pub enum Recorded {
    Put(Arc<Instance>),
    Removed(InstanceId, Removal),
    /// The service itself: made, described, or deleted.
    Service,
}

/// What a frame did to one service: its view at the frame's end and the records since the last one, in order.
pub struct Publication {
    /// What readers get. Watchers get what the log alone shows, [`View::logged`].
    pub view: Arc<View>,
    pub records: Vec<Record>,
}

/// A watcher of a service as the list of subscribers shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub subscriber: Subscriber,
    /// The last revision that was handed to its connection.
    pub sent: Revision,
    /// The last revision that it said it has, on doors where it can.
    pub acknowledged: Option<Revision>,
}

/// Whether other nodes write the same log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Company {
    /// Whoever has seen more than this node has seen another log, or an end that this one has lost.
    #[default]
    Alone,
    /// Whoever has seen more than this node has seen it at one that is further.
    Among,
}

/// Bounds of what watchers may cost one node.
#[derive(Clone, Copy, Debug)]
pub struct WatchLimits {
    pub watchers_max: usize,
    /// Services that one watch names.
    pub services_max: usize,
    /// Services that all watches together name.
    pub followed_max: usize,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self { watchers_max: 100_000, services_max: 10_000, followed_max: 1_000_000 }
    }
}

/// What can be followed. Another kind of thing to follow is another kind of topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Topic {
    Service(ServiceKey),
    Namespace(Namespace),
}

type Note = Option<Arc<Account>>;
pub(super) type Held = fanout::Held<Topic, Deltas, Note>;
pub(super) type Followed = fanout::Topic<Topic, Deltas, Note>;

pub struct Hub {
    fanout: Arc<Fanout<Topic, Deltas, Note>>,
    history: RwLock<History>,
    company: Company,
    limits: WatchLimits,
    watchers: AtomicUsize,
    followed: AtomicUsize,
    /// Topics that keep deltas for their followers.
    keeping: Mutex<Vec<Weak<Followed>>>,
    pub(super) meters: Meters,
    pub(super) pulse: super::pulse::Pulse,
}

impl Hub {
    pub fn new(company: Company) -> Arc<Self> {
        Self::with(company, WatchLimits::default(), HistoryLimits::default())
    }

    pub fn with(company: Company, limits: WatchLimits, history: HistoryLimits) -> Arc<Self> {
        Arc::new(Self {
            fanout: Fanout::new(),
            history: RwLock::new(History::new(history)),
            company,
            limits,
            watchers: AtomicUsize::new(0),
            followed: AtomicUsize::new(0),
            keeping: Mutex::default(),
            meters: Meters::new(),
            pulse: super::pulse::Pulse::default(),
        })
    }

    /// Called once, before the first frame: what was before `position` is not known here.
    pub(crate) fn start(&self, position: Position) {
        self.write_history().start(position);
        self.fanout.cover(position.last().packed());
    }

    /// Called by the applier after each frame, also one that touched no service, and before the directory shows the
    /// new position. Puts the views into the directory itself: who reads a view and the history in one go must find
    /// them at the same frame.
    ///
    /// Costs the same however many watch: they are woken by [`Hub::run`].
    pub(crate) fn publish(&self, directory: &Directory, publications: &[Publication], position: Position) {
        let mut in_order: Vec<&Publication> = publications.iter().collect();
        in_order.sort_by_key(|publication| publication.records.last().map(|record| record.revision));
        let mut namespaces: VecDeque<&Namespace> = VecDeque::new();
        let mut history = self.write_history();
        history.begin(position);
        for publication in in_order {
            let before = directory.put_view(publication.view.clone()).logged();
            let to = history.append(&before, &publication.view.logged(), &publication.records);
            let service = &publication.view.service;
            self.fanout.touch(&Topic::Service(service.clone()), to.map(Revision::packed));
            if to.is_some() && namespaces.back() != Some(&&service.namespace) {
                namespaces.push_back(&service.namespace);
            }
        }
        history.end(position);
        let last = position.last().packed();
        for namespace in namespaces {
            self.fanout.touch(&Topic::Namespace(namespace.clone()), Some(last));
        }
        drop(history);
        self.fanout.cover(last);
    }

    /// What is provisional in a service has changed, and its view is in the directory: for those who wait to read it.
    pub(crate) fn overlaid(&self, service: &ServiceKey) {
        self.fanout.touch(&Topic::Service(service.clone()), None);
        self.fanout.cover(0);
    }

    /// Forgets what nobody will resume from or share any more. To be called now and then; `time_ms`: of any clock that
    /// goes on while nothing happens, always the same one.
    pub(crate) fn sweep(&self, time_ms: u64) {
        let keeping = std::mem::take(&mut *self.keeping.lock().unwrap_or_else(PoisonError::into_inner));
        keeping.iter().filter_map(Weak::upgrade).for_each(|topic| topic.attached.clear());
        let mut history = self.write_history();
        history.sweep(time_ms);
        self.meters.history_records.set(history.records() as f64);
        self.meters.history_bytes.set(history.bytes() as f64);
        drop(history);
        self.meters.dirty.set(self.fanout.dirty() as f64);
    }

    /// Wakes watchers, until [`Hub::close`]. One task of a node must run this; while nothing changes it sleeps.
    pub async fn run(&self, clock: Arc<dyn Clock>) {
        let meters = &self.meters;
        let after = |told: fanout::Told, span_ms: u64| {
            meters.merged.increment(told.merged);
            meters.window.set(span_ms as f64 / 1_000.0);
        };
        self.fanout.run(&*clock, after).await;
    }

    /// Ends every watch.
    pub fn close(&self) {
        self.fanout.close();
    }

    /// Wakes on each change of `service`, from now on.
    pub fn watcher(&self, service: &ServiceKey) -> Watcher {
        self.wait_for(service, None)
    }

    /// As [`Hub::watcher`], for somebody who has `sent` already and is listed among the subscribers.
    pub fn watcher_as(&self, service: &ServiceKey, subscriber: Subscriber, sent: Revision) -> Watcher {
        let account = Account::new(Arc::new(subscriber), Arc::default());
        account.sent(sent);
        self.wait_for(service, Some(Arc::new(account)))
    }

    fn wait_for(&self, service: &ServiceKey, note: Note) -> Watcher {
        let slot = Arc::new(Slot::new(1, false));
        let held = self.fanout.follow(&Topic::Service(service.clone()), slot.clone(), 0, note);
        Watcher { fanout: self.fanout.clone(), slot, _held: held }
    }

    pub fn watch(
        self: &Arc<Self>,
        directory: Arc<Directory>,
        clock: Arc<dyn Clock>,
        spec: WatchSpec,
    ) -> Result<Watch, Error> {
        let (topics, accounts) = self.topics(&spec)?;
        let counted = Counted::new(self, topics.len())?;
        let is_in_one_order = topics.len() > 1 || matches!(spec.scope, Scope::Namespace(_));
        let slot = Arc::new(Slot::new(topics.len(), is_in_one_order));
        let notes = accounts.notes();
        let follow = |(line, (topic, note)): (usize, (&Topic, Arc<Account>))| {
            self.fanout.follow(topic, slot.clone(), line as u32, Some(note))
        };
        let held = topics.iter().zip(notes).enumerate().map(follow).collect();
        Ok(Watch::new(counted, directory, clock, slot, held, Arc::new(accounts), spec))
    }

    /// What a watch follows, in the order of its lines.
    fn topics(&self, spec: &WatchSpec) -> Result<(Vec<Topic>, Accounts), Error> {
        let subscriber = Arc::new(spec.subscriber.clone());
        let whole = Arc::default();
        let mut services = match &spec.scope {
            Scope::Services(services) => services.clone(),
            Scope::Namespace(namespace) => {
                let account = Arc::new(Account::new(subscriber, whole));
                return Ok((vec![Topic::Namespace(namespace.clone())], Accounts::Namespace(account)));
            }
        };
        if services.is_empty() || services.len() > self.limits.services_max {
            let allowed = format!("1 to {} services", self.limits.services_max);
            return Err(Invalid::new("services", format!("{} services", services.len()), allowed).into());
        }
        services.sort_unstable();
        if let Some(twice) = services.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Invalid::new("services", &twice[0].service, "no service twice").into());
        }
        let topics = services.iter().cloned().map(Topic::Service).collect();
        let account = |service| (service, Arc::new(Account::new(subscriber.clone(), Arc::clone(&whole))));
        Ok((topics, Accounts::Services(services.into_iter().map(account).collect())))
    }

    /// Who watches a service now, by itself or with its whole namespace; by name and address.
    pub fn subscribers(&self, service: &ServiceKey) -> Vec<Subscription> {
        let mut all = Vec::new();
        for topic in [Topic::Service(service.clone()), Topic::Namespace(service.namespace.clone())] {
            if let Some(topic) = self.fanout.topic(&topic) {
                topic.each(|note| all.extend(note.as_ref().map(|account| account.subscription())));
            }
        }
        all.sort_by(|a, b| {
            let by = |s: &Subscription| (s.subscriber.name.clone(), s.subscriber.address, s.subscriber.door.clone());
            by(a).cmp(&by(b))
        });
        all
    }

    /// The history and the newest view of `service`, at the same frame.
    pub(super) fn read(
        &self,
        directory: &Directory,
        service: &ServiceKey,
    ) -> (RwLockReadGuard<'_, History>, Arc<View>) {
        let history = self.history();
        let view = directory.view(service).logged();
        (history, view)
    }

    pub(super) fn history(&self) -> RwLockReadGuard<'_, History> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_history(&self) -> RwLockWriteGuard<'_, History> {
        self.history.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fanout(&self) -> &Fanout<Topic, Deltas, Note> {
        &self.fanout
    }

    /// What a watcher says it has that is of no history which leads here: of another life of the log, of another log, or
    /// of an end that this one has lost. To be asked after the watcher follows what it watches.
    ///
    /// The log that is compared with is the one that watchers are told from: who comes back with the newest event may
    /// be ahead of the directory for a moment, but not of this.
    pub(super) fn standing_of(&self, from: Revision) -> Standing {
        let applied = self.history().applied();
        let generation = |revision: Revision| revision.position().generation();
        match from {
            Revision::ZERO => Standing::Behind,
            _ if from > applied && self.company == Company::Among => Standing::Ahead,
            _ if from > applied || generation(from) != generation(applied) => Standing::Foreign { at: applied },
            _ => Standing::Behind,
        }
    }

    /// Whether a watch may find that it has to wait for this node; see [`Company`].
    pub(crate) fn can_be_behind(&self) -> bool {
        self.company == Company::Among
    }

    /// Everything up to here has been told to whom it concerns: see [`Fanout::covered`].
    pub(super) fn covered(&self) -> Revision {
        Revision::from_packed(self.fanout.covered()).unwrap_or_default()
    }

    /// `topic` keeps deltas for its followers; the next sweep clears them.
    pub(super) fn keeps(&self, topic: &Arc<Followed>) {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(topic));
    }
}

/// Where a watcher is that comes back, as seen from this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Behind,
    /// This node has to catch up first.
    Ahead,
    /// What it has is of another history; this one is at `at`.
    Foreign {
        at: Revision,
    },
}

/// A watch in the account of its hub, as long as it lives.
pub(super) struct Counted {
    pub(super) hub: Arc<Hub>,
    followed: usize,
}

impl Counted {
    fn new(hub: &Arc<Hub>, followed: usize) -> Result<Self, Error> {
        // Counted before it is known to fit, and given back by the drop if it does not: two at once can't both slip in.
        let counted = Self { hub: hub.clone(), followed };
        let watchers = hub.watchers.fetch_add(1, Ordering::SeqCst) + 1;
        let all = hub.followed.fetch_add(followed, Ordering::SeqCst) + followed;
        hub.meters.watchers.increment(1);
        let limit = match (watchers > hub.limits.watchers_max, all > hub.limits.followed_max) {
            (true, _) => "the number of watchers",
            (_, true) => "the number of services watched",
            _ => return Ok(counted),
        };
        Err(Error::Overloaded { limit, retry_after: RETRY_AFTER })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.hub.watchers.fetch_sub(1, Ordering::SeqCst);
        self.hub.followed.fetch_sub(self.followed, Ordering::SeqCst);
        self.hub.meters.watchers.decrement(1);
    }
}

/// Wakes on each change of one service.
pub struct Watcher {
    fanout: Arc<Fanout<Topic, Deltas, Note>>,
    slot: Arc<Slot>,
    _held: Held,
}

impl Watcher {
    /// Resolves when the service changed since this was made, or since the last call resolved; now and then also when
    /// it did not. Cancel-safe.
    pub async fn changed(&mut self) {
        let mut marks = Vec::new();
        while marks.is_empty() {
            poll_fn(|cx| self.slot.poll_rung(cx)).await;
            self.fanout.take(&self.slot, &mut marks);
        }
    }
}
