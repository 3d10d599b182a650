//! What the doors answer while the change log is away at the start, where the operator wants stale reads (`serve_stale`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use compute::Registry;
use compute::node::Stale;
use compute::port::{Chance, Clock, PresenceStore};

pub(crate) struct Meanwhile<'a> {
    pub(crate) node: &'a compute::node::Config,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) chance: &'a Arc<dyn Chance>,
    /// Opens the doors onto it.
    pub(crate) open: &'a (dyn Fn(Registry) + Send + Sync),
    pub(crate) is_open: AtomicBool,
}

impl Meanwhile<'_> {
    /// Shows what has landed, if that can be read and is not shown yet.
    pub(crate) async fn log_is_away(&self, store: Arc<dyn PresenceStore>, snapshot: Option<Arc<dyn PresenceStore>>) {
        if self.is_open.load(Ordering::Relaxed) {
            return;
        }
        let stale = Stale { store, snapshot, clock: Arc::clone(self.clock), chance: Arc::clone(self.chance) };
        match stale.serve(self.node).await {
            Ok(registry) => {
                (self.open)(registry);
                self.is_open.store(true, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "no stale reads can be answered"),
        }
    }
}
