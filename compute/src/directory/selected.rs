use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, counter, gauge};
use moka::sync::Cache;

use super::SelectedLimits;
use crate::model::{Instance, Revision, Selector, ServiceKey};
use crate::view::View;

/// What a filtered view is of.
type Key = (ServiceKey, Revision, Selector);

/// Filtered views, by what they are of. A view of another revision is another entry, so nothing is ever stale; an
/// unknown service is an entry too, so that asking for it again costs no more than a hit.
pub(super) struct Selected {
    cache: Cache<Key, Arc<View>>,
    entry_bytes_max: u64,
    hits: AtomicU64,
    misses: AtomicU64,
    metrics: Metrics,
}

/// Encodings that doors make of a view: see [`Format`](crate::view::Format).
const ENCODINGS: usize = 2;
/// What an encoding of a view has beside its instances, about.
const ENCODED_VIEW_BYTES: usize = 256;
/// What an encoding of an instance has beside what is on its heap (names of fields, numbers, times), about.
const ENCODED_INSTANCE_BYTES: usize = 384;
/// What the cache itself keeps for an entry, about.
const ENTRY_BYTES: usize = 256;

struct Metrics {
    entries: Gauge,
    bytes: Gauge,
    hits: Counter,
    misses: Counter,
}

impl Selected {
    pub(super) fn new(limits: SelectedLimits) -> Self {
        // moka bounds one measure; an entry weighs at least its share of the bytes, so that both bounds hold.
        let entry_bytes_min = limits.bytes_max.div_ceil(limits.entries_max.max(1)).min(u64::from(u32::MAX)) as u32;
        let cache = Cache::builder()
            .max_capacity(limits.bytes_max)
            .weigher(move |key, view: &Arc<View>| weight(key, view).max(entry_bytes_min))
            .build();
        gauge!("thuban_limit", "limit" => "selected views").set(limits.entries_max as f64);
        gauge!("thuban_limit", "limit" => "bytes of selected views").set(limits.bytes_max as f64);
        let metrics = Metrics {
            entries: gauge!("thuban_selected_entries"),
            bytes: gauge!("thuban_selected_bytes"),
            hits: counter!("thuban_selected_hits_total"),
            misses: counter!("thuban_selected_misses_total"),
        };
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { cache, entry_bytes_max: limits.bytes_max / 8, hits, misses, metrics }
    }

    pub(super) fn get(&self, view: &Arc<View>, selector: &Selector) -> Arc<View> {
        // An overlay changes the view without a revision.
        if view.overlay > 0 {
            return Arc::new(view.select(selector));
        }
        let key = (view.service.clone(), view.revision, selector.clone());
        if let Some(found) = self.cache.get(&key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return found;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        // A huge selection would push out everything else.
        let mut huge = None;
        let kept = self.cache.optionally_get_with_by_ref(&key, || {
            let selected = Arc::new(view.select(selector));
            if u64::from(weight(&key, &selected)) <= self.entry_bytes_max {
                return Some(selected);
            }
            huge = Some(selected);
            None
        });
        kept.or(huge).unwrap_or_else(|| Arc::new(view.select(selector)))
    }

    /// Shows its figures.
    pub(super) fn gauge(&self) {
        self.metrics.entries.set(self.cache.entry_count() as f64);
        self.metrics.bytes.set(self.cache.weighted_size() as f64);
        self.metrics.hits.absolute(self.hits.load(Ordering::Relaxed));
        self.metrics.misses.absolute(self.misses.load(Ordering::Relaxed));
    }
}

/// What an entry costs once each encoding of it was made: its instances may by then be those of nobody else.
fn weight((service, _, selector): &Key, view: &View) -> u32 {
    let words = selector.metadata.iter().map(|(key, value)| key.len() + value.len() + 2 * size_of::<Box<str>>());
    let labels = [&selector.zone, &selector.version].into_iter().flatten().map(|label| label.len());
    let key = size_of::<Key>() + service.namespace.as_str().len() + service.service.as_str().len();
    let fixed = ENTRY_BYTES + key + words.chain(labels).sum::<usize>() + size_of::<View>();
    let each = |instance: &Arc<Instance>| {
        let heap = instance.id.as_str().len() + instance.provider.heap_bytes() + said(instance);
        let shared = size_of::<Instance>() + size_of::<Arc<Instance>>() + heap;
        shared + ENCODINGS * (ENCODED_INSTANCE_BYTES + heap)
    };
    let bytes = fixed + ENCODINGS * ENCODED_VIEW_BYTES + view.instances.iter().map(each).sum::<usize>();
    bytes.min(u32::MAX as usize) as u32
}

/// What an operator has said of an instance.
fn said(instance: &Instance) -> usize {
    let operator = instance.operator.as_deref();
    operator.map_or(0, |said| size_of_val(said) + said.note.as_ref().map_or(0, |note| note.len()))
}

#[cfg(test)]
mod tests;
