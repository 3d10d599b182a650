use std::sync::Arc;

use moka::sync::Cache;

use super::SelectedLimits;
use crate::model::{Revision, Selector, ServiceKey};
use crate::view::View;

/// Filtered views, by what they are of. A view of another revision is another entry, so nothing is ever stale; an
/// unknown service is an entry too, so that asking for it again costs no more than a hit.
pub(super) struct Selected {
    cache: Cache<(ServiceKey, Revision, Selector), Arc<View>>,
    entry_bytes_max: u64,
}

/// What an instance costs when a view of it gets encoded, about; for the cache's account in bytes.
const INSTANCE_BYTES: usize = 320;
const VIEW_BYTES: usize = 512;

impl Selected {
    pub(super) fn new(limits: SelectedLimits) -> Self {
        let weigh = |_: &(ServiceKey, Revision, Selector), view: &Arc<View>| weight(view);
        // moka bounds one measure; an entry weighs at least its share of the bytes, so that both bounds hold.
        let entry_bytes_min = (limits.bytes_max / limits.entries_max.max(1)).min(u64::from(u32::MAX)) as u32;
        let cache = Cache::builder()
            .max_capacity(limits.bytes_max)
            .weigher(move |key, view| weigh(key, view).max(entry_bytes_min))
            .build();
        Self { cache, entry_bytes_max: limits.bytes_max / 8 }
    }

    pub(super) fn get(&self, view: &Arc<View>, selector: &Selector) -> Arc<View> {
        // An overlay changes the view without a revision, and a huge selection would push out everything else.
        if view.overlay > 0 || u64::from(weight(view)) > self.entry_bytes_max {
            return Arc::new(view.select(selector));
        }
        let key = (view.service.clone(), view.revision, selector.clone());
        self.cache.get_with(key, || Arc::new(view.select(selector)))
    }
}

fn weight(view: &View) -> u32 {
    (VIEW_BYTES + view.instances.len() * INSTANCE_BYTES).min(u32::MAX as usize) as u32
}
