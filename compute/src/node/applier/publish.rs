//! Showing readers and watchers what was applied.

use std::sync::Arc;

use crate::model::{Revision, ServiceKey};
use crate::state::Applied;
use crate::view::View;
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
        for service in self.state.services_with_kept() {
            self.directory.put_kept(&service, self.state.kept_overrides(&service));
        }
        let log = self.state.log();
        self.hub.start(log.watermark);
        self.directory.put_applied(log.watermark, log.time_ms);
        self.directory.put_landed(self.landed);
    }

    /// The views that a frame touched and what watchers are told of them, then the position: a reader who has seen the
    /// position finds views at least as new.
    pub(super) fn publish(&mut self, applied: &Applied) {
        for (namespace, row) in applied.namespaces.iter().filter(|(_, row)| row.is_some()) {
            self.directory.put_namespace(namespace, row.clone());
        }
        for service in &applied.kept {
            self.directory.put_kept(service, self.state.kept_overrides(service));
        }
        let mut publications = Vec::with_capacity(applied.touched.len());
        for (key, records) in &applied.touched {
            publications.push(Publication { view: self.shown(key), records: records.clone() });
        }
        self.hub.publish(&self.directory, &publications, applied.position);
        for (namespace, _) in applied.namespaces.iter().filter(|(_, row)| row.is_none()) {
            self.directory.put_namespace(namespace, None);
        }
        self.directory.put_applied(applied.position, self.state.log().time_ms);
    }

    /// What readers get of a service now.
    pub(super) fn shown(&self, key: &ServiceKey) -> Arc<View> {
        self.shown_from(key, None)
    }

    /// The same, as of `revision`, if it is given, and not as of its last change.
    pub(super) fn shown_from(&self, key: &ServiceKey, revision: Option<Revision>) -> Arc<View> {
        let view = self.state.view(key);
        let view = Arc::new(View { revision: revision.unwrap_or(view.revision), ..view });
        if self.overlay.has_shown(key) { Arc::new(self.overlay.over(&view)) } else { view }
    }

    /// What is provisional in a service has changed.
    pub(super) fn show_overlay(&self, key: &ServiceKey) {
        self.directory.put_view(self.shown(key));
        self.hub.overlaid(key);
    }
}
