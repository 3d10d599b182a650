//! What a watch of any kind works with, and what a step of it comes to.

use std::sync::Arc;

use super::WatchEvent;
use super::deltas::End;
use super::hub::{Followed, Hub};
use crate::directory::Directory;
use crate::model::{Revision, Selector};

pub(super) struct Scene<'a> {
    pub(super) hub: &'a Hub,
    pub(super) directory: &'a Directory,
    pub(super) selector: &'a Arc<Selector>,
    /// What the watcher was told last of all that it watches.
    pub(super) progress: Revision,
}

pub(super) enum Step {
    Event(WatchEvent),
    /// Nothing to tell so far, and more to look at.
    Again,
    /// Nothing to tell until it is woken.
    Idle,
}

impl Scene<'_> {
    /// Keeps a delta that was made for one follower of `topic`, for the others.
    pub(super) fn share(&self, topic: &Arc<Followed>, from: Revision, end: &End) {
        self.hub.meters.deltas_made.increment(u64::from(end.1.is_some()));
        if topic.attached.keep(from, end, self.selector, topic.count()) {
            self.hub.keeps(topic);
        }
    }
}
