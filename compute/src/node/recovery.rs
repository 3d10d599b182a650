//! A log that several nodes share: which one a node that starts belongs to, and what is done where it is lost.
//!
//! A log is lost when it is gone, has lost its end or its beginning, or holds what can't be read: nobody can order
//! anything by it any more. Then the next life of it is begun, by the node that is furthest: under the landing epoch it
//! writes its whole state into the store, and the next generation in the same transaction ([`Recovery::raise`]). All
//! nodes, it too, begin anew from that ([`replay`]). Who decides, and from what, is [`decide`]'s to say.
//!
//! What a node writes that does not know of the next life is in the log, and says nothing: see
//! [`ChangeLog::follow`](crate::port::ChangeLog::follow).

mod decide;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::model::{
    GENERATIONS_FIRST, LogGeneration, LogIdentity, LogState, NodeIncarnation, Position, Revision, Row, Rows,
};
use crate::port::change_log::{Found, LogReadError};
use crate::port::clock::MonoMs;
use crate::port::journal::Raised;
use crate::port::peers::PeerError;
use crate::port::store::{Epoch, LandError, Loaded, ReadError};

use super::adopt::raised;
use super::bootstrap::{Booted, StartError, replay};
use super::{Parts, first_generation, snapshot};
use decide::{Heard, Pair, Source, Step, decide, pair};

/// Who has not answered for so long is not waited for.
const ANSWER_MS: MonoMs = 5_000;
/// A log that a node which starts finds lost may be one that its broker has not found yet, or not the one of the others.
const LOST_MS: MonoMs = 15_000;
/// Whoever lives and reads a log lands more often than this.
const STILL_MS: MonoMs = 5_000;
const PAUSE: Duration = Duration::from_millis(500);
/// Between two lines that say the same.
const SAID_MS: MonoMs = 5_000;

/// The applier's end of a recovery.
pub(super) enum Word {
    /// This node begins the next life: with which state?
    Whole(oneshot::Sender<Whole>),
    /// What is waited for, in words.
    Waits(String),
    /// This is the state now; or there is none to be had.
    Over(Box<Result<Booted, StartError>>),
}

/// A state, and where it was.
pub(super) struct Whole {
    pub(super) rows: Rows,
    pub(super) log: LogState,
}

/// One node's way from a lost log to the next life of it.
pub(super) struct Recovery {
    parts: Parts,
    me: NodeIncarnation,
    identity: LogIdentity,
    /// The other members, as this node knows them.
    others: Vec<NodeIncarnation>,
    /// `None`: it has only just started.
    applied: Option<Position>,
    /// When each of them was last heard; at first, when this began.
    heard: BTreeMap<NodeIncarnation, MonoMs>,
    /// Those who refused to answer, and have not answered since.
    refused: BTreeSet<NodeIncarnation>,
    /// What the store had when it was last looked at, and since when.
    stored: Option<(Epoch, Position, MonoMs)>,
    said: Option<(String, MonoMs)>,
    words: mpsc::Sender<Word>,
}

impl Recovery {
    /// Of a node that has applied up to `at` and can read no further.
    pub(super) fn of_running(
        parts: Parts,
        me: NodeIncarnation,
        at: LogState,
        others: Vec<NodeIncarnation>,
        words: mpsc::Sender<Word>,
    ) -> Self {
        Self::new(parts, me, at.identity, Some(at.watermark), others, words)
    }

    fn new(
        parts: Parts,
        me: NodeIncarnation,
        identity: LogIdentity,
        applied: Option<Position>,
        others: Vec<NodeIncarnation>,
        words: mpsc::Sender<Word>,
    ) -> Self {
        let now = parts.clock.mono_ms();
        let heard = others.iter().map(|node| (*node, now)).collect();
        let (refused, stored) = (BTreeSet::new(), None);
        Self { parts, me, identity, others, applied, heard, refused, stored, said: None, words }
    }

    /// Until there is a state again; says it to the applier.
    pub(super) async fn run(mut self) {
        let over = loop {
            match self.turn().await {
                Ok(Some(booted)) => break Ok(booted),
                Ok(None) => {}
                Err(error) if passes(&error) => self.say(error.to_string()).await,
                Err(error) => break Err(error),
            }
            self.parts.clock.sleep(PAUSE).await;
        };
        // An applier that is gone needs none.
        let _ = self.words.send(Word::Over(Box::new(over))).await;
    }

    async fn turn(&mut self) -> Result<Option<Booted>, StartError> {
        let stored = self.stored().await?;
        let others = self.ask_all().await;
        match self.decide(stored, &others) {
            Step::Reload => self.reload(stored).await.map(Some),
            Step::Raise(source) => self.raise(stored, source).await.map(|()| None),
            Step::Wait(node, why) => {
                let who = node.map_or_else(|| "a node".to_owned(), |node| format!("node {node}"));
                self.say(format!("{who}: {why}")).await;
                Ok(None)
            }
        }
    }

    fn decide(&self, stored: LogState, others: &[(NodeIncarnation, Heard)]) -> Step {
        let patience = if self.applied.is_some() { STILL_MS } else { LOST_MS };
        let now = self.parts.clock.mono_ms();
        let is_still = self.stored.is_some_and(|(_, _, since)| now >= since + patience);
        decide(self.me, self.applied, (stored.watermark, is_still), others)
    }

    /// Remembers since when the store has what it has.
    fn look_at(&mut self, epoch: Epoch, stored: Position) {
        if self.stored.is_none_or(|(was, at, _)| (was, at) != (epoch, stored)) {
            self.stored = Some((epoch, stored, self.parts.clock.mono_ms()));
        }
    }

    /// What the store has; one that lost everything has nothing of this log.
    async fn stored(&mut self) -> Result<LogState, StartError> {
        let nothing = LogState { identity: self.identity, watermark: Position::ZERO, time_ms: 0, rolling_hash: 0 };
        let (epoch, stored) = self.parts.store.mark().await?.unwrap_or((Epoch(0), nothing));
        self.look_at(epoch, stored.watermark);
        if stored.identity != self.identity {
            return Err(StartError::Unpaired { store: stored.identity, log: self.identity });
        }
        Ok(stored)
    }

    async fn ask_all(&mut self) -> Vec<(NodeIncarnation, Heard)> {
        let Some(peers) = &self.parts.peers else { return Vec::new() };
        let answers = self.others.iter().map(|node| peers.ask(*node));
        let answers = futures::future::join_all(answers).await;
        let now = self.parts.clock.mono_ms();
        let mut all = Vec::with_capacity(answers.len());
        for (node, answer) in self.others.iter().zip(answers) {
            let heard_at = self.heard.entry(*node).or_insert(now);
            let heard = match answer {
                Ok(reply) if reply.log == self.identity => {
                    *heard_at = now;
                    self.refused.remove(node);
                    Heard::Answered { reading: reply.reading, applied: reply.applied }
                }
                Err(PeerError::Refused(_)) => {
                    self.refused.insert(*node);
                    Heard::Refused
                }
                _ if self.refused.contains(node) => Heard::Refused,
                _ if now < *heard_at + ANSWER_MS => Heard::Unsure,
                _ => Heard::Silent,
            };
            all.push((*node, heard));
        }
        all
    }

    async fn reload(&self, stored: LogState) -> Result<Booted, StartError> {
        let found = self.parts.log.look().await?;
        judge(stored, &found)?;
        let generation = generation_of(stored, &found);
        self.parts.log.follow((self.identity, generation)).await?;
        replay(&self.parts, self.parts.store.load().await?, self.identity, None).await
    }

    /// Begins the next life, unless somebody else is faster: the next turn tells.
    async fn raise(&mut self, before: LogState, source: Source) -> Result<(), StartError> {
        let Parts { store, log, .. } = &self.parts;
        let found = log.look().await?;
        match pair(self.identity, before.watermark, &found) {
            Pair::Foreign(log) => return Err(StartError::Unpaired { store: self.identity, log }),
            Pair::Later((_, log)) => return Err(StartError::Later { log, store: before.watermark.generation() }),
            Pair::Strange(records) => return Err(strange(records)),
            Pair::Whole | Pair::Lost => {}
        }
        let epoch = store.lead(self.identity).await?;
        // That was this node itself.
        if let Some((led, ..)) = &mut self.stored {
            *led = epoch;
        }
        match store.mark().await? {
            Some((there, log)) if there == epoch && log == before => {}
            None | Some(_) if before.watermark == Position::ZERO => {}
            // Somebody landed, or began the next life, since it was decided.
            _ => return Ok(()),
        }
        let Whole { mut rows, log } = match source {
            Source::State => self.state().await?,
            Source::Rows => {
                let Loaded { log, rows } = store.load().await?;
                Whole { rows, log: log.unwrap_or(before) }
            }
        };
        let known = log.watermark.max(self.applied.unwrap_or_default());
        let generation = raised(known).ok_or(StartError::Generations)?;
        let at = Position::new(generation, found.last).ok_or(StartError::Generations)?;
        remember_removals(&mut rows, at);
        let is_lifted = self.somebody_is_missing();
        if is_lifted {
            lift(&mut rows, at.last());
        }
        let (count, is_state) = (rows.len(), source == Source::State);
        store.replace(epoch, rows, LogState { watermark: at, ..log }).await?;
        metrics::counter!("thuban_log_lives_begun_total").increment(1);
        tracing::error!(
            log = %self.identity, landed = %before.watermark, applied = %log.watermark, next = %at, rows = count, is_state,
            "the change log was lost: this node has begun the next life of it"
        );
        if let Some(journal) = &self.parts.journal {
            journal.raised(Raised { log: self.identity, from: log.watermark, next: at, is_lifted });
        }
        Ok(())
    }

    /// What nobody here has seen may have been acknowledged by a node that is not here: then no revision that is shown
    /// may be one that was shown before, lest a reader goes back.
    fn somebody_is_missing(&self) -> bool {
        let now = self.parts.clock.mono_ms();
        self.applied.is_none() || self.heard.values().any(|at| now >= at + ANSWER_MS)
    }

    async fn state(&self) -> Result<Whole, StartError> {
        let (reply, whole) = oneshot::channel();
        let gone = || StartError::Stopped;
        self.words.send(Word::Whole(reply)).await.map_err(|_| gone())?;
        whole.await.map_err(|_| gone())
    }

    /// Says what is waited for, not the same all the time.
    async fn say(&mut self, why: String) {
        let now = self.parts.clock.mono_ms();
        if self.said.as_ref().is_some_and(|(said, at)| *said == why && now < at + SAID_MS) {
            return;
        }
        tracing::warn!(log = %self.identity, why, "the change log is lost; no next life of it yet");
        let _ = self.words.send(Word::Waits(why.clone())).await;
        self.said = Some((why, now));
    }
}

/// Boots a node that shares its log, whatever has become of that. While the store is away it boots from its own copy of
/// what had landed, if the log leads on from there.
pub(super) async fn boot(parts: &Parts) -> Result<Booted, StartError> {
    match boot_from_store(parts).await {
        Err(StartError::Store(ReadError::Away(why))) => {
            let Some((log, loaded)) = snapshot::newest(parts).await else { return Err(ReadError::Away(why).into()) };
            boot_from_copy(parts, log, loaded, why).await
        }
        other => other,
    }
}

async fn boot_from_copy(parts: &Parts, log: LogState, loaded: Loaded, why: String) -> Result<Booted, StartError> {
    let found = parts.log.look().await?;
    let leads_on = judge(log, &found).is_ok() && found.trimmed <= log.watermark.offset();
    if !leads_on {
        tracing::warn!(copy = %log.watermark, of = %log.identity, "the log does not lead on from this node's own copy of what had landed: it waits for the store");
        return Err(ReadError::Away(why).into());
    }
    tracing::warn!(why, copy = %log.watermark, "the store is away: this node boots from its own copy of what had landed");
    parts.log.follow((log.identity, generation_of(log, &found))).await?;
    replay(parts, loaded, log.identity, None).await
}

async fn boot_from_store(parts: &Parts) -> Result<Booted, StartError> {
    let identity = name(parts).await?;
    let mut lost: Option<(Recovery, MonoMs)> = None;
    loop {
        let mark = parts.store.mark().await?.filter(|(_, log)| log.identity == identity);
        let (epoch, stored) = mark.ok_or(StartError::Wiped)?;
        let found = parts.log.look().await?;
        match judge(stored, &found) {
            Ok(()) => {
                parts.log.follow((identity, generation_of(stored, &found))).await?;
                let loaded = parts.store.load().await?;
                // It may be of the next life by now.
                if loaded.log.is_some_and(|log| log.watermark.generation() == stored.watermark.generation()) {
                    return replay(parts, loaded, identity, None).await;
                }
            }
            Err(error @ StartError::LogLost { .. }) => {
                if lost.is_none() {
                    tracing::error!(%error, "the change log is lost, it seems; who lives and has more is asked");
                    lost = Some((begin(parts, identity).await?, parts.clock.mono_ms()));
                }
                let is_believed = |since: &MonoMs| parts.clock.mono_ms() >= since + LOST_MS;
                if let Some((recovery, since)) = &mut lost {
                    recovery.look_at(epoch, stored.watermark);
                    let others = recovery.ask_all().await;
                    match recovery.decide(stored, &others) {
                        Step::Raise(source) if is_believed(since) => match recovery.raise(stored, source).await {
                            Err(error) if passes(&error) => recovery.say(error.to_string()).await,
                            other => other?,
                        },
                        Step::Wait(Some(node), why) => recovery.say(format!("node {node}: {why}")).await,
                        Step::Wait(None, why) => recovery.say(why.to_owned()).await,
                        Step::Raise(_) | Step::Reload => {}
                    }
                }
                parts.clock.sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        }
        lost = None;
    }
}

/// Somebody has said that the shared log is lost, whatever is there: the rows are the state, and its next life begins.
pub async fn begin_next_life(parts: &Parts) -> Result<(), StartError> {
    let Some((_, stored)) = parts.store.mark().await? else { return Ok(()) };
    begin(parts, stored.identity).await?.raise(stored, Source::Rows).await
}

/// A node that starts knows of the others what has landed of them.
async fn begin(parts: &Parts, identity: LogIdentity) -> Result<Recovery, StartError> {
    let me = NodeIncarnation(parts.chance.number());
    let members = parts.store.load().await?.rows.members.into_iter().filter_map(|row| match row {
        Row::Put(node, member) if !member.gone => Some((node, member.peer)),
        _ => None,
    });
    let members: Vec<_> = members.collect();
    if let Some(peers) = &parts.peers {
        peers.know(me, &members);
    }
    let others = members.into_iter().map(|(node, _)| node).collect();
    // Nobody reads these words: it is the log's lines that count.
    Ok(Recovery::new(parts.clone(), me, identity, None, others, mpsc::channel(1).0))
}

/// Which log the store is bound to; one that is bound to none is bound now.
async fn name(parts: &Parts) -> Result<LogIdentity, StartError> {
    loop {
        if let Some((_, log)) = parts.store.mark().await? {
            return Ok(log.identity);
        }
        let identity = match parts.log.look().await? {
            Found { lives: None, trimmed, last } if last > trimmed => return Err(strange(last - trimmed)),
            Found { lives: None, .. } => LogIdentity(parts.chance.bytes()),
            // All that ever was in it is still there: the rows are made of it again.
            found @ Found { trimmed: 0, lives: Some((first, last)), .. }
                if first.0 == last.0 && has_beginning(&found) =>
            {
                last.0
            }
            Found { lives: Some((_, (log, _))), .. } => return Err(StartError::Headless { log }),
        };
        match parts.store.lead(identity).await {
            // Another node was first, and has named it.
            Ok(_) | Err(LandError::Rejected(_) | LandError::Fenced { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn judge(stored: LogState, found: &Found) -> Result<(), StartError> {
    let landed = stored.watermark;
    match pair(stored.identity, landed, found) {
        Pair::Whole if landed.generation() == 0 && !has_beginning(found) => {
            Err(StartError::Headless { log: stored.identity })
        }
        Pair::Whole => Ok(()),
        Pair::Lost => {
            let last = Position::new(landed.generation(), found.last).unwrap_or_default();
            Err(StartError::LogLost { landed, last })
        }
        Pair::Foreign(log) => Err(StartError::Unpaired { store: stored.identity, log }),
        Pair::Later((_, log)) => Err(StartError::Later { log, store: landed.generation() }),
        Pair::Strange(records) => Err(strange(records)),
    }
}

/// A later life of a log begins with the rows that were before it: without them its frames are a part of the registry,
/// however many they are.
fn has_beginning(found: &Found) -> bool {
    found.lives.is_none_or(|((_, first), _)| GENERATIONS_FIRST.contains(&first))
}

/// Whoever wrote those wants them: no log is begun among them.
fn strange(records: u64) -> StartError {
    LogReadError::Unusable(format!("it holds {records} records, and none of them is a frame of any node")).into()
}

/// The life of the log that the store belongs to. Where nothing has landed, all nodes that know the log's name know its
/// first generation.
fn generation_of(stored: LogState, found: &Found) -> LogGeneration {
    match (stored.watermark.generation(), found.lives) {
        (0, Some((_, (_, generation)))) => generation,
        (0, None) => first_generation(u64::from_le_bytes(std::array::from_fn(|at| stored.identity.0[at]))),
        (generation, _) => generation,
    }
}

/// What was removed is remembered in the new life for as long as if it had been removed at its beginning, so that nobody
/// who asks late brings it back.
fn remember_removals(rows: &mut Rows, at: Position) {
    for row in &mut rows.tombstones {
        if let Row::Put(_, tombstone) = row {
            tombstone.revision = at.at(0);
        }
    }
}

/// All services are shown as of `at`, which is above all that was ever shown of them.
fn lift(rows: &mut Rows, at: Revision) {
    for row in &mut rows.services {
        if let Row::Put(_, service) = row {
            service.revision = at;
        }
    }
}

/// Whether what was met may pass, or is another node's doing.
fn passes(error: &StartError) -> bool {
    !matches!(
        error,
        StartError::Unpaired { .. }
            | StartError::Later { .. }
            | StartError::Generations
            | StartError::Rows(_)
            | StartError::Stopped
            | StartError::Store(crate::port::store::ReadError::Unusable(_))
    )
}
