//! Showing readers and watchers what was applied.

use std::sync::Arc;

use crate::model::ServiceKey;
use crate::state::Applied;
use crate::watch::Publication;

use super::Applier;

impl Applier {
    /// At boot: everything, at once.
    pub(super) fn publish_all(&mut self) {
        for (namespace, row) in self.state.namespaces() {
            self.directory.put_namespace(namespace, Some(row.clone()));
        }
        for (key, _) in self.state.services() {
            self.directory.put_view(Arc::new(self.state.view(key)));
        }
        let log = self.state.log();
        self.hub.start(log.watermark);
        self.directory.put_applied(log.watermark, log.time_ms);
        self.directory.put_landed(self.landed);
    }

    /// The views that a frame touched, then the watchers, then the position: a reader who has seen the position finds
    /// views at least as new.
    pub(super) fn publish(&mut self, applied: &Applied) {
        for (namespace, row) in applied.namespaces.iter().filter(|(_, row)| row.is_some()) {
            self.directory.put_namespace(namespace, row.clone());
        }
        let mut publications = Vec::with_capacity(applied.touched.len());
        for (key, records) in &applied.touched {
            let view = Arc::new(self.state.view(key));
            self.put_view(view.clone());
            publications.push(Publication { view, records: records.clone() });
        }
        for (namespace, _) in applied.namespaces.iter().filter(|(_, row)| row.is_none()) {
            self.directory.put_namespace(namespace, None);
        }
        self.hub.publish(&publications, applied.position);
        self.directory.put_applied(applied.position, self.state.log().time_ms);
    }

    fn put_view(&self, view: Arc<crate::view::View>) {
        if self.overlay.has_shown(&view.service) {
            self.directory.put_view(Arc::new(self.overlay.over(&view)));
        } else {
            self.directory.put_view(view);
        }
    }

    /// What is provisional in a service has changed.
    pub(super) fn show_overlay(&self, key: &ServiceKey) {
        self.put_view(Arc::new(self.state.view(key)));
    }
}
