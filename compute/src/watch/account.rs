//! What is known of the watchers of a service: who they are, how far they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Subscriber, Subscription};
use crate::model::{Revision, ServiceKey};

/// One watcher of one topic.
pub(super) struct Account {
    subscriber: Arc<Subscriber>,
    sent: AtomicU64,
    /// 0: it never said.
    acknowledged: AtomicU64,
    /// What was told of all topics of the watch at once.
    whole: Arc<AtomicU64>,
}

impl Account {
    pub(super) fn new(subscriber: Arc<Subscriber>, whole: Arc<AtomicU64>) -> Self {
        Self { subscriber, sent: AtomicU64::new(0), acknowledged: AtomicU64::new(0), whole }
    }

    pub(super) fn sent(&self, revision: Revision) {
        self.sent.fetch_max(revision.packed(), Ordering::Relaxed);
    }

    pub(super) fn sent_of_all(&self, revision: Revision) {
        self.whole.fetch_max(revision.packed(), Ordering::Relaxed);
    }

    fn last_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed).max(self.whole.load(Ordering::Relaxed))
    }

    fn acknowledge(&self, revision: Revision) {
        // Nobody can have what was not sent.
        let believed = revision.packed().min(self.last_sent());
        self.acknowledged.fetch_max(believed, Ordering::Relaxed);
    }

    pub(super) fn subscription(&self) -> Subscription {
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        let revision = |packed| Revision::from_packed(packed).unwrap_or_default();
        Subscription {
            subscriber: Subscriber::clone(&self.subscriber),
            sent: revision(self.last_sent()),
            acknowledged: (acknowledged > 0).then(|| revision(acknowledged)),
        }
    }
}

/// The accounts of one watch.
pub(super) enum Accounts {
    /// In the order of its lines, by service.
    Services(Box<[(ServiceKey, Arc<Account>)]>),
    Namespace(Arc<Account>),
}

impl Accounts {
    pub(super) fn notes(&self) -> Vec<Arc<Account>> {
        match self {
            Self::Services(services) => services.iter().map(|(_, account)| account.clone()).collect(),
            Self::Namespace(account) => vec![account.clone()],
        }
    }

    pub(super) fn of(&self, service: &ServiceKey) -> Option<&Account> {
        match self {
            Self::Services(services) => {
                let at = services.binary_search_by(|(key, _)| key.cmp(service)).ok()?;
                services.get(at).map(|(_, account)| &**account)
            }
            Self::Namespace(account) => Some(account),
        }
    }

    pub(super) fn any(&self) -> Option<&Account> {
        match self {
            Self::Services(services) => services.first().map(|(_, account)| &**account),
            Self::Namespace(account) => Some(account),
        }
    }
}

/// Takes a watcher's word of what it has, wherever its [`super::Watch`] is at that time.
#[derive(Clone)]
pub struct Acknowledger(pub(super) Arc<Accounts>);

impl Acknowledger {
    /// The watcher says that it has everything up to `revision` of `service`. False when it does not watch it.
    pub fn acknowledge(&self, service: &ServiceKey, revision: Revision) -> bool {
        let account = self.0.of(service);
        account.inspect(|account| account.acknowledge(revision)).is_some()
    }

    /// The same of all that it watches.
    pub fn acknowledge_all(&self, revision: Revision) {
        self.0.notes().iter().for_each(|account| account.acknowledge(revision));
    }
}
