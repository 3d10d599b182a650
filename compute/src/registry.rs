//! The handle that front doors call: cheap to clone, safe from any task.
//!
//! Reads come from the [`Directory`] without a lock. Writes go to the applier, which decides them in order, and are
//! answered when it has applied them.

use std::sync::Arc;
use std::time::Duration;

use crate::command::{Ack, Answer, Caller, Command, KeptOverride, Outcome};
use crate::directory::{Directory, Progress};
use crate::error::{Error, What};
use crate::model::limits::{BEHIND_MS_MAX, CATCH_UP_MS_MAX};
use crate::model::{
    InstanceKey, Lease, LeaseKind, Namespace, NamespaceRow, NodeIncarnation, Revision, Selector, ServiceKey,
    ServiceName, SessionId,
};
use crate::node::{Freezing, Heard, Link, NodeStatus, Readiness, Report, Told};
use crate::port::peers::{Age, Host, Reply};
use crate::port::{Chance, Clock, Peers};
use crate::view::View;
use crate::watch::{Hub, Watch, WatchSpec, Watcher};

mod company;

pub use company::{Gathered, NodeSeen, Watching};

/// What a front door needs of the node.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) directory: Arc<Directory>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) link: Link,
    /// What was heard of leases that are other nodes' to know.
    pub(crate) heard: Option<Arc<Heard>>,
    /// The way to the other nodes, where there are any.
    pub(crate) peers: Option<Arc<dyn Peers>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
    /// There is no applier behind it.
    pub(crate) is_stale: bool,
}

/// A session that this node holds for a connection. Dropping it is a lost connection: the grace begins.
pub struct Attached {
    pub session: SessionId,
    pub epoch: u32,
    pub grace_ms: u32,
    link: Link,
    superseded: tokio::sync::watch::Receiver<u32>,
}

impl Attached {
    /// Resolves when another stream has taken the session over.
    pub async fn superseded(&self) {
        let mut newest = self.superseded.clone();
        let _ = newest.wait_for(|newest| *newest > self.epoch).await;
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.link.session_lost(self.session, self.epoch);
    }
}

impl Registry {
    /// Writes, each decided by itself, in order; an outcome for each. Answers once all have come as far as `ack` says.
    pub async fn submit(&self, caller: &Caller, ack: Ack, commands: Vec<Command>) -> Vec<Result<Outcome, Error>> {
        self.inner.link.submit(caller, ack, commands).await
    }

    /// One write; see [`Registry::submit`].
    pub async fn submit_one(&self, caller: &Caller, ack: Ack, command: Command) -> Result<Outcome, Error> {
        self.submit(caller, ack, vec![command]).await.pop().unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// A heartbeat of a TTL lease. Lock-free unless the instance is a suspect or not known here.
    pub async fn renew(&self, caller: &Caller, key: &InstanceKey, generation: Option<Revision>) -> Result<(), Error> {
        self.inner.link.may_renew()?;
        if self.renew_here(key, generation)? {
            return Ok(());
        }
        let command = Command::Renew { instance: key.clone(), generation };
        self.submit_one(caller, Ack::Log, command).await.map(drop)
    }

    /// Heartbeats of many, each by itself, in order; an outcome for each. What the lock-free path can't answer goes to
    /// the applier together. See [`Registry::renew`].
    pub async fn renew_all(
        &self,
        caller: &Caller,
        items: Vec<(InstanceKey, Option<Revision>)>,
    ) -> Vec<Result<(), Error>> {
        if let Err(error) = self.inner.link.may_renew() {
            return vec![Err(error); items.len()];
        }
        let mut outcomes = Vec::with_capacity(items.len());
        let mut left = Vec::new();
        let mut commands = Vec::new();
        for (instance, generation) in items {
            let here = self.renew_here(&instance, generation);
            if here == Ok(false) {
                left.push(outcomes.len());
                commands.push(Command::Renew { instance, generation });
            }
            outcomes.push(here.map(drop));
        }
        if !commands.is_empty() {
            let decided = self.submit(caller, Ack::Log, commands).await;
            for (place, outcome) in left.into_iter().zip(decided) {
                outcomes[place] = outcome.map(drop);
            }
        }
        outcomes
    }

    /// True when the heartbeat is noted and nothing else is to do.
    fn renew_here(&self, key: &InstanceKey, generation: Option<Revision>) -> Result<bool, Error> {
        let view = self.inner.directory.view(&key.service);
        let Some(instance) = view.get(&key.id) else { return Ok(false) };
        if instance.lease().kind() != LeaseKind::Ttl {
            return Err(Error::LeaseKind(instance.lease().kind()));
        }
        match generation {
            Some(asked) if asked > instance.generation => return Ok(false),
            Some(asked) if asked != instance.generation => {
                return Err(Error::GenerationMismatch { asked, current: instance.generation });
            }
            _ => {}
        }
        let is_heard = !instance.cell.renew(self.inner.clock.mono_ms());
        if let Some(heard) = &self.inner.heard {
            let ttl_ms = if let Lease::Ttl { ttl_ms, .. } = instance.lease() { *ttl_ms } else { u32::MAX };
            heard.note(key, instance.generation, ttl_ms);
        }
        Ok(is_heard)
    }

    /// The newest view of a service.
    pub fn view(&self, service: &ServiceKey) -> Arc<View> {
        self.inner.directory.view(service)
    }

    /// The newest view of what `selector` takes of a service.
    pub fn selected(&self, service: &ServiceKey, selector: &Selector) -> Arc<View> {
        self.inner.directory.selected(service, selector)
    }

    /// Wakes on each change of a service, also of one that does not exist yet. Taken before a read, it misses nothing
    /// that comes after that read.
    pub fn watcher(&self, service: &ServiceKey) -> Watcher {
        self.inner.hub.watcher(service)
    }

    /// The same for somebody who has this service at its newest and is listed among its subscribers while it waits.
    pub fn watcher_as(&self, service: &ServiceKey, subscriber: crate::watch::Subscriber) -> Watcher {
        let sent = self.view(service).revision;
        self.inner.hub.watcher_as(service, subscriber, sent)
    }

    /// A stream of events.
    pub fn watch(&self, spec: WatchSpec) -> Result<Watch, Error> {
        self.inner.hub.watch(self.inner.directory.clone(), self.inner.clock.clone(), spec)
    }

    /// Who watches a service now.
    pub fn subscribers(&self, service: &ServiceKey) -> Vec<crate::watch::Subscription> {
        self.inner.hub.subscribers(service)
    }

    /// Waits until this node has applied `wanted`, at most 5 s: then [`Error::Behind`].
    pub async fn reach(&self, wanted: Revision) -> Result<(), Error> {
        if self.progress().applied.last() >= wanted {
            return Ok(());
        }
        let mut progress = self.inner.directory.progress();
        let reached = progress.wait_for(|progress| progress.applied.last() >= wanted);
        tokio::select! {
            reached = reached => reached.map(drop).map_err(|_| Error::NotReady("the node stops".to_owned())),
            () = self.inner.clock.sleep(Duration::from_millis(BEHIND_MS_MAX)) => {
                Err(Error::Behind { at: self.progress().applied.last(), wanted })
            }
        }
    }

    /// Whether a reader has seen on another node what this one has not applied yet. Only a revision of the log's present
    /// life is a place that this node comes to.
    pub fn is_behind(&self, seen: Revision) -> bool {
        let applied = self.progress().applied;
        self.inner.hub.can_be_behind() && seen.position().generation() == applied.generation() && seen > applied.last()
    }

    /// Waits until this node is not behind a reader, at most 500 ms: one whose log is away answers all the same.
    pub async fn catch_up(&self, seen: Revision) {
        let mut progress = self.inner.directory.progress();
        tokio::select! {
            _ = progress.wait_for(|progress| progress.applied.last() >= seen) => {}
            () = self.inner.clock.sleep(Duration::from_millis(CATCH_UP_MS_MAX)) => {}
        }
    }

    /// Waits until a watch may begin at `from`, as [`Registry::reach`] does. A node that writes its log alone is never
    /// behind a watcher of its own: whoever is ahead of it is told by the watch that it has to begin anew.
    pub async fn reach_watcher(&self, from: Revision) -> Result<(), Error> {
        if self.inner.hub.can_be_behind() { self.reach(from).await } else { Ok(()) }
    }

    pub fn progress(&self) -> Progress {
        self.inner.directory.reached()
    }

    pub fn namespace(&self, namespace: &Namespace) -> Result<NamespaceRow, Error> {
        self.inner.directory.namespace(namespace).ok_or_else(|| Error::not_found(What::Namespace, namespace))
    }

    pub fn namespaces(&self, after: Option<&Namespace>, limit: usize) -> Vec<(Namespace, NamespaceRow)> {
        self.inner.directory.namespaces(after, limit)
    }

    /// A page of the services of a namespace; see [`Directory::services`].
    pub fn services(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ServiceName>, Error> {
        let found = self.inner.directory.services(namespace, prefix, after, limit);
        found.ok_or_else(|| Error::not_found(What::Namespace, namespace))
    }

    /// Operators' words of a service that outlived their instances, by id.
    pub fn kept_overrides(&self, service: &ServiceKey) -> Arc<[KeptOverride]> {
        self.inner.directory.kept_overrides(service)
    }

    /// Opens a session for a connection of this node.
    pub async fn open_session(&self, caller: &Caller, grace_ms: u32, client: &str) -> Result<Attached, Error> {
        let session = SessionId(self.inner.chance.bytes());
        self.attach(caller, Command::OpenSession { session, grace_ms, client: client.into() }).await
    }

    /// Takes over a session whose token a connection has brought; the older stream, if there is one, is superseded.
    pub async fn resume_session(&self, caller: &Caller, session: SessionId) -> Result<Attached, Error> {
        self.attach(caller, Command::AttachSession { session }).await
    }

    async fn attach(&self, caller: &Caller, command: Command) -> Result<Attached, Error> {
        let outcome = self.submit_one(caller, Ack::Log, command).await?;
        let Answer::Session { session, epoch, grace_ms } = outcome.answer else {
            return Err(Error::OutcomeUnknown);
        };
        let superseded = self.inner.link.session_held(session, epoch);
        Ok(Attached { session, epoch, grace_ms, link: self.inner.link.clone(), superseded })
    }

    /// An explicit goodbye.
    pub async fn close_session(&self, caller: &Caller, held: Attached, deregister: bool) -> Result<(), Error> {
        let command = Command::CloseSession { session: held.session, epoch: held.epoch, deregister };
        self.submit_one(caller, Ack::Log, command).await.map(drop)
    }

    /// Whether this node may answer, and why not.
    pub fn readiness(&self) -> Readiness {
        self.inner.link.readiness()
    }

    /// Whether it shows what had landed when the node started without a log: then it is not ready, and reads are answered
    /// nevertheless, with a mark.
    pub fn is_stale(&self) -> bool {
        self.inner.is_stale
    }

    /// This node, for people: position, lag, leases, freezes, overlay.
    pub fn status(&self) -> NodeStatus {
        self.inner.link.status()
    }

    /// The freezes that stand.
    pub fn freezes(&self) -> Vec<Freezing> {
        self.inner.link.status().freezes
    }

    /// Stops taking new work; watchers and sessions are told to move.
    pub fn drain(&self) {
        self.inner.link.drain();
    }

    /// Resolves once the node drains.
    pub async fn draining(&self) {
        self.inner.link.draining().await;
    }
}

impl Host for Registry {
    fn reply(&self) -> Reply {
        let status = self.inner.link.status();
        // Behind the status: where that says that nothing more is applied, this is the last.
        let Progress { applied, landed, .. } = self.progress();
        Reply { node: status.node, log: status.log, reading: status.reading, applied, landed }
    }

    fn heartbeats(&self, _: NodeIncarnation, heard: Vec<Age>) {
        self.inner.link.tell(Told::Heard(heard));
    }

    fn hand_over(&self, _: NodeIncarnation, ages: Vec<Age>) {
        self.inner.link.tell(Told::HandedOver(ages));
    }

    fn report(&self) -> Report {
        self.report_now()
    }

    fn subscribers(&self, service: &ServiceKey) -> Vec<crate::watch::Subscription> {
        self.inner.hub.subscribers(service)
    }

    fn drain(&self) {
        tracing::info!("another node asks this one to drain");
        self.inner.link.drain();
    }
}
