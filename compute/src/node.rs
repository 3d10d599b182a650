//! The only part of the domain that spawns tasks: one applier owns the state, the lander follows it.
//!
//! A write goes: front door -> [`Link`] -> applier (decides, gathers a frame) -> change log -> applier (applies,
//! publishes, answers) -> lander -> store.

mod adopt;
mod applier;
mod bootstrap;
mod calls;
mod checks;
mod heard;
mod lander;
mod latest;
mod link;
mod overlay;
mod recovery;
mod repair;
mod report;
mod roll;
mod snapshot;
mod stale;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::directory::{Directory, SelectedLimits};
use crate::model::NodeIncarnation;
use crate::port::{Chance, ChangeLog, Clock, Journal, Peers, PresenceStore, Prober};
use crate::registry::{Inner, Registry};
use crate::watch::{Company, Hub};

pub use adopt::{adopt, first_generation, raised};
pub use bootstrap::StartError;
pub(crate) use heard::Heard;
pub(crate) use link::Told;
pub use link::{Counted, Freezing, Link, Member, NodeStatus, Readiness};
pub use recovery::begin_next_life;
pub use report::{Address, Lag, Leases, Report};
pub use stale::Stale;

/// What a node is made of.
#[derive(Clone)]
pub struct Parts {
    pub store: Arc<dyn PresenceStore>,
    /// Where a node that shares its store keeps a copy of it for itself, to boot from while that is away.
    pub snapshot: Option<Arc<dyn PresenceStore>>,
    pub log: Arc<dyn ChangeLog>,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Chance>,
    pub prober: Arc<dyn Prober>,
    /// The other nodes that share the log; `None`: the log is this node's own.
    pub peers: Option<Arc<dyn Peers>>,
    /// Where decisions are written down, if anywhere.
    pub journal: Option<Arc<dyn Journal>>,
}

#[derive(Clone, Debug)]
pub struct Config {
    /// How this node is called in lists and logs.
    pub name: Arc<str>,
    pub selected: SelectedLimits,
    /// Rows that may wait for the store; beyond it new work is shed, while reads, renewals and removals go on.
    pub unlanded_max: usize,
    /// Probes under way at once.
    pub probes_max: usize,
    /// Sessions that this node answers for; beyond it no more are opened.
    pub sessions_max: usize,
    /// Where the other nodes reach this one; empty where there are none.
    pub peer_address: Arc<str>,
    /// What clients and operators are told of it: where its doors are, and what runs.
    pub addresses: Vec<Address>,
    pub version: Arc<str>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "thuban".into(),
            selected: SelectedLimits::default(),
            unlanded_max: 2_000_000,
            probes_max: 512,
            sessions_max: 200_000,
            peer_address: "".into(),
            addresses: Vec::new(),
            version: "".into(),
        }
    }
}

/// A running node.
pub struct Node {
    registry: Registry,
    stop: oneshot::Sender<()>,
    applier: JoinHandle<Result<(), Failure>>,
    lander: JoinHandle<()>,
    checker: JoinHandle<()>,
    waker: JoinHandle<()>,
    /// Tells other nodes what was heard of their leases.
    teller: Option<JoinHandle<()>>,
    /// Keeps a copy of what has landed.
    keeper: Option<(Arc<snapshot::Keeper>, JoinHandle<()>)>,
}

/// Why a running node had to stop: going on could only make things worse.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    #[error("the change log can't be followed: {0}")]
    Log(String),
    #[error("the store is not what it was: {0}; restore it from a newer backup")]
    Store(String),
    #[error("another process lands in this store: {0}")]
    Fenced(String),
    #[error("the node's own task ended: {0}")]
    Task(String),
}

/// Boots a node; when this returns it is ready.
pub async fn start(parts: Parts, config: Config) -> Result<Node, StartError> {
    let booted = bootstrap::boot(&parts).await?;
    let me = NodeIncarnation(parts.chance.number());
    if parts.peers.is_some() {
        tracing::info!(node = %me, name = %config.name, "this is how the log knows this node");
    }
    let directory = Arc::new(Directory::new(config.selected));
    // A node among others is one whose log they share.
    let hub = Hub::new(if parts.peers.is_some() { Company::Among } else { Company::Alone });
    let waker = tokio::spawn({
        let (hub, clock) = (hub.clone(), parts.clock.clone());
        async move { hub.run(clock).await }
    });
    let (link, lanes) = Link::new(applier::first_status(&config, me, &booted.state, booted.landed));
    let (work, work_end) = mpsc::channel(1);
    let (landings, landings_end) = mpsc::channel(1);
    let lander = lander::Lander {
        store: parts.store.clone(),
        log: parts.log.clone(),
        clock: parts.clock.clone(),
        identity: booted.state.log().identity,
        epoch: booted.epoch,
        trimmed: booted.trimmed,
        keeps_for_copies: parts.snapshot.is_some(),
        landed_at: VecDeque::new(),
    };
    let lander = tokio::spawn(lander.run(work_end, landings));
    let (checks, checks_end) = checks::Feed::new();
    let checker = checks::Checker {
        prober: parts.prober.clone(),
        clock: parts.clock.clone(),
        chance: parts.chance.clone(),
        link: link.clone(),
        probes_max: config.probes_max,
        booted: booted.state.position(),
    };
    let checker = tokio::spawn(checker.run(checks_end));
    let heard = parts.peers.is_some().then(|| heard::Heard::new(me, parts.clock.mono_ms()));
    let teller = heard
        .clone()
        .zip(parts.peers.clone())
        .map(|(heard, peers)| tokio::spawn(heard.run(directory.clone(), parts.clock.clone(), peers)));
    let ends = applier::Ends { link: link.clone(), lanes, work, landings: landings_end, checks, heard: heard.clone() };
    let applier = applier::Applier::new(me, &parts, config, booted, directory.clone(), hub.clone(), ends);
    let (stop, stopped) = oneshot::channel();
    let applier = tokio::spawn(applier.run(stopped));
    let keeper =
        snapshot::Keeper::of(&parts, &link).map(Arc::new).map(|keeper| (keeper.clone(), tokio::spawn(keeper.run())));
    let Parts { peers, clock, chance, .. } = parts;
    let inner = Inner { directory, hub, link, heard, peers, clock, chance, is_stale: false };
    Ok(Node { registry: Registry { inner: Arc::new(inner) }, stop, applier, lander, checker, waker, teller, keeper })
}

impl Node {
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Resolves when the node has had to stop by itself.
    pub async fn failed(&mut self) -> Failure {
        match (&mut self.applier).await {
            Ok(Ok(())) => Failure::Task("it was stopped".to_owned()),
            Ok(Err(failure)) => failure,
            Err(error) => Failure::Task(error.to_string()),
        }
    }

    /// From now on this node is wrong about `key`, as if its memory were: it has no such instance.
    #[cfg(any(test, feature = "testing"))]
    pub fn bend(&self, key: &crate::model::InstanceKey) {
        self.registry.inner.link.tell(Told::Bent(key.clone()));
    }

    /// Ends at once, as a killed process does: nothing is finished and nobody is told.
    #[cfg(any(test, feature = "testing"))]
    pub async fn kill(self) {
        let keeper = self.keeper.map(|(_, task)| task);
        for task in [self.lander, self.checker, self.waker].into_iter().chain(self.teller).chain(keeper) {
            task.abort();
        }
        self.applier.abort();
        let _ = self.applier.await;
    }

    /// Takes nothing new, finishes what was accepted, lands what was applied, and ends.
    pub async fn stop(self) {
        self.registry.drain();
        let _ = self.stop.send(());
        let _ = self.applier.await;
        let _ = self.lander.await;
        self.teller.iter().for_each(JoinHandle::abort);
        if let Some((keeper, task)) = &self.keeper {
            task.abort();
            keeper.keep().await;
        }
        self.checker.abort();
        let _ = self.checker.await;
        self.registry.inner.hub.close();
        let _ = self.waker.await;
    }
}
