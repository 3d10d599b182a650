use std::sync::Arc;

use crate::model::limits::SERVICE_EMPTY_MS_MAX;
use crate::model::{Digest, Instance, InstanceId, Removal, Revision, ServiceKey, ServiceRow, ServiceSettings};
use crate::view::{Counts, Encoded, View};

/// One service and its instances. Both are shared with the views that were published of them, and copied on the first
/// change after that.
#[derive(Clone)]
pub struct Service {
    row: Arc<ServiceRow>,
    /// Sorted by id.
    instances: Arc<Vec<Arc<Instance>>>,
    counts: Counts,
}

impl Service {
    pub(super) fn new(settings: ServiceSettings, implicit: bool, revision: Revision, now_ms: u64) -> Self {
        let row = ServiceRow {
            settings,
            created_at_ms: now_ms,
            revision,
            settings_revision: revision,
            implicit,
            last_removal: None,
            digest: Digest::default(),
        };
        Self::loaded(row)
    }

    pub(super) fn loaded(row: ServiceRow) -> Self {
        Self { row: Arc::new(row), instances: Arc::default(), counts: Counts::default() }
    }

    /// Adds a loaded instance; [`Service::seal`] must follow.
    pub(super) fn load(&mut self, instance: Arc<Instance>) {
        Arc::make_mut(&mut self.instances).push(instance);
    }

    /// Sorts and counts what was loaded; the digest of what is there.
    pub(super) fn seal(&mut self) -> Digest {
        let instances = Arc::make_mut(&mut self.instances);
        instances.shrink_to_fit();
        instances.sort_by(|a, b| a.id.cmp(&b.id));
        self.counts = instances.iter().fold(Counts::default(), |counts, i| counted(counts, i, 1));
        instances.iter().fold(Digest::default(), |sum, i| sum.plus(i.digest()))
    }

    pub fn row(&self) -> &Arc<ServiceRow> {
        &self.row
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn instances(&self) -> &[Arc<Instance>] {
        &self.instances
    }

    pub fn get(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.find(id).ok().and_then(|at| self.instances.get(at))
    }

    fn find(&self, id: &InstanceId) -> Result<usize, usize> {
        self.instances.binary_search_by(|i| i.id.cmp(id))
    }

    /// Adds an instance, or puts it in the place of that with its id.
    pub(super) fn put(&mut self, instance: Arc<Instance>) {
        let mut digest = self.row.digest.plus(instance.digest());
        self.counts = counted(self.counts, &instance, 1);
        let revision = instance.revision;
        match self.find(&instance.id) {
            Ok(at) => {
                let old = std::mem::replace(&mut Arc::make_mut(&mut self.instances)[at], instance);
                digest = digest.minus(old.digest());
                self.counts = counted(self.counts, &old, -1);
            }
            Err(at) => Arc::make_mut(&mut self.instances).insert(at, instance),
        }
        let row = Arc::make_mut(&mut self.row);
        row.digest = digest;
        row.revision = revision;
    }

    pub(super) fn remove(&mut self, id: &InstanceId, removal: Removal) -> Option<Arc<Instance>> {
        let at = self.find(id).ok()?;
        let old = Arc::make_mut(&mut self.instances).remove(at);
        self.counts = counted(self.counts, &old, -1);
        let row = Arc::make_mut(&mut self.row);
        row.digest = row.digest.minus(old.digest());
        row.revision = removal.revision;
        row.last_removal = Some(removal);
        Some(old)
    }

    /// Heartbeats go on where they were counted, for whoever lives on from `old`.
    pub(super) fn share_cells(&mut self, old: &Self) {
        for instance in Arc::make_mut(&mut self.instances) {
            let there = old.get(&instance.id).filter(|there| there.generation == instance.generation);
            if let Some(there) = there {
                Arc::make_mut(instance).cell = there.cell.clone();
            }
        }
    }

    pub(super) fn describe(&mut self, settings: ServiceSettings, revision: Revision) {
        let row = Arc::make_mut(&mut self.row);
        row.settings = settings;
        row.revision = revision;
        row.settings_revision = revision;
        row.implicit = false;
    }

    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// The log time at which nobody will miss it; `None`: somebody described it, or it is in use.
    pub(super) fn collectable_at_ms(&self) -> Option<u64> {
        let since = self.row.last_removal.as_ref().map_or(self.row.created_at_ms, |removal| removal.at_ms);
        (self.row.implicit && self.is_empty()).then(|| since.saturating_add(SERVICE_EMPTY_MS_MAX))
    }

    pub(super) fn view(&self, key: ServiceKey) -> View {
        View {
            service: key,
            row: Some(self.row.clone()),
            revision: self.row.revision,
            digest: self.row.digest,
            instances: self.instances.clone(),
            counts: self.counts,
            protected: false,
            overlay: 0,
            log: None,
            encoded: Encoded::default(),
        }
    }
}

fn counted(counts: Counts, instance: &Instance, by: i32) -> Counts {
    let add = |count: u32, is: bool| if is { count.saturating_add_signed(by) } else { count };
    Counts {
        all: add(counts.all, true),
        healthy: add(counts.healthy, instance.is_healthy()),
        isolated: add(counts.isolated, instance.is_isolated()),
    }
}
