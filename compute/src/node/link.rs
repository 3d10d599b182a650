//! The way from a front door to the applier: bounded lanes, and what the applier tells of itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use crate::command::{Ack, Caller, Command, Outcome};
use crate::error::Error;
use crate::model::{Digest, FreezeScope, InstanceKey, LogIdentity, NodeIncarnation, Position, Revision, SessionId};
use crate::port::peers::{Age, Reading};

use super::latest;
use super::report::{Address, Lag, Leases};

/// Requests that wait for the applier; beyond it new work is shed.
pub(crate) const REQUESTS_MAX: usize = 8_192;
/// Heartbeats that wait for the applier, in a lane of their own.
pub(crate) const RENEWALS_MAX: usize = 65_536;
/// Operators that wait for the end of freezes.
pub(crate) const RELEASES_MAX: usize = 64;
/// Calls of other nodes that wait.
pub(crate) const TOLD_MAX: usize = 1_024;
/// The lanes by name, in refusals and metrics.
pub(crate) const REQUESTS: &str = "queue of writes";
pub(crate) const RENEWALS: &str = "queue of renewals";
pub(crate) const RELEASES: &str = "queue of freeze releases";
/// When a caller that was shed should come back.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// One call of [`Link::submit`]: commands that are answered together.
pub(crate) struct Request {
    pub(crate) caller: Caller,
    pub(crate) ack: Ack,
    pub(crate) commands: Vec<Command>,
    pub(crate) reply: oneshot::Sender<Vec<Result<Outcome, Error>>>,
}

/// An operator's word: what holds back leases of a node is frozen no more. Answered once that is so: how many freezes it
/// ended.
pub(crate) struct Release {
    pub(crate) caller: Caller,
    /// `None`: of this one.
    pub(crate) node: Option<NodeIncarnation>,
    pub(crate) reply: oneshot::Sender<Result<usize, Error>>,
}

/// What became of this node's connections of a session, since the applier last looked.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct SessionWord {
    /// The newest that was spoken of; what was said of an older one no longer counts.
    pub(crate) epoch: u32,
    pub(crate) is_held: bool,
    /// After it was held, if it was.
    pub(crate) is_lost: bool,
}

impl SessionWord {
    fn of(&mut self, epoch: u32) -> Option<&mut Self> {
        if epoch > self.epoch {
            *self = Self { epoch, ..Self::default() };
        }
        (epoch == self.epoch).then_some(self)
    }
}

/// The checker's word about a checked lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckWord {
    pub(crate) key: InstanceKey,
    pub(crate) generation: Revision,
    /// `Some`: as many failures in a row as its threshold, and what the last one saw. `None`: as many successes.
    pub(crate) failed: Option<Box<str>>,
}

/// What other nodes have said directly, or a probe that one of them asked for.
#[derive(Debug)]
pub(crate) enum Told {
    Heard(Vec<Age>),
    HandedOver(Vec<Age>),
    /// To another node the log is lost, and to nobody it is well.
    Lost,
    /// What the store had of instances when everything up to there had landed.
    Rows(Position, Digest),
    /// A test wants this node to be wrong about an instance.
    #[cfg(any(test, feature = "testing"))]
    Bent(InstanceKey),
}

/// Whether a node may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Why not, in words.
    NotReady(String),
    /// It finishes what it has and takes nothing new.
    Draining,
}

/// A mass-loss freeze, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freezing {
    pub scope: FreezeScope,
    pub since_ms: u64,
    pub lapsed: u32,
    pub of: u32,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub namespaces: usize,
    pub services: usize,
    pub instances: usize,
    pub sessions: usize,
    /// Suspicions that stand, of whoever's leases.
    pub suspects: usize,
    /// Leases that this node owns.
    pub leases: Leases,
    /// Accepted here and not in the log yet.
    pub overlay: usize,
}

/// A node of the cluster, as the log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub node: NodeIncarnation,
    pub name: Arc<str>,
    /// Of its peer door.
    pub address: Arc<str>,
    /// The change that made it a member, and the log's time of that.
    pub joined: Revision,
    pub joined_ms: u64,
    /// What it had applied when it last spoke.
    pub applied: Position,
    pub landed: Position,
    pub leaving: bool,
    /// It lands what all of them apply.
    pub is_lander: bool,
    /// Sessions whose connections it holds, or held last.
    pub sessions: usize,
}

/// This node, for people and probes.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    pub name: Arc<str>,
    pub node: NodeIncarnation,
    /// Of the program.
    pub version: Arc<str>,
    /// Where clients and other nodes reach its doors.
    pub addresses: Vec<Address>,
    pub log: LogIdentity,
    pub readiness: Readiness,
    pub applied: Position,
    pub landed: Position,
    pub lag: Lag,
    /// The log's time at `applied`.
    pub time_ms: u64,
    /// Changes applied and not landed yet.
    pub unlanded: usize,
    /// Since when the log is away, as an age; `None`: it is there.
    pub log_away_ms: Option<u64>,
    /// What the store said last, while it refuses or does not answer.
    pub store_error: Option<String>,
    /// What the log is to this node.
    pub reading: Reading,
    /// Why this node holds expiry back by itself (log away, own loop late); mass-loss freezes are in `freezes`.
    pub holding: Option<String>,
    /// Why this node takes no renewals, though it answers reads: it hears nobody.
    pub isolated: Option<String>,
    /// How often another node was seen to have read other frames than this one, or to have made something else of them.
    pub divergences: u64,
    /// How often this node has given up what it had for what store and log say, or has landed everything again.
    pub repairs: u64,
    /// How often it was not found out which of several nodes, or of node and store, is right.
    pub unrepaired: u64,
    /// All nodes that share the log, as it shows them; none where this node is alone.
    pub members: Vec<Member>,
    pub freezes: Vec<Freezing>,
    pub counted: Counted,
}

/// A front door's end of the applier.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    requests: mpsc::Sender<Request>,
    renewals: mpsc::Sender<Request>,
    releases: mpsc::Sender<Release>,
    sessions: latest::Sender<SessionId, SessionWord>,
    checks: latest::Sender<InstanceKey, Option<CheckWord>>,
    told: mpsc::Sender<Told>,
    status: ArcSwap<NodeStatus>,
    is_draining: AtomicBool,
    /// The same, for those who wait for it.
    draining: watch::Sender<bool>,
    /// The newest epoch of each session that this node holds a connection of.
    held: Mutex<HashMap<SessionId, watch::Sender<u32>>>,
}

/// The applier's end.
pub(crate) struct Lanes {
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) renewals: mpsc::Receiver<Request>,
    pub(crate) releases: mpsc::Receiver<Release>,
    pub(crate) sessions: latest::Receiver<SessionId, SessionWord>,
    pub(crate) checks: latest::Receiver<InstanceKey, Option<CheckWord>>,
    pub(crate) told: mpsc::Receiver<Told>,
}

impl Link {
    pub(crate) fn new(status: NodeStatus) -> (Self, Lanes) {
        let (requests, requests_end) = mpsc::channel(REQUESTS_MAX);
        let (renewals, renewals_end) = mpsc::channel(RENEWALS_MAX);
        let (releases, releases_end) = mpsc::channel(RELEASES_MAX);
        let (sessions, sessions_end) = latest::lane();
        let (checks, checks_end) = latest::lane();
        let (told, told_end) = mpsc::channel(TOLD_MAX);
        let shared = Shared {
            requests,
            renewals,
            releases,
            sessions,
            checks,
            told,
            status: ArcSwap::from_pointee(status),
            is_draining: AtomicBool::new(false),
            draining: watch::Sender::new(false),
            held: Mutex::default(),
        };
        let lanes = Lanes {
            requests: requests_end,
            renewals: renewals_end,
            releases: releases_end,
            sessions: sessions_end,
            checks: checks_end,
            told: told_end,
        };
        (Self { shared: Arc::new(shared) }, lanes)
    }

    /// Takes commands to the applier. A node that drains still takes what providers say on their way out.
    pub(crate) async fn submit(
        &self,
        caller: &Caller,
        ack: Ack,
        commands: Vec<Command>,
    ) -> Vec<Result<Outcome, Error>> {
        match self.readiness() {
            Readiness::Ready => self.send(caller, ack, commands).await,
            Readiness::NotReady(why) => vec![Err(Error::NotReady(why)); commands.len()],
            Readiness::Draining => {
                let refused = Error::NotReady("it drains; use another node".to_owned());
                let mut outcomes = vec![Err(refused); commands.len()];
                let commands = commands.into_iter().enumerate();
                let (places, taken): (Vec<_>, Vec<_>) = commands.filter(|(_, c)| is_taken_to_the_end(c)).unzip();
                if !taken.is_empty() {
                    let answers = self.send(caller, ack, taken).await;
                    places.into_iter().zip(answers).for_each(|(place, answer)| outcomes[place] = answer);
                }
                outcomes
            }
        }
    }

    async fn send(&self, caller: &Caller, ack: Ack, commands: Vec<Command>) -> Vec<Result<Outcome, Error>> {
        let count = commands.len();
        let refuse = |error: Error| vec![Err(error); count];
        let (lane, limit) = if commands.iter().all(is_renewal) {
            (&self.shared.renewals, RENEWALS)
        } else {
            (&self.shared.requests, REQUESTS)
        };
        let (reply, outcomes) = oneshot::channel();
        let request = Request { caller: caller.clone(), ack, commands, reply };
        match lane.try_send(request) {
            Ok(()) => outcomes.await.unwrap_or_else(|_| refuse(Error::OutcomeUnknown)),
            Err(error) => refuse(unsent(&error, limit)),
        }
    }

    /// A renewal is taken as long as the node is ready or drains: it must not lose leases on its way out.
    pub(crate) fn may_renew(&self) -> Result<(), Error> {
        let status = self.shared.status.load();
        match (&status.readiness, &status.isolated) {
            (Readiness::NotReady(why), _) | (_, Some(why)) => Err(Error::NotReady(why.clone())),
            (Readiness::Ready | Readiness::Draining, None) => Ok(()),
        }
    }

    /// Without a lock, as every read asks it.
    pub(crate) fn readiness(&self) -> Readiness {
        match &self.shared.status.load().readiness {
            Readiness::Ready if self.is_draining() => Readiness::Draining,
            readiness => readiness.clone(),
        }
    }

    pub(crate) fn status(&self) -> NodeStatus {
        NodeStatus { readiness: self.readiness(), ..NodeStatus::clone(&self.shared.status.load()) }
    }

    /// For the applier alone: of two who change it at once, one would be forgotten.
    pub(crate) fn put_status(&self, change: impl FnOnce(&mut NodeStatus)) {
        let mut status = NodeStatus::clone(&self.shared.status.load());
        change(&mut status);
        self.shared.status.store(Arc::new(status));
    }

    pub(crate) async fn release_freezes(&self, caller: &Caller, node: Option<NodeIncarnation>) -> Result<usize, Error> {
        let (reply, released) = oneshot::channel();
        let release = Release { caller: caller.clone(), node, reply };
        self.shared.releases.try_send(release).map_err(|error| unsent(&error, RELEASES))?;
        released.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// This node holds a connection of the session, at `epoch`. What comes back shows the newest epoch.
    pub(crate) fn session_held(&self, session: SessionId, epoch: u32) -> watch::Receiver<u32> {
        let mut held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = held.entry(session).or_insert_with(|| watch::Sender::new(epoch));
        newest.send_if_modified(|newest| std::mem::replace(newest, (*newest).max(epoch)) < epoch);
        let newest = newest.subscribe();
        drop(held);
        self.shared.sessions.put(session, |word| word.of(epoch).into_iter().for_each(|word| word.is_held = true));
        newest
    }

    /// The sessions that this node holds a connection of, each with the newest epoch that it knows of.
    pub(crate) fn held(&self) -> Vec<(SessionId, u32)> {
        let held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(session, newest)| (*session, *newest.borrow())).collect()
    }

    /// The applier has seen this epoch of a session, on whatever node.
    pub(crate) fn session_moved(&self, session: SessionId, epoch: u32) {
        let held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = held.get(&session) {
            newest.send_if_modified(|newest| std::mem::replace(newest, (*newest).max(epoch)) < epoch);
        }
    }

    /// Nobody waits for it: where too much waits already it is lost. Ages and heartbeats that are lost cost a lease no more
    /// than its full time or a suspicion; all else is said again.
    pub(crate) fn tell(&self, told: Told) {
        if self.shared.told.try_send(told).is_err() {
            metrics::counter!("thuban_told_lost_total").increment(1);
        }
    }

    /// Every stream of a session ends, as if another had taken it over: this node can't answer for it any more.
    pub(crate) fn close_streams(&self) {
        let mut held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, newest) in held.drain() {
            newest.send_replace(u32::MAX);
        }
    }

    pub(crate) fn check(&self, word: CheckWord) {
        self.shared.checks.put(word.key.clone(), |slot| *slot = Some(word));
    }

    pub(crate) fn session_lost(&self, session: SessionId, epoch: u32) {
        let mut held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(&session).is_some_and(|newest| *newest.borrow() <= epoch) {
            held.remove(&session);
        }
        drop(held);
        self.shared.sessions.put(session, |word| word.of(epoch).into_iter().for_each(|word| word.is_lost = true));
    }

    pub(crate) fn drain(&self) {
        self.shared.is_draining.store(true, Ordering::SeqCst);
        self.shared.draining.send_replace(true);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.is_draining.load(Ordering::SeqCst)
    }

    pub(crate) async fn draining(&self) {
        let _ = self.shared.draining.subscribe().wait_for(|draining| *draining).await;
    }
}

/// Keeps what is there: goes ahead of new work, and is taken where that is shed.
pub(crate) fn is_renewal(command: &Command) -> bool {
    matches!(command, Command::Renew { .. } | Command::AttachSession { .. })
}

/// What a node that drains does not refuse: goodbyes, and what keeps leases on their way to another node.
fn is_taken_to_the_end(command: &Command) -> bool {
    is_renewal(command) || matches!(command, Command::Deregister { .. } | Command::CloseSession { .. })
}

fn unsent<T>(error: &mpsc::error::TrySendError<T>, limit: &'static str) -> Error {
    match error {
        mpsc::error::TrySendError::Full(_) => overloaded(limit),
        mpsc::error::TrySendError::Closed(_) => Error::NotReady("the node stops".to_owned()),
    }
}

/// What is said, and counted, when a limit of this node is reached.
pub(crate) fn overloaded(limit: &'static str) -> Error {
    metrics::counter!("thuban_shed_total", "limit" => limit).increment(1);
    Error::Overloaded { limit, retry_after: RETRY_AFTER }
}

#[cfg(test)]
mod tests;
