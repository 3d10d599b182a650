//! Presence lands in the store: coalesced, fenced write-behind, with the log's watermark in the same
//! transaction. The applier hands over one batch at a time; it keeps gathering while this one is written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{LogIdentity, LogState, Position, Rows};
use crate::port::clock::MonoMs;
use crate::port::store::{Epoch, LandError, PresenceStore};
use crate::port::{ChangeLog, Clock};
use crate::state::Unlanded;

use super::snapshot::EVERY;

/// Frames kept behind the watermark.
const TRIM_SLACK: u64 = 1_024;
/// Where nodes boot from copies of their own: all frames behind what had landed so long ago, but no more than so many.
const COPY_AGE_MS: MonoMs = 3 * EVERY.as_millis() as MonoMs;
const COPY_FRAMES_MAX: u64 = 1 << 20;
/// Of what had landed when, one note is taken in this time.
const NOTE_MS: MonoMs = 10_000;
/// The log is trimmed when this many frames can go at once: trimming each would cost a write each.
const TRIM_STEP: u64 = 4_096;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What the applier asks of the lander.
pub(super) enum Work {
    /// Take the landing role: where several nodes share the store, one lands.
    Lead,
    Land(Box<Batch>),
    /// What the store has becomes this.
    Replace(Box<Batch>),
}

/// One contiguous range of the log.
pub(super) struct Batch {
    pub(super) changed: Changed,
    pub(super) from: Position,
    pub(super) upto: LogState,
}

/// What changed in it.
pub(super) enum Changed {
    /// The values at its end; they come back if they are not written.
    Taken(Rows),
    /// What the state keeps until it hears that it is in the store.
    Kept(Unlanded),
}

impl Changed {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Taken(rows) => rows.len(),
            Self::Kept(unlanded) => unlanded.len(),
        }
    }

    fn rows(self) -> Rows {
        match self {
            Self::Taken(rows) => rows,
            Self::Kept(unlanded) => unlanded.rows(),
        }
    }
}

pub(super) enum Landing {
    /// This node lands from now on; what the store has.
    Led(LogState),
    /// The role could not be taken, or not for certain.
    NotLed(String),
    /// Everything up to here is in the store.
    Done(Position),
    /// The batch was not written; its rows come back, to be landed with what has changed since.
    Failed { rows: Box<Rows>, error: String },
    /// Another process lands in this store: this one must not.
    Fenced(String),
}

/// A batch with its values at its end.
struct Coalesced {
    rows: Rows,
    from: Position,
    upto: LogState,
}

pub(super) struct Lander {
    pub(super) store: Arc<dyn PresenceStore>,
    pub(super) log: Arc<dyn ChangeLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) identity: LogIdentity,
    /// `None`: another node lands.
    pub(super) epoch: Option<Epoch>,
    pub(super) trimmed: Position,
    /// Nodes have copies of what had landed some time ago, and the log must lead on from them.
    pub(super) keeps_for_copies: bool,
    /// What had landed when.
    pub(super) landed_at: VecDeque<(MonoMs, Position)>,
}

impl Lander {
    /// Does what comes in, one after the other, until the applier is gone.
    pub(super) async fn run(mut self, mut work: mpsc::Receiver<Work>, landings: mpsc::Sender<Landing>) {
        let mut pause = RETRY_FIRST;
        let kept = metrics::gauge!("thuban_log_kept_frames");
        while let Some(work) = work.recv().await {
            let landing = match work {
                Work::Lead => self.lead().await,
                Work::Land(batch) => self.land(*batch, false).await,
                Work::Replace(batch) => self.land(*batch, true).await,
            };
            match &landing {
                Landing::Led(log) => tracing::info!(landed = %log.watermark, "this node lands in the store"),
                Landing::NotLed(error) => {
                    tracing::warn!(error, retry_ms = pause.as_millis() as u64, "could not take the landing role");
                    self.clock.sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Landing::Done(position) => {
                    if pause > RETRY_FIRST {
                        tracing::info!(landed = %position, "the store takes rows again");
                    }
                    pause = RETRY_FIRST;
                    self.trim(*position).await;
                    kept.set(position.offset().saturating_sub(self.trimmed.offset()) as f64);
                }
                Landing::Failed { error, .. } => {
                    tracing::warn!(error, retry_ms = pause.as_millis() as u64, "landing failed");
                    self.clock.sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Landing::Fenced(why) => {
                    self.epoch = None;
                    tracing::warn!(why, "another process lands in this store");
                }
            }
            if landings.send(landing).await.is_err() {
                return;
            }
        }
    }

    /// Raises the store's epoch, which fences whoever landed before, and asks what there is.
    async fn lead(&mut self) -> Landing {
        self.epoch = None;
        let epoch = match self.store.lead(self.identity).await {
            Ok(epoch) => epoch,
            Err(error) => return Landing::NotLed(error.to_string()),
        };
        match self.store.mark().await {
            Ok(Some((there, log))) if there == epoch && log.identity == self.identity => {
                self.epoch = Some(epoch);
                Landing::Led(log)
            }
            Ok(_) => Landing::NotLed("another node took the role at the same time".to_owned()),
            Err(error) => Landing::NotLed(error.to_string()),
        }
    }

    async fn land(&self, batch: Batch, is_whole: bool) -> Landing {
        let Some(epoch) = self.epoch else { return Landing::Fenced("this node does not land".to_owned()) };
        let Batch { changed, from, upto } = batch;
        let batch = Coalesced { rows: changed.rows(), from, upto };
        let count = batch.rows.len();
        let started = self.clock.mono_ms();
        let landed = match is_whole {
            true => self.store.replace(epoch, batch.rows.clone(), batch.upto).await,
            false => self.land_from(epoch, &batch).await,
        };
        metrics::histogram!("thuban_landing_seconds").record((self.clock.mono_ms() - started) as f64 / 1000.0);
        match landed {
            Ok(()) => {
                metrics::counter!("thuban_landed_rows_total").increment(count as u64);
                Landing::Done(batch.upto.watermark)
            }
            Err(LandError::Fenced { epoch: there, watermark })
                if there == epoch && watermark == batch.upto.watermark =>
            {
                // An attempt whose outcome was unknown had landed after all.
                Landing::Done(watermark)
            }
            Err(fenced @ LandError::Fenced { .. }) => Landing::Fenced(fenced.to_string()),
            Err(LandError::Rejected(error)) => Landing::Failed { rows: Box::new(batch.rows), error },
            Err(LandError::Unknown(error)) => self.reread(epoch, batch, error).await,
        }
    }

    /// An epoch has one lander: where the store is at this one's epoch and part of the way, an attempt of its own had
    /// landed whose outcome it never learned. Its rows came back and are in this batch, which goes on from there.
    async fn land_from(&self, epoch: Epoch, batch: &Coalesced) -> Result<(), LandError> {
        let mut from = batch.from;
        loop {
            match self.store.land(epoch, batch.rows.clone(), from, batch.upto).await {
                Err(LandError::Fenced { epoch: there, watermark })
                    if there == epoch && from < watermark && watermark < batch.upto.watermark =>
                {
                    from = watermark;
                }
                other => return other,
            }
        }
    }

    /// After an unknown outcome the store's mark tells what happened.
    async fn reread(&self, epoch: Epoch, batch: Coalesced, error: String) -> Landing {
        match self.store.mark().await {
            Ok(Some((there, log))) if log.identity != self.identity || there != epoch => {
                Landing::Fenced(format!("the store is at epoch {} and watermark {}", there.0, log.watermark))
            }
            Ok(Some((_, log))) if log.watermark == batch.upto.watermark => Landing::Done(log.watermark),
            _ => Landing::Failed { rows: Box::new(batch.rows), error },
        }
    }

    /// Up to where the log may be forgotten.
    fn slack(&mut self, landed: Position) -> Position {
        if !self.keeps_for_copies {
            return landed.back(TRIM_SLACK);
        }
        let now = self.clock.mono_ms();
        if self.landed_at.back().is_none_or(|(at, _)| now >= at + NOTE_MS) {
            self.landed_at.push_back((now, landed));
        }
        // The newest that is old enough.
        while self.landed_at.get(1).is_some_and(|(at, _)| now >= at + COPY_AGE_MS) {
            self.landed_at.pop_front();
        }
        let old = self.landed_at.front().filter(|(at, _)| now >= at + COPY_AGE_MS).map(|(_, position)| *position);
        let old = old.filter(|old| old.generation() == landed.generation());
        old.unwrap_or(landed.back(u64::MAX)).max(landed.back(COPY_FRAMES_MAX)).min(landed.back(TRIM_SLACK))
    }

    async fn trim(&mut self, landed: Position) {
        let upto = self.slack(landed);
        if self.trimmed.generation() != landed.generation() {
            self.trimmed = landed.back(u64::MAX);
        }
        if upto.offset() < self.trimmed.offset() + TRIM_STEP {
            return;
        }
        match self.log.trim(upto).await {
            Ok(()) => self.trimmed = upto,
            Err(error) => tracing::warn!(%error, "the log could not be trimmed"),
        }
    }
}
