//! The one task that owns the state: gathers what is asked into frames, appends them to the log, applies what the log
//! shows, publishes it, and answers.
//!
//! One append is under way at a time, and what arrives meanwhile is the next frame: cost follows load, and no fixed
//! delay is paid. Decisions are taken when a frame is built, on a state that has applied this node's last one.

mod errands;
mod expiry;
mod frame;
mod member;
mod meters;
mod outcome;
mod publish;
mod recover;
mod release;
mod repair;
mod status;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::command::Command;
use crate::directory::Directory;
use crate::keyed::Keyed;
use crate::model::{Author, Entry, Frame, InstanceKey, LogState, NodeIncarnation, Op, Position, SessionId};
use crate::port::change_log::{AppendError, LogReadError};
use crate::port::clock::MonoMs;
use crate::port::{ChangeLog, Clock, Journal, Prober};
use crate::state::State;
use crate::watch::Hub;

use super::bootstrap::Booted;
use super::calls::{Calls, Ticket};
use super::heard::Heard;
use super::lander::{Batch, Changed, Landing, Work};
use super::link::{CheckWord, Lanes, Link, Release, Request, SessionWord, Told};
use super::overlay::Overlay;
use super::recovery::Word;
use super::{Config, Failure, Parts};

use errands::Errands;
use expiry::Expiry;
use frame::Gathering;
use member::Company;
pub(super) use publish::publish_state;
use recover::Recovering;
use repair::{Repair, Repairs};
pub(super) use status::first_status;

/// Items that may wait for a frame; beyond it requests stay in their lane, and beyond that they are shed.
const STAGED_MAX: usize = 16_384;
/// The same for renewals, which wait by themselves and go first.
const RENEWALS_STAGED_MAX: usize = 16_384;
/// Words about sessions or checks that are taken at once.
const WORDS_MAX: usize = 1_024;
/// Requests taken from a lane at once.
const TAKEN_MAX: usize = 1_024;
/// How often everybody else has a turn before a frame is built.
const GATHER_TURNS: usize = 2;
/// Frames applied at once.
const ENTRIES_MAX: usize = 64;
/// The log is away when an append has been under way for this long.
const AWAY_AFTER_MS: MonoMs = 2_000;
/// How often a log that is away is tried again.
const RETRY_MS: MonoMs = 250;
/// How often this node looks at its own state.
const TICK_MS: MonoMs = 250;
/// A batch is landed at most this often, so that changes of one row coalesce, and those of one page are written once.
const LAND_MS: MonoMs = 500;
/// While so many rows wait, less often: the more there are in a batch, the more of them share a page. Beyond the larger
/// number their memory counts for more.
const LAND_MANY: std::ops::Range<usize> = 10_000..200_000;
const LAND_MANY_MS: MonoMs = 1_000;
/// What one landing of several nodes' log takes at most, if it need not take more; when more waits, it goes on at once.
const LANDING_KEYS: usize = 65_536;

/// The applier's ends of its channels.
pub(super) struct Ends {
    pub(super) link: Link,
    pub(super) lanes: Lanes,
    pub(super) work: mpsc::Sender<Work>,
    pub(super) landings: mpsc::Receiver<Landing>,
    pub(super) checks: crate::node::checks::Feed,
    /// Where heartbeats for other nodes' leases are noted; `None`: there are no other nodes.
    pub(super) heard: Option<Arc<Heard>>,
}

/// Something that wants to be in the next frame.
#[derive(Debug)]
enum Item {
    /// A caller's command, to be decided.
    Command {
        ticket: Ticket,
        command: Command,
        tries: u32,
        /// This node has applied what the log had when it was asked: what it does not know is not there.
        is_sure: bool,
    },
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
    since_us: u64,
    progress: InFlightProgress,
    /// An earlier append of it had an unknown outcome.
    repeated: bool,
    /// What is decided again once it is applied.
    unsure: Vec<Item>,
}

enum InFlightProgress {
    Appending(BoxFuture<Result<Position, AppendError>>),
    /// It is in the log, at this position, as it is known since then; the log has not shown it yet.
    Appended {
        at: Position,
        known_since: MonoMs,
    },
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
    prober: Arc<dyn Prober>,
    config: Config,
    directory: Arc<Directory>,
    hub: Arc<Hub>,
    ends: Ends,
    state: State,
    expiry: Expiry,
    calls: Calls,
    /// Renewals that wait for a frame, before all that is new.
    renewals: VecDeque<Item>,
    staged: VecDeque<Item>,
    releasing: Vec<release::Releasing>,
    in_flight: Option<InFlight>,
    /// By origin counter: who waits for which change.
    pending: Keyed<u64, Source>,
    counter: u64,
    overlay: Overlay,
    /// Since when the log is away, and when it is tried again.
    away: Option<Away>,
    /// The log is lost, and its next life is on its way.
    recovering: Option<Recovering>,
    /// Others have other instances, or the store has, and it is found out who is right; not again before then.
    repair: Option<Repair>,
    inquire_at: MonoMs,
    repairs: Repairs,
    landed: Position,
    /// The rows that are being landed, and whether these are all there are.
    landing: Option<usize>,
    landing_whole: bool,
    /// The store has what is not so, and gets everything again.
    lands_whole: bool,
    landed_at: MonoMs,
    store_error: Option<String>,
    /// Why this node does not answer any more.
    unready: Option<String>,
    /// Those with whom it shares the log.
    company: Option<Company>,
    /// It was told to stop.
    is_stopping: bool,
    ticked_at: MonoMs,
    /// When it meant to wake.
    planned: MonoMs,
    metrics: meters::Meters,
}

#[derive(Clone, Copy)]
struct Away {
    since: MonoMs,
    retry_at: MonoMs,
}

/// What woke the applier.
enum Event {
    Read(Result<Vec<Entry>, LogReadError>),
    Recovery(Option<Word>),
    Made(Option<Box<State>>),
    Appended(Result<Position, AppendError>),
    Landed(Option<Landing>),
    Release(Release),
    Sessions(Vec<(SessionId, SessionWord)>),
    Checks(Vec<(InstanceKey, Option<CheckWord>)>),
    Told(Told),
    /// A second opinion on a failed check; `None`: there is none.
    Opinion(Option<Op>),
    Renewal(Request),
    Request(Request),
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
        let metrics = meters::Meters::new(&config);
        let expiry = Expiry::ready(me, &booted.state, &ends.checks, now);
        let company = parts.peers.clone().zip(ends.heard.clone()).map(|(peers, heard)| {
            let members = booted.state.members().map(|(node, _)| *node);
            let address = config.peer_address.clone();
            let errands = Errands::new(config.probes_max);
            Company::new(me, members, (peers, parts.clone(), errands), (address, heard), now)
        });
        let applier = Self {
            me,
            log: parts.log.clone(),
            clock: parts.clock.clone(),
            journal: parts.journal.clone(),
            prober: parts.prober.clone(),
            config,
            directory,
            hub,
            ends,
            state: booted.state,
            expiry,
            calls: Calls::default(),
            renewals: VecDeque::new(),
            staged: VecDeque::new(),
            releasing: Vec::new(),
            in_flight: None,
            pending: Keyed::default(),
            counter: 0,
            overlay: Overlay::default(),
            away: None,
            recovering: None,
            landed: booted.landed,
            repair: None,
            inquire_at: 0,
            repairs: Repairs::default(),
            landing: None,
            landing_whole: false,
            lands_whole: false,
            landed_at: now,
            store_error: None,
            unready: None,
            company,
            is_stopping: false,
            ticked_at: now,
            planned: now,
            metrics,
        };
        publish_state(&applier.state, &applier.directory, &applier.hub, applier.landed);
        applier.know_members();
        applier
    }

    /// Runs until it is told to stop, and then until what was accepted is appended, applied and landed.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(), Failure> {
        let mut reading = self.read();
        loop {
            self.gather().await;
            self.pump();
            self.land();
            if self.is_stopping && self.is_done() {
                let Some(farewell) = self.farewell() else { return Ok(()) };
                self.staged.push_back(farewell);
                continue;
            }
            match self.wait(&mut reading, &mut stop).await {
                Event::Read(entries) => {
                    self.take_entries(entries)?;
                    reading = self.read();
                }
                Event::Recovery(word) => {
                    if self.take_word(word)? {
                        reading = self.read();
                    }
                }
                Event::Made(state) => self.take_made(state),
                Event::Appended(result) => self.take_appended(result),
                Event::Landed(landing) => self.take_landing(landing)?,
                Event::Release(release) => self.release_freezes(release),
                Event::Sessions(words) => self.take_sessions(words),
                Event::Checks(words) => self.take_checks(words),
                Event::Told(told) => self.take_told(told),
                Event::Opinion(opinion) => self.take_opinion(opinion),
                Event::Renewal(request) => {
                    self.renewals.extend(opened(&mut self.calls, request));
                    self.take_renewals();
                }
                Event::Request(request) => {
                    self.staged.extend(opened(&mut self.calls, request));
                    self.take_requests();
                }
                Event::Tick => self.tick(),
                Event::Stop => {
                    self.is_stopping = true;
                    self.leave();
                }
            }
        }
    }

    /// Before a frame is built, everybody who is ready to run has a turn, so that what they ask is in this frame and
    /// not in the next: a commit costs the same for one change as for many. Where nobody is, it takes no time.
    async fn gather(&mut self) {
        if self.in_flight.is_some() || (self.staged.is_empty() && self.renewals.is_empty()) {
            return;
        }
        for _ in 0..GATHER_TURNS {
            tokio::task::yield_now().await;
            self.take_renewals();
            self.take_requests();
        }
    }

    /// Takes the renewals that wait in their lane. One request may be many commands, so each is counted when it is taken.
    fn take_renewals(&mut self) {
        for _ in 0..TAKEN_MAX {
            if self.renewals.len() >= RENEWALS_STAGED_MAX {
                return;
            }
            let Ok(request) = self.ends.lanes.renewals.try_recv() else { return };
            self.renewals.extend(opened(&mut self.calls, request));
        }
    }

    /// The same for new work.
    fn take_requests(&mut self) {
        for _ in 0..TAKEN_MAX {
            if self.staged.len() >= STAGED_MAX {
                return;
            }
            let Ok(request) = self.ends.lanes.requests.try_recv() else { return };
            self.staged.extend(opened(&mut self.calls, request));
        }
    }

    /// What happens next. Every branch is cancel-safe; order is precedence: what frees others goes first, renewals go
    /// before new work.
    async fn wait(
        &mut self,
        reading: &mut BoxFuture<Result<Vec<Entry>, LogReadError>>,
        stop: &mut oneshot::Receiver<()>,
    ) -> Event {
        let wake_at = self.wake_at();
        // Never in the past: what was due before it could be planned is no lateness of this node.
        self.planned = wake_at.max(self.clock.mono_ms());
        let takes_renewals = self.renewals.len() < RENEWALS_STAGED_MAX;
        let takes_requests = self.staged.len() < STAGED_MAX;
        let (is_stopping, is_reading) = (self.is_stopping, self.recovering.is_none());
        let appending = async {
            match self.in_flight.as_mut().map(|f| &mut f.progress) {
                Some(InFlightProgress::Appending(append)) => append.await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            entries = reading, if is_reading => Event::Read(entries),
            word = Recovering::next(&mut self.recovering) => word,
            made = Repair::made(&mut self.repair) => made,
            appended = appending => Event::Appended(appended),
            landing = self.ends.landings.recv() => Event::Landed(landing),
            Some(release) = self.ends.lanes.releases.recv() => Event::Release(release),
            Some(words) = self.ends.lanes.sessions.take(WORDS_MAX) => Event::Sessions(words),
            Some(words) = self.ends.lanes.checks.take(WORDS_MAX) => Event::Checks(words),
            Some(told) = self.ends.lanes.told.recv() => Event::Told(told),
            opinion = Errands::next(&mut self.company) => opinion,
            () = self.clock.sleep_until(wake_at) => Event::Tick,
            Some(request) = self.ends.lanes.renewals.recv(), if takes_renewals => Event::Renewal(request),
            Some(request) = self.ends.lanes.requests.recv(), if takes_requests => Event::Request(request),
            _ = stop, if !is_stopping => Event::Stop,
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
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.lose(error.to_string()),
        };
        self.metrics.unread(entries.len());
        if let Some(heard) = &self.ends.heard {
            heard.read(self.clock.mono_ms());
        }
        for entry in entries {
            let started = self.clock.mono_us();
            let old = self.swap();
            self.follow_aside(&entry);
            let applied = match self.state.apply(&entry) {
                Ok(applied) => applied,
                Err(broken) => return self.lose(broken.to_string()),
            };
            let published = self.clock.mono_us();
            if let Some(journal) = &self.journal {
                journal.record(&entry, &applied.verdicts);
            }
            match old {
                None => self.publish(&applied),
                Some(old) => self.publish_swapped(old),
            }
            let is_gone = self.hear_members(&entry.frame, &applied);
            self.metrics.applied(applied.verdicts.len(), published - started, self.clock.mono_us() - published);
            self.hear(&applied);
            self.conclude(&entry.frame, &applied);
            self.answer_released();
            if is_gone && !self.is_stopping {
                self.rejoin();
            }
        }
        Ok(())
    }

    /// What is read is no longer the log that this state came from. A node that has it to itself has nobody to ask.
    fn lose(&mut self, why: String) -> Result<(), Failure> {
        if self.company.is_none() {
            return Err(self.fail(Failure::Log(why)));
        }
        self.recover(why);
        Ok(())
    }

    /// From here on nothing this node says can be trusted: it answers nothing, and nothing expires.
    fn fail(&mut self, failure: Failure) -> Failure {
        tracing::error!(%failure, "the node stops answering");
        self.expiry.hold(expiry::Hold::NotReady);
        self.unready = Some(failure.to_string());
        self.put_status();
        failure
    }

    fn take_sessions(&mut self, words: Vec<(SessionId, SessionWord)>) {
        let now = self.clock.mono_ms();
        for (session, word) in words {
            if word.is_held {
                self.expiry.session_held(session, word.epoch, now);
            }
            if word.is_lost {
                self.expiry.session_lost(session, word.epoch, now);
            }
        }
    }

    fn take_checks(&mut self, words: Vec<(InstanceKey, Option<CheckWord>)>) {
        let now = self.clock.mono_ms();
        words.into_iter().filter_map(|(_, word)| word).for_each(|word| self.expiry.check(&word, now));
    }

    /// Hands the lander a batch when it is idle.
    fn land(&mut self) {
        let now = self.clock.mono_ms();
        let due =
            now >= self.lands_at() || self.lands_whole || self.calls.wants_store() || self.ends.link.is_draining();
        if self.recovering.is_some() || self.landing.is_some() || !due || self.landed >= self.state.position() {
            return;
        }
        let lands = self.company.as_ref().is_none_or(Company::lands);
        let Some(permit) = lands.then(|| self.ends.work.try_reserve().ok()).flatten() else { return };
        let shared = self.company.is_some().then_some(self.landed);
        let (changed, upto) = take_changed(&mut self.state, self.lands_whole, shared);
        (self.landing, self.landing_whole) = (Some(changed.len()), self.lands_whole);
        let batch = Box::new(Batch { changed, from: self.landed, upto });
        permit.send(if self.lands_whole { Work::Replace(batch) } else { Work::Land(batch) });
        self.landed_at = now;
    }

    fn lands_at(&self) -> MonoMs {
        let unlanded = self.state.unlanded();
        let wait = match () {
            () if self.company.is_some() && unlanded > LANDING_KEYS => 0,
            () if LAND_MANY.contains(&unlanded) => LAND_MANY_MS,
            () => LAND_MS,
        };
        self.landed_at + wait
    }

    /// Everything up to here is in the store, whoever has put it there.
    fn landed_up_to(&mut self, position: Position) {
        if position < self.landed || position.generation() != self.state.position().generation() {
            // Of another life of the log.
            return;
        }
        if position > self.landed {
            // Whatever the store said to this node, somebody lands.
            self.store_error = None;
        }
        self.landed = position;
        self.calls.landed(position);
        self.directory.put_landed(position);
        if self.company.is_some() {
            self.state.landed(position);
        }
    }

    fn take_landing(&mut self, landing: Option<Landing>) -> Result<(), Failure> {
        self.landing = None;
        match landing {
            Some(Landing::Done(position)) => {
                self.store_error = None;
                self.landed_whole();
                self.landed_up_to(position);
            }
            Some(Landing::Failed { rows, error }) => {
                if self.company.is_none() {
                    self.state.give_back(&rows);
                }
                self.store_error = Some(error);
            }
            Some(Landing::Led(store)) => self.led(store)?,
            Some(Landing::NotLed(why)) => self.not_led(Some(why)),
            Some(Landing::Fenced(why)) if self.company.is_some() => {
                tracing::warn!(why, "another node lands now");
                self.not_led(None);
            }
            Some(Landing::Fenced(why)) => return Err(self.fail(Failure::Fenced(why))),
            None => return Err(self.fail(Failure::Task("the lander ended".to_owned()))),
        }
        Ok(())
    }

    /// When the applier must wake by itself.
    fn wake_at(&self) -> MonoMs {
        let mut at = self.ticked_at + TICK_MS;
        // What can't be said now wakes nobody: it is said once the frame under way has come back, or the log has.
        let may_append = self.in_flight.is_none() && self.away.is_none();
        if let Some(due) = self.expiry.next_deadline(may_append) {
            at = at.min(due);
        }
        if let Some(due) = self.company.as_ref().and_then(Company::next_deadline)
            && may_append
            && self.expiry.may_show(self.state.position())
        {
            at = at.min(due);
        }
        if self.landing.is_none()
            && self.landed < self.state.position()
            && self.company.as_ref().is_none_or(Company::lands)
        {
            at = at.min(self.lands_at());
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
        self.metrics.late(now.saturating_sub(self.planned));
        self.watch_log(now);
        self.expire(self.planned, now);
        if self.expiry.pass_at().is_some_and(|at| at <= now) {
            self.own_anew(&[], now);
        }
        self.calls.give_up_on_store(now);
        if now >= self.ticked_at + TICK_MS {
            self.ticked_at = now;
            self.watch_lag(now);
            self.watch_isolation(now);
            self.watch_cut();
            self.own_anew(&[], now);
            self.take_role(now);
            self.ask_whether_lost(now);
            self.judge_repair(now);
            if self.ends.link.is_draining() {
                self.leave();
            }
            self.end_what_is_due();
            self.hub.sweep(now);
            self.put_status();
        }
    }

    /// After a stop: nothing accepted is left to do.
    fn is_done(&self) -> bool {
        let appended =
            self.renewals.is_empty() && self.staged.is_empty() && self.in_flight.is_none() && self.overlay.len() == 0;
        // Where another node lands, it lands what this one has appended.
        let lands = self.company.as_ref().is_none_or(Company::lands);
        let landed = !lands || (self.landed >= self.state.position() && self.landing.is_none());
        // A log or store that is away must not keep a node from stopping: what is acknowledged is in the log.
        (appended || self.away.is_some()) && (landed || self.store_error.is_some())
    }
}

/// A node that lands alone takes all at once. Where another may have to go on from `landed`, the state keeps it until it
/// has landed, and what one transaction writes has a bound.
fn take_changed(state: &mut State, is_whole: bool, shared: Option<Position>) -> (Changed, LogState) {
    match shared {
        Some(_) if is_whole => (Changed::Taken(state.all_rows()), state.log()),
        Some(landed) => {
            let unlanded = state.unlanded_behind(landed, LANDING_KEYS);
            let upto = unlanded.upto;
            (Changed::Kept(unlanded), upto)
        }
        None => (Changed::Taken(state.take_rows()), state.log()),
    }
}

/// The commands of a request, as items that are to be decided.
fn opened(calls: &mut Calls, request: Request) -> impl Iterator<Item = Item> + use<> {
    calls.open(request).map(|(ticket, command)| Item::Command { ticket, command, tries: 0, is_sure: false })
}
