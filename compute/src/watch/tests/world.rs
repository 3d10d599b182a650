//! A registry as small as it can be: what an applier publishes, and everything that was ever true, to judge by.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::task::noop_waker;

use crate::directory::{Directory, SelectedLimits};
use crate::model::{
    Author, Digest, Health, HealthReason, Instance, InstanceId, LeaseCell, LogGeneration, Metadata, Namespace,
    NamespaceRow, NamespaceSettings, Position, Provider, ProviderSpec, Removal, RemovalReason, Revision, Selector,
    ServiceKey, ServiceRow, ServiceSettings,
};
use crate::testing::ManualClock;
use crate::view::{Counts, Encoded, View};
use crate::watch::{
    Company, HistoryLimits, Hub, Publication, Record, Recorded, Scope, Subscriber, Watch, WatchEvent, WatchLimits,
    WatchSpec,
};

pub(super) const NAMESPACE: &str = "default";

pub(super) fn key(service: &str) -> ServiceKey {
    ServiceKey::new(NAMESPACE, service).expect("a good name")
}

pub(super) fn namespace() -> Namespace {
    Namespace::new(NAMESPACE).expect("a good name")
}

pub(super) fn subscriber(name: &str) -> Subscriber {
    Subscriber { name: name.into(), address: None, door: "test".into() }
}

pub(super) fn healthy() -> Selector {
    Selector { healthy: Some(true), ..Selector::default() }
}

pub(super) fn zone(zone: &str) -> Selector {
    Selector { zone: Some(zone.into()), ..Selector::default() }
}

/// One service, as its applier has it.
#[derive(Clone)]
struct Service {
    settings: ServiceSettings,
    settings_revision: Revision,
    revision: Revision,
    last_removal: Option<Removal>,
    instances: BTreeMap<InstanceId, Arc<Instance>>,
}

/// Every state that a service ever had, by the revision at which it began. Shared with those who judge.
#[derive(Default)]
pub(super) struct Truth {
    states: BTreeMap<ServiceKey, BTreeMap<Revision, Arc<View>>>,
}

impl Truth {
    /// The state of a service when everything up to `at` is applied.
    pub(super) fn at(&self, service: &ServiceKey, at: Revision) -> Arc<View> {
        let state = self.states.get(service).and_then(|states| states.range(..=at).next_back());
        state.map_or_else(|| Arc::new(View::unknown(service.clone())), |(_, view)| view.clone())
    }

    /// The first state behind `at` that is none: when the service was deleted.
    pub(super) fn deleted_after(&self, service: &ServiceKey, at: Revision) -> Option<Revision> {
        let behind = (std::ops::Bound::Excluded(at), std::ops::Bound::Unbounded);
        let mut states = self.states.get(service)?.range(behind);
        states.find(|(_, view)| view.row.is_none()).map(|(at, _)| *at)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.states.keys()
    }
}

pub(super) struct World {
    pub(super) hub: Arc<Hub>,
    pub(super) directory: Arc<Directory>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) truth: Arc<std::sync::Mutex<Truth>>,
    services: BTreeMap<ServiceKey, Service>,
    company: Company,
    generation: LogGeneration,
    offset: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(HistoryLimits::default())
    }

    pub(super) fn with(history: HistoryLimits) -> Self {
        Self::begin(Company::Among, history, 1, 100)
    }

    /// A node that has nobody beside it, with a log of this generation that ends at `offset`.
    pub(super) fn alone(generation: LogGeneration, offset: u64) -> Self {
        Self::begin(Company::Alone, HistoryLimits::default(), generation, offset)
    }

    fn begin(company: Company, history: HistoryLimits, generation: LogGeneration, offset: u64) -> Self {
        let directory = Arc::new(Directory::new(SelectedLimits::default()));
        let row = NamespaceRow {
            settings: NamespaceSettings { description: "".into(), metadata: Metadata::default() },
            created_at_ms: 0,
            revision: Revision::ZERO,
        };
        directory.put_namespace(&namespace(), Some(row));
        let hub = Hub::with(company, WatchLimits::default(), history);
        let mut world = Self {
            hub,
            directory,
            clock: ManualClock::new(),
            truth: Arc::default(),
            services: BTreeMap::new(),
            company,
            generation,
            offset,
        };
        world.hub.start(world.position());
        world.directory.put_applied(world.position(), 0);
        world.offset += 1;
        world
    }

    /// The same registry after a restart: it knows its state, and nothing of how it came to it.
    pub(super) fn restart(&mut self) {
        let views: Vec<_> = self.services.iter().map(|(key, service)| service.view(key)).collect();
        let directory = Arc::new(Directory::new(SelectedLimits::default()));
        let row = self.directory.namespace(&namespace());
        directory.put_namespace(&namespace(), row);
        views.into_iter().for_each(|view| drop(directory.put_view(view)));
        self.hub = Hub::new(self.company);
        self.directory = directory;
        let before = self.position().back(1);
        self.hub.start(before);
        self.directory.put_applied(before, 0);
    }

    /// The position of the next frame.
    pub(super) fn position(&self) -> Position {
        Position::new(self.generation, self.offset).expect("a small offset")
    }

    /// What the node has applied.
    pub(super) fn applied(&self) -> Revision {
        self.directory.progress().borrow().applied.last()
    }

    /// Applies and publishes one frame, and wakes nobody.
    pub(super) fn frame(&mut self, acts: impl FnOnce(&mut Frame<'_>)) -> Revision {
        let position = self.position();
        let mut frame = Frame { world: self, place: 0, touched: BTreeMap::new() };
        acts(&mut frame);
        let touched = std::mem::take(&mut frame.touched);
        let mut publications = Vec::new();
        for (key, records) in touched {
            let view = match self.services.get(&key) {
                Some(service) => service.view(&key),
                None => Arc::new(View::unknown(key.clone())),
            };
            if let Some(last) = records.last() {
                let mut truth = self.truth.lock().expect("nobody panicked");
                truth.states.entry(key).or_default().insert(last.revision, view.clone());
            }
            publications.push(Publication { view, records });
        }
        self.hub.publish(&self.directory, &publications, position);
        self.directory.put_applied(position, 0);
        self.offset += 1;
        position.last()
    }

    /// One round of wake-ups.
    pub(super) fn wake(&self) {
        finish(self.hub.fanout().round());
    }

    pub(super) fn watch(&self, scope: Scope, selector: Selector, from: Option<Revision>) -> Watch {
        let spec = WatchSpec { scope, selector, from, subscriber: subscriber("somebody") };
        self.hub.watch(self.directory.clone(), self.clock.clone(), spec).expect("within limits")
    }

    pub(super) fn watch_one(&self, service: &str, from: Option<Revision>) -> Watch {
        self.watch(Scope::Services(vec![key(service)]), Selector::default(), from)
    }
}

impl Service {
    fn view(&self, key: &ServiceKey) -> Arc<View> {
        let all: Vec<_> = self.instances.values().cloned().collect();
        let count = |is: fn(&Instance) -> bool| all.iter().filter(|i| is(i)).count() as u32;
        let counts = Counts {
            all: all.len() as u32,
            healthy: count(Instance::is_healthy),
            isolated: count(Instance::is_isolated),
        };
        let digest = all.iter().fold(Digest::default(), |sum, i| sum.plus(i.digest()));
        let row = ServiceRow {
            settings: self.settings.clone(),
            created_at_ms: 0,
            revision: self.revision,
            settings_revision: self.settings_revision,
            implicit: false,
            last_removal: self.last_removal.clone(),
            digest,
        };
        Arc::new(View {
            service: key.clone(),
            row: Some(Arc::new(row)),
            revision: self.revision,
            digest,
            instances: Arc::new(all),
            counts,
            protected: false,
            overlay: 0,
            log: None,
            encoded: Encoded::default(),
        })
    }
}

/// A frame being made.
pub(super) struct Frame<'a> {
    world: &'a mut World,
    place: u16,
    touched: BTreeMap<ServiceKey, Vec<Record>>,
}

impl Frame<'_> {
    fn revision(&mut self) -> Revision {
        let revision = self.world.position().at(self.place);
        self.place += 1;
        revision
    }

    fn record(&mut self, key: &ServiceKey, revision: Revision, what: Recorded) {
        self.touched.entry(key.clone()).or_default().push(Record { revision, what });
    }

    fn service(&mut self, key: &ServiceKey, revision: Revision) -> &mut Service {
        self.world.services.entry(key.clone()).or_insert_with(|| Service {
            settings: ServiceSettings::default(),
            settings_revision: revision,
            revision,
            last_removal: None,
            instances: BTreeMap::new(),
        })
    }

    pub(super) fn put(&mut self, service: &str, id: &str, zone: &str, is_healthy: bool) {
        let (key, revision) = (key(service), self.revision());
        let spec = ProviderSpec { zone: zone.to_owned(), ..ProviderSpec::at("10.0.0.1", 80) };
        let id = InstanceId::new(id).expect("a good id");
        let service = self.service(&key, revision);
        let reason = (!is_healthy).then_some(HealthReason::LeaseLapsed);
        let instance = Arc::new(Instance {
            id: id.clone(),
            provider: Provider::new(&spec).expect("a good provider"),
            health: Health { reason, since_ms: 0 },
            operator: None,
            registered_at_ms: 0,
            generation: service.instances.get(&id).map_or(revision, |old| old.generation),
            revision,
            cell: Arc::new(LeaseCell::default()),
        });
        service.instances.insert(id, instance.clone());
        service.revision = revision;
        self.record(&key, revision, Recorded::Put(instance));
    }

    pub(super) fn remove(&mut self, service: &str, id: &str) {
        let key = key(service);
        let id = InstanceId::new(id).expect("a good id");
        let is_there = |service: &Service| service.instances.contains_key(&id);
        if !self.world.services.get(&key).is_some_and(is_there) {
            return;
        }
        let revision = self.revision();
        let author = Author::new("somebody", "test");
        let removal = Removal { at_ms: 0, reason: RemovalReason::Deregistered, author, revision };
        let service = self.service(&key, revision);
        service.instances.remove(&id);
        service.revision = revision;
        service.last_removal = Some(removal.clone());
        self.record(&key, revision, Recorded::Removed(id, removal));
    }

    /// Makes a service, or sets its threshold.
    pub(super) fn describe(&mut self, service: &str, protect_threshold: f64) {
        let (key, revision) = (key(service), self.revision());
        let service = self.service(&key, revision);
        service.settings.protect_threshold = protect_threshold;
        service.settings_revision = revision;
        service.revision = revision;
        self.record(&key, revision, Recorded::Service);
    }

    /// Only when it is empty.
    pub(super) fn delete(&mut self, service: &str) {
        let key = key(service);
        if self.world.services.get(&key).is_some_and(|service| service.instances.is_empty()) {
            let revision = self.revision();
            self.world.services.remove(&key);
            self.record(&key, revision, Recorded::Service);
        }
    }
}

/// The next event, if there is one now. Every poll is a future of its own that is dropped when it is not ready.
pub(super) fn next(watch: &mut Watch) -> Option<WatchEvent> {
    (0..64).find_map(|_| watch.next().now_or_never()).flatten()
}

/// Runs what only yields and never waits.
pub(super) fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = noop_waker();
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
            return done;
        }
    }
}
