//! Watching: a snapshot, then changes, progress in between, and `compacted` before a snapshot that had to be sent again.
//!
//! Nothing here decides what is true; it tells each watcher, in revision order, what the applier has published.
//!
//! [`Hub::publish`] puts what a frame did into the history and marks who follows it; it costs the same however many
//! watch. [`Hub::run`] wakes them. Each then reads, by itself, what it needs to get from where it is to the newest
//! state: a watcher is two revisions and a mark for each service, and a slow one holds up nobody and piles up nothing.
//!
//! An event begins where the last one ended: the `from` of a [`Delta`] is the revision of the watcher's last event
//! about that service, or of its last progress, whichever is newer.

mod account;
mod chain;
mod cursor;
mod delta;
mod deltas;
mod fanout;
mod history;
mod hub;
mod lines;
mod meters;
mod pulse;
mod scene;
mod slot;
mod window;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::{Digest, Instance, InstanceId, Namespace, Removal, Revision, Selector, ServiceKey, ServiceRow};
use crate::view::{Encoded, View};

pub use account::Acknowledger;
pub use cursor::Watch;
pub use history::HistoryLimits;
pub use hub::{Company, Hub, Publication, Record, Recorded, Subscription, WatchLimits, Watcher};

/// What a watcher follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each by itself: every service has its own chain of revisions.
    Services(Vec<ServiceKey>),
    /// All services of a namespace, in one chain.
    Namespace(Namespace),
}

/// Who watches, for the list of a service's subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    pub name: Arc<str>,
    pub address: Option<SocketAddr>,
    pub door: Arc<str>,
}

#[derive(Clone, Debug)]
pub struct WatchSpec {
    pub scope: Scope,
    pub selector: Selector,
    /// The last revision the watcher has; what it missed is sent if it is still known, else a snapshot. One that this
    /// log can't have given, [`Company`], is of another history: then it is a snapshot, too.
    pub from: Option<Revision>,
    pub subscriber: Subscriber,
}

/// Everything that a watcher can be told.
#[derive(Clone)]
pub enum WatchEvent {
    /// Everything at `revision`. That of a namespace comes in one part for each service; `complete` marks the last,
    /// and only then the watcher may resume from `revision`. `view` is `None` for a namespace without services.
    Snapshot {
        view: Option<Arc<View>>,
        revision: Revision,
        complete: bool,
    },
    Change(Arc<Delta>),
    /// Nothing new up to here.
    Progress(Revision),
    /// What the watcher missed is no longer known: a snapshot follows.
    Compacted(Revision),
}

/// What changed of one service between two revisions.
pub struct Delta {
    pub service: ServiceKey,
    /// The revision of the watcher's last event: the `to` of a change, or that of a snapshot or a progress.
    pub from: Revision,
    pub to: Revision,
    /// Of the view at `to`.
    pub digest: Digest,
    /// The service at `to`; `None`: it was deleted.
    pub row: Option<Arc<ServiceRow>>,
    pub protected: bool,
    pub put: Vec<Arc<Instance>>,
    pub removed: Vec<Removed>,
    pub encoded: Encoded,
}

#[derive(Clone, Debug)]
pub struct Removed {
    pub id: InstanceId,
    /// `None`: it is still there, and no longer what the watcher selects.
    pub removal: Option<Removal>,
}

#[cfg(test)]
mod tests;
