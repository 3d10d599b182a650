//! Deltas made for one follower of a topic and wanted by the others: made once, encoded once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Delta;
use crate::model::{Revision, Selector};

/// Most deltas kept of one topic; the oldest goes first.
const KEPT_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Deltas(Mutex<Vec<Made>>);

struct Made {
    from: Revision,
    to: Revision,
    selector: Arc<Selector>,
    /// `None`: nothing of it is visible.
    delta: Option<Arc<Delta>>,
    /// How many followers may still want it.
    wanted: usize,
}

/// The end of a delta, and the delta unless nothing of it is visible.
pub(super) type End = (Revision, Option<Arc<Delta>>);

impl Deltas {
    pub(super) fn find(&self, from: Revision, to: Revision, selector: &Arc<Selector>) -> Option<End> {
        let mut all = self.lock();
        let is = |made: &Made| {
            let same = Arc::ptr_eq(&made.selector, selector) || made.selector == *selector;
            made.from == from && made.to == to && same
        };
        let at = all.iter().position(is)?;
        let made = &mut all[at];
        made.wanted = made.wanted.saturating_sub(1);
        if made.wanted == 0 {
            return Some((to, all.swap_remove(at).delta));
        }
        Some((to, made.delta.clone()))
    }

    /// Keeps a delta for the other `followers`. True when it is the first one kept.
    pub(super) fn keep(&self, from: Revision, end: &End, selector: &Arc<Selector>, followers: usize) -> bool {
        if followers < 2 {
            return false;
        }
        let mut all = self.lock();
        let was_empty = all.is_empty();
        if all.len() >= KEPT_MAX {
            all.remove(0);
        }
        let (to, delta) = end.clone();
        all.push(Made { from, to, selector: selector.clone(), delta, wanted: followers - 1 });
        was_empty
    }

    pub(super) fn clear(&self) {
        *self.lock() = Vec::new();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
