//! The one task that owns the state: gathers what is asked into frames, appends them to the log, applies what the log
//! shows, publishes it, and answers.
//!
//! One append is under way at a time, and what arrives meanwhile is the next frame: cost follows load, and no fixed
//! delay is paid. Decisions are taken when a frame is built, on a state that has applied this node's last one.

mod expiry;
mod frame;
mod outcome;
mod publish;
mod status;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::command::Command;
use crate::directory::Directory;
use crate::model::{Author, Entry, Frame, NodeIncarnation, Op, Position};
use crate::port::change_log::{AppendError, LogReadError};
use crate::port::clock::MonoMs;
use crate::port::{ChangeLog, Clock, Journal};
use crate::state::State;
use crate::watch::Hub;

use super::bootstrap::Booted;
use super::calls::{Calls, Ticket};
use super::lander::{Batch, Landing};
use super::link::{Lanes, Link, Request, Signal};
use super::overlay::Overlay;
use super::{Config, Failure, Parts};

use expiry::Expiry;
pub(super) use status::first_status;

/// Items that may wait for a frame; beyond it requests stay in their lane, and beyond that they are shed.
const STAGED_MAX: usize = 16_384;
/// Requests taken from a lane at once.
const TAKEN_MAX: usize = 1_024;
/// Frames applied at once.
const ENTRIES_MAX: usize = 64;
/// The log is away when an append has been under way for this long.
const AWAY_AFTER_MS: MonoMs = 2_000;
/// How often a log that is away is tried again.
const RETRY_MS: MonoMs = 250;
/// How often this node looks at its own state.
const TICK_MS: MonoMs = 250;
/// A batch is landed at most this often, so that changes of one row coalesce.
const LAND_MS: MonoMs = 50;

/// The applier's ends of its channels.
pub(super) struct Ends {
    pub(super) link: Link,
    pub(super) lanes: Lanes,
    pub(super) batches: mpsc::Sender<Batch>,
    pub(super) landings: mpsc::Receiver<Landing>,
    pub(super) checks: crate::node::checks::Feed,
}

/// Something that wants to be in the next frame.
#[derive(Debug)]
enum Item {
    /// A caller's command, to be decided.
    Command { ticket: Ticket, command: Command, tries: u32 },
    /// This node's own word: about a lease, a freeze, an end that has come.
    Own { op: Op, author: Author },
}

/// Who is told what became of a change.
#[derive(Debug)]
enum Source {
    Caller {
        ticket: Ticket,
        command: Command,
        created: bool,
        tries: u32,
    },
    /// The overlay shows it until it is applied.
    Overlay,
    Own,
}

/// A frame whose fate is not known yet.
struct InFlight {
    frame: Arc<Frame>,
    since: MonoMs,
    progress: InFlightProgress,
    /// An earlier append of it had an unknown outcome.
    repeated: bool,
}

enum InFlightProgress {
    Appending(BoxFuture<Result<Position, AppendError>>),
    /// It is in the log; the log has not shown it yet.
    Appended,
    /// It may be in the log; it is appended again, under the same origins, until it is seen.
    Unknown {
        retry_at: MonoMs,
    },
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(super) struct Applier {
    me: NodeIncarnation,
    log: Arc<dyn ChangeLog>,
    clock: Arc<dyn Clock>,
    journal: Option<Arc<dyn Journal>>,
    config: Config,
    directory: Arc<Directory>,
    hub: Arc<Hub>,
    ends: Ends,
    state: State,
    expiry: Expiry,
    calls: Calls,
    staged: VecDeque<Item>,
    in_flight: Option<InFlight>,
    /// By origin counter: who waits for which change.
    pending: HashMap<u64, Source>,
    counter: u64,
    overlay: Overlay,
    /// Since when the log is away, and when it is tried again.
    away: Option<Away>,
    landed: Position,
    landing: bool,
    landed_at: MonoMs,
    store_error: Option<String>,
    draining: bool,
    ticked_at: MonoMs,
    /// When it meant to wake.
    planned: MonoMs,
    metrics: status::Metrics,
}

#[derive(Clone, Copy)]
struct Away {
    since: MonoMs,
    retry_at: MonoMs,
}

/// What woke the applier.
enum Event {
    Read(Result<Vec<Entry>, LogReadError>),
    Appended(Result<Position, AppendError>),
    Landed(Option<Landing>),
    Signal(Signal),
    Renewals(Vec<Request>),
    Requests(Vec<Request>),
    Tick,
    Stop,
}

impl Applier {
    pub(super) fn new(
        me: NodeIncarnation,
        parts: &Parts,
        config: Config,
        booted: Booted,
        directory: Arc<Directory>,
        hub: Arc<Hub>,
        ends: Ends,
    ) -> Self {
        let now = parts.clock.mono_ms();
        let expiry = Expiry::ready(me, &booted.state, &ends.checks, now);
        let mut applier = Self {
            me,
            log: parts.log.clone(),
            clock: parts.clock.clone(),
            journal: parts.journal.clone(),
            config,
            directory,
            hub,
            ends,
            state: booted.state,
            expiry,
            calls: Calls::default(),
            staged: VecDeque::new(),
            in_flight: None,
            pending: HashMap::new(),
            counter: 0,
            overlay: Overlay::default(),
            away: None,
            landed: booted.landed,
            landing: false,
            landed_at: now,
            store_error: None,
            draining: false,
            ticked_at: now,
            planned: now,
            metrics: status::Metrics::new(),
        };
        applier.publish_all();
        applier
    }

    /// Runs until it is told to stop, and then until what was accepted is appended, applied and landed.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(), Failure> {
        let mut stopping = false;
        let mut reading = self.read();
        loop {
            self.pump();
            self.land();
            if stopping && self.is_done() {
                return Ok(());
            }
            match self.wait(&mut reading, &mut stop, stopping).await {
                Event::Read(entries) => {
                    self.take_entries(entries)?;
                    reading = self.read();
                }
                Event::Appended(result) => self.take_appended(result),
                Event::Landed(landing) => self.take_landing(landing)?,
                Event::Signal(signal) => self.take_signal(signal),
                Event::Renewals(requests) | Event::Requests(requests) => self.take_requests(requests),
                Event::Tick => self.tick(),
                Event::Stop => stopping = true,
            }
        }
    }

    /// What happens next. Every branch is cancel-safe; order is precedence: what frees others goes first, renewals go
    /// before new work.
    async fn wait(
        &mut self,
        reading: &mut BoxFuture<Result<Vec<Entry>, LogReadError>>,
        stop: &mut oneshot::Receiver<()>,
        stopping: bool,
    ) -> Event {
        let wake_at = self.wake_at();
        // Never in the past: what was due before it could be planned is no lateness of this node.
        self.planned = wake_at.max(self.clock.mono_ms());
        let takes = self.staged.len() < STAGED_MAX;
        let appending = async {
            match self.in_flight.as_mut().map(|f| &mut f.progress) {
                Some(InFlightProgress::Appending(append)) => append.await,
                _ => std::future::pending().await,
            }
        };
        let (mut renewals, mut requests) = (Vec::new(), Vec::new());
        tokio::select! {
            biased;
            entries = reading => Event::Read(entries),
            appended = appending => Event::Appended(appended),
            landing = self.ends.landings.recv() => Event::Landed(landing),
            Some(signal) = self.ends.lanes.signals.recv() => Event::Signal(signal),
            () = self.clock.sleep_until(wake_at) => Event::Tick,
            _ = self.ends.lanes.renewals.recv_many(&mut renewals, TAKEN_MAX), if takes => Event::Renewals(renewals),
            _ = self.ends.lanes.requests.recv_many(&mut requests, TAKEN_MAX), if takes => Event::Requests(requests),
            _ = stop, if !stopping => Event::Stop,
        }
    }

    fn read(&self) -> BoxFuture<Result<Vec<Entry>, LogReadError>> {
        let (log, after, clock) = (self.log.clone(), self.state.position(), self.clock.clone());
        Box::pin(async move {
            loop {
                match log.read(after, ENTRIES_MAX).await {
                    Err(LogReadError::Away(why)) => {
                        tracing::debug!(why, "the log does not answer");
                        clock.sleep(std::time::Duration::from_millis(RETRY_MS)).await;
                    }
                    other => return other,
                }
            }
        })
    }

    fn take_entries(&mut self, entries: Result<Vec<Entry>, LogReadError>) -> Result<(), Failure> {
        let entries = entries.map_err(|error| self.fail(Failure::Log(error.to_string())))?;
        for entry in entries {
            let applied = self.state.apply(&entry).map_err(|broken| self.fail(Failure::Log(broken.to_string())))?;
            if let Some(journal) = &self.journal {
                journal.record(&entry, &applied.verdicts);
            }
            self.metrics.applied(applied.verdicts.len());
            self.publish(&applied);
            self.hear(&applied);
            self.conclude(&entry.frame, &applied);
        }
        Ok(())
    }

    /// From here on nothing this node says can be trusted.
    fn fail(&self, failure: Failure) -> Failure {
        tracing::error!(%failure, "the node stops answering");
        let why = failure.to_string();
        self.ends.link.put_status(|status| status.readiness = super::Readiness::NotReady(why));
        failure
    }

    fn take_requests(&mut self, requests: Vec<Request>) {
        for request in requests {
            let items = self.calls.open(request);
            self.staged.extend(items.map(|(ticket, command)| Item::Command { ticket, command, tries: 0 }));
        }
    }

    fn take_signal(&mut self, signal: Signal) {
        match signal {
            Signal::SessionHeld(session, epoch) => self.expiry.session_held(session, epoch, self.clock.mono_ms()),
            Signal::SessionLost(session, epoch) => self.expiry.session_lost(session, epoch, self.clock.mono_ms()),
            Signal::Check(word) => self.expiry.check(&word, self.clock.mono_ms()),
            Signal::ReleaseFreezes(caller, reply) => {
                let released = self.release_freezes(&caller.author);
                let _ = reply.send(released);
            }
            Signal::Drain => {
                self.draining = true;
                self.put_status();
            }
        }
    }

    /// Hands the lander a batch when it is idle.
    fn land(&mut self) {
        let now = self.clock.mono_ms();
        let due = now >= self.landed_at + LAND_MS || self.calls.wants_store() || self.draining;
        if self.landing || !due || self.landed == self.state.position() {
            return;
        }
        let Ok(permit) = self.ends.batches.try_reserve() else { return };
        permit.send(Batch { rows: self.state.take_rows(), from: self.landed, upto: self.state.log() });
        self.landing = true;
        self.landed_at = now;
    }

    fn take_landing(&mut self, landing: Option<Landing>) -> Result<(), Failure> {
        self.landing = false;
        match landing {
            Some(Landing::Done(position)) => {
                self.landed = position;
                self.store_error = None;
                self.calls.landed(position);
                self.directory.put_landed(position);
            }
            Some(Landing::Failed { rows, error }) => {
                self.state.give_back(&rows);
                self.store_error = Some(error);
            }
            Some(Landing::Fenced(why)) => return Err(self.fail(Failure::Fenced(why))),
            None => return Err(self.fail(Failure::Task("the lander ended".to_owned()))),
        }
        Ok(())
    }

    /// When the applier must wake by itself.
    fn wake_at(&self) -> MonoMs {
        let mut at = self.ticked_at + TICK_MS;
        if let Some(due) = self.expiry.next_deadline() {
            at = at.min(due);
        }
        if !self.landing && self.landed != self.state.position() {
            at = at.min(self.landed_at + LAND_MS);
        }
        match self.in_flight.as_ref().map(|f| (&f.progress, f.since)) {
            Some((InFlightProgress::Unknown { retry_at }, _)) => at = at.min(*retry_at),
            Some((_, since)) if self.away.is_none() => at = at.min(since + AWAY_AFTER_MS),
            _ => {}
        }
        at
    }

    /// Time has passed: leases may have lapsed, ends have come, callers waited long enough, the log may be back.
    fn tick(&mut self) {
        let now = self.clock.mono_ms();
        self.watch_log(now);
        self.expire(self.planned, now);
        self.calls.give_up_on_store(now);
        if now >= self.ticked_at + TICK_MS {
            self.ticked_at = now;
            self.end_what_is_due();
            self.hub.sweep(now);
            self.put_status();
        }
    }

    /// After a stop: nothing accepted is left to do.
    fn is_done(&self) -> bool {
        let appended = self.staged.is_empty() && self.in_flight.is_none() && self.overlay.len() == 0;
        let landed = self.landed == self.state.position() && !self.landing;
        // A log or store that is away must not keep a node from stopping: what is acknowledged is in the log.
        (appended || self.away.is_some()) && (landed || self.store_error.is_some())
    }
}
