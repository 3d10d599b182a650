//! The way from a front door to the applier: bounded lanes, and what the applier tells of itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::command::{Ack, Caller, Command, Outcome};
use crate::error::Error;
use crate::model::{FreezeScope, InstanceKey, LogIdentity, NodeIncarnation, Position, Revision, SessionId};

/// Requests that wait for the applier; beyond it new work is shed.
const REQUESTS_MAX: usize = 8_192;
/// Heartbeats that wait for the applier, in a lane of their own.
const RENEWALS_MAX: usize = 65_536;
/// When a caller that was shed should come back.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// One call of [`Link::submit`]: commands that are answered together.
pub(crate) struct Request {
    pub(crate) caller: Caller,
    pub(crate) ack: Ack,
    pub(crate) commands: Vec<Command>,
    pub(crate) reply: oneshot::Sender<Vec<Result<Outcome, Error>>>,
}

/// What else the applier is told or asked.
pub(crate) enum Signal {
    SessionHeld(SessionId, u32),
    SessionLost(SessionId, u32),
    /// What the probes of a checked lease come to.
    Check(CheckWord),
    ReleaseFreezes(Caller, oneshot::Sender<usize>),
    Drain,
}

/// The checker's word about a checked lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckWord {
    pub(crate) key: InstanceKey,
    pub(crate) generation: Revision,
    /// `Some`: as many failures in a row as its threshold, and what the last one saw. `None`: as many successes.
    pub(crate) failed: Option<Box<str>>,
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
    /// Leases that this node owns, by kind.
    pub leases_ttl: usize,
    pub leases_stream: usize,
    pub leases_checked: usize,
    pub leases_permanent: usize,
    pub suspects: usize,
    /// Accepted here and not in the log yet.
    pub overlay: usize,
}

/// This node, for people and probes.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    pub name: Arc<str>,
    pub node: NodeIncarnation,
    pub log: LogIdentity,
    pub readiness: Readiness,
    pub applied: Position,
    pub landed: Position,
    /// The log's time at `applied`.
    pub time_ms: u64,
    /// Changes applied and not landed yet.
    pub unlanded: usize,
    /// Since when the log is away, as an age; `None`: it is there.
    pub log_away_ms: Option<u64>,
    /// What the store said last, while it refuses or does not answer.
    pub store_error: Option<String>,
    /// Why this node holds expiry back by itself (log away, own loop late); mass-loss freezes are in `freezes`.
    pub holding: Option<String>,
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
    signals: mpsc::UnboundedSender<Signal>,
    status: watch::Sender<NodeStatus>,
    draining: watch::Sender<bool>,
    /// The newest epoch of each session that this node holds a connection of.
    held: Mutex<HashMap<SessionId, watch::Sender<u32>>>,
}

/// The applier's end.
pub(crate) struct Lanes {
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) renewals: mpsc::Receiver<Request>,
    pub(crate) signals: mpsc::UnboundedReceiver<Signal>,
}

impl Link {
    pub(crate) fn new(status: NodeStatus) -> (Self, Lanes) {
        let (requests, requests_end) = mpsc::channel(REQUESTS_MAX);
        let (renewals, renewals_end) = mpsc::channel(RENEWALS_MAX);
        let (signals, signals_end) = mpsc::unbounded_channel();
        let shared = Shared {
            requests,
            renewals,
            signals,
            status: watch::Sender::new(status),
            draining: watch::Sender::new(false),
            held: Mutex::default(),
        };
        let lanes = Lanes { requests: requests_end, renewals: renewals_end, signals: signals_end };
        (Self { shared: Arc::new(shared) }, lanes)
    }

    pub(crate) async fn submit(
        &self,
        caller: &Caller,
        ack: Ack,
        commands: Vec<Command>,
    ) -> Vec<Result<Outcome, Error>> {
        let count = commands.len();
        let refuse = |error: Error| vec![Err(error); count];
        let is_renewal = commands.iter().all(|c| matches!(c, Command::Renew { .. } | Command::AttachSession { .. }));
        if !is_renewal && let Err(error) = self.takes_work() {
            return refuse(error);
        }
        let (lane, limit) = if is_renewal {
            (&self.shared.renewals, "queue of renewals")
        } else {
            (&self.shared.requests, "queue of writes")
        };
        let (reply, outcomes) = oneshot::channel();
        let request = Request { caller: caller.clone(), ack, commands, reply };
        match lane.try_send(request) {
            Ok(()) => outcomes.await.unwrap_or_else(|_| refuse(Error::OutcomeUnknown)),
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics::counter!("thuban_shed_total", "limit" => limit).increment(1);
                refuse(Error::Overloaded { limit, retry_after: RETRY_AFTER })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => refuse(Error::NotReady("the node stops".to_owned())),
        }
    }

    /// Whether new work is taken now.
    fn takes_work(&self) -> Result<(), Error> {
        match self.readiness() {
            Readiness::Ready => Ok(()),
            Readiness::NotReady(why) => Err(Error::NotReady(why)),
            Readiness::Draining => Err(Error::NotReady("it drains; use another node".to_owned())),
        }
    }

    /// A renewal is taken as long as the node is ready or drains: it must not lose leases on its way out.
    pub(crate) fn may_renew(&self) -> Result<(), Error> {
        match &self.shared.status.borrow().readiness {
            Readiness::NotReady(why) => Err(Error::NotReady(why.clone())),
            Readiness::Ready | Readiness::Draining => Ok(()),
        }
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.shared.status.borrow().readiness.clone()
    }

    pub(crate) fn status(&self) -> NodeStatus {
        self.shared.status.borrow().clone()
    }

    pub(crate) fn put_status(&self, change: impl FnOnce(&mut NodeStatus)) {
        self.shared.status.send_modify(change);
    }

    pub(crate) async fn release_freezes(&self, caller: &Caller) -> Result<usize, Error> {
        let (reply, released) = oneshot::channel();
        let _ = self.shared.signals.send(Signal::ReleaseFreezes(caller.clone(), reply));
        released.await.map_err(|_| Error::NotReady("the node stops".to_owned()))
    }

    /// This node holds a connection of the session, at `epoch`. What comes back shows the newest epoch.
    pub(crate) fn session_held(&self, session: SessionId, epoch: u32) -> watch::Receiver<u32> {
        let mut held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = held.entry(session).or_insert_with(|| watch::Sender::new(epoch));
        newest.send_if_modified(|newest| std::mem::replace(newest, (*newest).max(epoch)) < epoch);
        let newest = newest.subscribe();
        drop(held);
        let _ = self.shared.signals.send(Signal::SessionHeld(session, epoch));
        newest
    }

    /// The applier has seen this epoch of a session, on whatever node.
    pub(crate) fn session_moved(&self, session: SessionId, epoch: u32) {
        let held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = held.get(&session) {
            newest.send_if_modified(|newest| std::mem::replace(newest, (*newest).max(epoch)) < epoch);
        }
    }

    pub(crate) fn check(&self, word: CheckWord) {
        let _ = self.shared.signals.send(Signal::Check(word));
    }

    pub(crate) fn session_lost(&self, session: SessionId, epoch: u32) {
        let mut held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(&session).is_some_and(|newest| *newest.borrow() <= epoch) {
            held.remove(&session);
        }
        drop(held);
        let _ = self.shared.signals.send(Signal::SessionLost(session, epoch));
    }

    pub(crate) fn drain(&self) {
        let _ = self.shared.signals.send(Signal::Drain);
        self.shared.draining.send_replace(true);
    }

    pub(crate) async fn draining(&self) {
        let _ = self.shared.draining.subscribe().wait_for(|draining| *draining).await;
    }
}
