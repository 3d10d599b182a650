//! What the applier has published: for each service its newest view, found without a lock.
//!
//! The applier alone writes, after each frame, in this order: the views, then the position that they show. A reader
//! that has seen the position therefore finds views that are at least as new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::command::KeptOverride;
use crate::keyed::KeyedForAll;
use crate::model::{Namespace, NamespaceRow, Position, Selector, ServiceKey, ServiceName};
use crate::view::View;

mod selected;

use selected::Selected;

/// Names in order, for lists.
#[derive(Default)]
struct Names {
    namespaces: BTreeMap<Namespace, (NamespaceRow, BTreeSet<ServiceName>)>,
}

/// How far this node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here is applied and published.
    pub applied: Position,
    /// The log's time there.
    pub time_ms: u64,
    /// Everything up to here is in the store.
    pub landed: Position,
}

/// [`Progress`], for those who only look.
#[derive(Default)]
struct Reached {
    applied: AtomicU64,
    time_ms: AtomicU64,
    landed: AtomicU64,
}

impl Reached {
    fn load(&self) -> Progress {
        let position = |at: &AtomicU64| Position::from_packed(at.load(Ordering::Acquire)).unwrap_or_default();
        Progress {
            applied: position(&self.applied),
            time_ms: self.time_ms.load(Ordering::Acquire),
            landed: position(&self.landed),
        }
    }
}

pub struct Directory {
    services: KeyedForAll<ServiceKey, Arc<ArcSwap<View>>>,
    names: RwLock<Names>,
    selected: Selected,
    kept: KeyedForAll<ServiceKey, Arc<[KeptOverride]>>,
    reached: Reached,
    progress: watch::Sender<Progress>,
}

/// Bounds of the cache of filtered views.
#[derive(Clone, Copy, Debug)]
pub struct SelectedLimits {
    pub entries_max: u64,
    pub bytes_max: u64,
}

impl Default for SelectedLimits {
    fn default() -> Self {
        Self { entries_max: 100_000, bytes_max: 64 << 20 }
    }
}

impl Directory {
    pub fn new(limits: SelectedLimits) -> Self {
        Self {
            services: KeyedForAll::default(),
            names: RwLock::default(),
            selected: Selected::new(limits),
            kept: KeyedForAll::default(),
            reached: Reached::default(),
            progress: watch::Sender::new(Progress::default()),
        }
    }

    /// The newest view of a service; that of an unknown one does not exist and is empty.
    pub fn view(&self, service: &ServiceKey) -> Arc<View> {
        let found = self.services.pin().get(service).map(|slot| slot.load_full());
        found.unwrap_or_else(|| Arc::new(View::unknown(service.clone())))
    }

    /// The newest view of what `selector` takes, shared by all who ask for the same at the same revision.
    pub fn selected(&self, service: &ServiceKey, selector: &Selector) -> Arc<View> {
        self.selected_of(&self.view(service), selector)
    }

    /// What `selector` takes of a view of a whole service, shared in the same way.
    pub(crate) fn selected_of(&self, view: &Arc<View>, selector: &Selector) -> Arc<View> {
        if selector.is_everything() { view.clone() } else { self.selected.get(view, selector) }
    }

    /// For those who wait for it.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// As of now, without a lock. Each part by itself: none goes back.
    pub fn reached(&self) -> Progress {
        self.reached.load()
    }

    /// What operators said of instances of the service that are gone, by id; without a lock.
    pub fn kept_overrides(&self, service: &ServiceKey) -> Arc<[KeptOverride]> {
        self.kept.pin().get(service).cloned().unwrap_or_default()
    }

    pub fn namespace(&self, namespace: &Namespace) -> Option<NamespaceRow> {
        self.read_names().namespaces.get(namespace).map(|(row, _)| row.clone())
    }

    /// At most `limit` namespaces behind `after`, in order.
    pub fn namespaces(&self, after: Option<&Namespace>, limit: usize) -> Vec<(Namespace, NamespaceRow)> {
        let names = self.read_names();
        let behind = |name: &Namespace| after.is_none_or(|after| name > after);
        let all = names.namespaces.iter().filter(|(name, _)| behind(name));
        all.take(limit).map(|(name, (row, _))| (name.clone(), row.clone())).collect()
    }

    /// At most `limit` names of services behind `after`, in order, that start with `prefix`; `None`: no such namespace.
    pub fn services(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Option<Vec<ServiceName>> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let names = self.read_names();
        let (_, services) = names.namespaces.get(namespace)?;
        let start = match after {
            Some(after) if after >= prefix => Excluded(after),
            _ => Included(prefix),
        };
        let from = services.range::<str, _>((start, Unbounded));
        Some(from.take_while(|name| name.as_str().starts_with(prefix)).take(limit).cloned().collect())
    }

    /// Makes `view` the newest of its service; one that does not exist any more is taken out. Returns the one before.
    pub(crate) fn put_view(&self, view: Arc<View>) -> Arc<View> {
        let key = view.service.clone();
        let services = self.services.pin();
        match services.get(&key) {
            Some(slot) if !view.exists() => {
                let before = slot.load_full();
                services.remove(&key);
                self.name_service(&key, false);
                before
            }
            Some(slot) => slot.swap(view),
            None => {
                if view.exists() {
                    services.insert(key.clone(), Arc::new(ArcSwap::new(view)));
                    self.name_service(&key, true);
                }
                Arc::new(View::unknown(key))
            }
        }
    }

    pub(crate) fn put_namespace(&self, namespace: &Namespace, row: Option<NamespaceRow>) {
        let mut names = self.write_names();
        match row {
            Some(row) => {
                let services = names.namespaces.remove(namespace).map(|(_, services)| services).unwrap_or_default();
                names.namespaces.insert(namespace.clone(), (row, services));
            }
            None => drop(names.namespaces.remove(namespace)),
        }
    }

    /// Shows its figures to Prometheus.
    pub(crate) fn gauge(&self) {
        self.selected.gauge();
    }

    pub(crate) fn put_kept(&self, service: &ServiceKey, kept: Vec<KeptOverride>) {
        let services = self.kept.pin();
        if kept.is_empty() {
            services.remove(service);
        } else {
            services.insert(service.clone(), kept.into());
        }
    }

    pub(crate) fn put_applied(&self, applied: Position, time_ms: u64) {
        self.reached.applied.store(applied.packed(), Ordering::Release);
        self.reached.time_ms.store(time_ms, Ordering::Release);
        self.progress.send_modify(|progress| {
            progress.applied = applied;
            progress.time_ms = time_ms;
        });
    }

    pub(crate) fn put_landed(&self, landed: Position) {
        self.reached.landed.store(landed.packed(), Ordering::Release);
        self.progress.send_modify(|progress| progress.landed = landed);
    }

    fn name_service(&self, key: &ServiceKey, is_there: bool) {
        let mut names = self.write_names();
        let Some((_, services)) = names.namespaces.get_mut(&key.namespace) else { return };
        if is_there {
            services.insert(key.service.clone());
        } else {
            services.remove(&key.service);
        }
    }

    fn read_names(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_names(&self) -> RwLockWriteGuard<'_, Names> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
