//! What a watcher is told of a span of history: the difference of two states, as its selection shows them.

use std::sync::Arc;

use super::history::{Change, Span, Unit};
use super::{Delta, Removed};
use crate::directory::Directory;
use crate::model::{Digest, Instance, InstanceId, Removal, Revision, Selector, ServiceRow};
use crate::view::{Counts, Encoded, View};

/// The change from the state that the watcher has, which it was told as `from`; `None`: nothing of it is visible in
/// the selection.
pub(super) fn delta(span: &Span, from: Revision, selector: &Selector, directory: &Directory) -> Option<Delta> {
    let last = span.within.last()?;
    let row = row_at(span, last);
    let is_described = is_described(&span.within);
    let changed = if depends_on_counts(span, selector) {
        by_states(span, selector, directory)
    } else {
        by_changes(span, last, selector, directory)
    };
    if !is_described && changed.put.is_empty() && changed.removed.is_empty() && !changed.is_protection_new {
        return None;
    }
    Some(Delta {
        service: span.view.service.clone(),
        from,
        to: last.to,
        digest: changed.digest,
        row,
        protected: changed.protected,
        put: changed.put,
        removed: changed.removed,
        encoded: Encoded::default(),
    })
}

/// Whether the service itself is another than before: it came, it went, or its settings changed.
fn is_described(units: &[Unit]) -> bool {
    let mut rows = units.iter().filter_map(|unit| unit.row.as_ref());
    let Some(first) = rows.next() else { return false };
    let last = rows.next_back().unwrap_or(first);
    let settings = |row: &Option<Arc<ServiceRow>>| row.as_ref().map(|row| row.settings_revision);
    settings(&first.old) != settings(&last.new)
}

struct Changed {
    put: Vec<Arc<Instance>>,
    removed: Vec<Removed>,
    digest: Digest,
    protected: bool,
    is_protection_new: bool,
}

/// What happened to one instance over several units: what it was before the first and after the last.
struct Touched<'a> {
    id: &'a InstanceId,
    old: Option<&'a Arc<Instance>>,
    new: Option<&'a Arc<Instance>>,
    removal: Option<&'a Removal>,
}

/// By id, each once.
fn touched(units: &[Unit]) -> Vec<Touched<'_>> {
    let mut all: Vec<Touched<'_>> = units.iter().flat_map(|unit| unit.changes.iter()).filter_map(Touched::of).collect();
    if units.len() > 1 {
        // Stable: those of one id stay in their order.
        all.sort_by_key(|touched| touched.id);
        all.dedup_by(|later, first| {
            let is_same = later.id == first.id;
            if is_same {
                first.new = later.new;
                first.removal = later.removal.or(first.removal);
            }
            is_same
        });
    }
    all
}

impl<'a> Touched<'a> {
    fn of(change: &'a Change) -> Option<Self> {
        Some(Self {
            id: change.id()?,
            old: change.old.as_ref(),
            new: change.new.as_ref(),
            removal: change.removal.as_deref(),
        })
    }

    fn gone(&self) -> Removed {
        let removal = if self.new.is_none() { self.removal.cloned() } else { None };
        Removed { id: self.id.clone(), removal }
    }
}

/// Whether the selection may show an instance in one state and not in the other although the instance is the same.
fn depends_on_counts(span: &Span, selector: &Selector) -> bool {
    let protects = |row: &Option<Arc<ServiceRow>>| row.as_ref().is_some_and(|r| r.settings.protect_threshold > 0.0);
    let ever = |unit: &Unit| unit.row.as_ref().is_some_and(|row| protects(&row.old) || protects(&row.new));
    selector.asks_for_healthy() && (protects(&span.view.row) || span.within.iter().chain(&span.after).any(ever))
}

fn by_changes(span: &Span, last: &Unit, selector: &Selector, directory: &Directory) -> Changed {
    let shown = |instance: Option<&'_ Arc<Instance>>| instance.filter(|i| selector.matches(i)).cloned();
    let (mut put, mut removed) = (Vec::new(), Vec::new());
    for touched in touched(&span.within) {
        match (shown(touched.old), shown(touched.new)) {
            (Some(old), Some(new)) if old.revision == new.revision => {}
            (_, Some(new)) => put.push(new),
            (Some(_), None) => removed.push(touched.gone()),
            (None, None) => {}
        }
    }
    let digest = if selector.is_everything() {
        last.digest
    } else {
        let newest = directory.selected_of(&span.view, selector).digest;
        touched(&span.after).iter().fold(newest, |digest, touched| {
            let digest = shown(touched.new).map_or(digest, |new| digest.minus(new.digest()));
            shown(touched.old).map_or(digest, |old| digest.plus(old.digest()))
        })
    };
    Changed { put, removed, digest, protected: false, is_protection_new: false }
}

fn by_states(span: &Span, selector: &Selector, directory: &Directory) -> Changed {
    let all: Vec<Unit> = span.within.iter().chain(&span.after).cloned().collect();
    let old = state_before(&span.view, &all).select(selector);
    let new = if span.after.is_empty() {
        directory.selected_of(&span.view, selector)
    } else {
        Arc::new(state_before(&span.view, &span.after).select(selector))
    };
    let touched = touched(&span.within);
    let put = new.instances.iter().filter(|i| old.get(&i.id).is_none_or(|old| old.revision != i.revision));
    let left = old.instances.iter().filter(|i| new.get(&i.id).is_none());
    let gone = |instance: &Arc<Instance>| match touched.binary_search_by_key(&&instance.id, |touched| touched.id) {
        Ok(at) => touched[at].gone(),
        Err(_) => Removed { id: instance.id.clone(), removal: None },
    };
    Changed {
        put: put.cloned().collect(),
        removed: left.map(gone).collect(),
        digest: new.digest,
        protected: new.protected,
        is_protection_new: new.protected != old.protected,
    }
}

/// The state of a service before `units`, which lead to `newest`.
fn state_before(newest: &View, units: &[Unit]) -> View {
    let row = match units.iter().find_map(|unit| unit.row.as_ref()) {
        Some(change) => change.old.clone(),
        None => newest.row.clone(),
    };
    let touched = touched(units);
    let mut instances = Vec::with_capacity(newest.instances.len() + touched.len());
    let mut undone = touched.iter().peekable();
    for instance in newest.instances.iter() {
        while let Some(gone) = undone.next_if(|touched| *touched.id < instance.id) {
            instances.extend(gone.old.cloned());
        }
        match undone.next_if(|touched| *touched.id == instance.id) {
            Some(changed) => instances.extend(changed.old.cloned()),
            None => instances.push(instance.clone()),
        }
    }
    instances.extend(undone.filter_map(|gone| gone.old.cloned()));
    let count = |is: fn(&Instance) -> bool| instances.iter().filter(|i| is(i)).count() as u32;
    let counts = Counts {
        all: instances.len() as u32,
        healthy: count(Instance::is_healthy),
        isolated: count(Instance::is_isolated),
    };
    View { row, instances: Arc::new(instances), counts, ..View::unknown(newest.service.clone()) }
}

/// The service's row after `last`.
fn row_at(span: &Span, last: &Unit) -> Option<Arc<ServiceRow>> {
    if span.is_newest {
        return span.view.row.clone();
    }
    let later = match span.after.iter().find_map(|unit| unit.row.as_ref()) {
        Some(change) => change.old.as_ref(),
        None => span.view.row.as_ref(),
    }?;
    let removals =
        span.within.iter().flat_map(|unit| unit.changes.iter()).filter_map(|change| change.removal.as_deref());
    let newest = later.last_removal.iter().filter(|removal| removal.revision <= last.to).chain(removals);
    let last_removal = newest.max_by_key(|removal| removal.revision).cloned();
    Some(Arc::new(ServiceRow { revision: last.to, digest: last.digest, last_removal, ..(**later).clone() }))
}
