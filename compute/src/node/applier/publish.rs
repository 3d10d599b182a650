//! Showing readers and watchers what was applied.

use std::sync::Arc;

use crate::directory::Directory;
use crate::model::{Position, Revision, ServiceKey};
use crate::state::Applied;
use crate::state::State;
use crate::view::View;
use crate::watch::{Hub, Publication};

use super::Applier;

/// Everything, at once, before anybody reads; up to `landed` it is in the store.
pub(in crate::node) fn publish_state(state: &State, directory: &Directory, hub: &Hub, landed: Position) {
    for (namespace, row) in state.namespaces() {
        directory.put_namespace(namespace, Some(row.clone()));
    }
    for (key, _) in state.services() {
        directory.put_view(Arc::new(state.view(key)));
    }
    for service in state.services_with_kept() {
        directory.put_kept(&service, state.kept_overrides(&service));
    }
    let log = state.log();
    hub.start(log.watermark);
    directory.put_applied(log.watermark, log.time_ms);
    directory.put_landed(landed);
}

impl Applier {
    /// The views that a frame touched and what watchers are told of them, then the position: a reader who has seen the
    /// position finds views at least as new.
    pub(super) fn publish(&mut self, applied: &Applied) {
        for (namespace, row) in applied.namespaces.iter().filter(|(_, row)| row.is_some()) {
            self.directory.put_namespace(namespace, row.clone());
        }
        self.metrics.unkept(applied.unkept);
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
