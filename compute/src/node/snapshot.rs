//! A node's own copy of what has landed, to boot from while the store is away.
//!
//! It is taken from the store, not from the state: the applier is not held up by it, and what is in it has landed, so
//! that a node which comes from it can land behind it. The log keeps what is behind the oldest copy that counts, see
//! [`lander`](super::lander).

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Digest, LogState, Row};
use crate::port::store::{LandError, Loaded, PresenceStore, ReadError};
use crate::port::{Chance, Clock};

use super::Parts;
use super::link::{Link, Told};

/// From one copy to the next. A log is not trimmed of what is behind a copy three times as old.
pub(super) const EVERY: Duration = Duration::from_secs(300);
/// From the start to the first.
const FIRST: Duration = Duration::from_secs(30);
/// By so much, at most, each waits longer for its first copy and less for the next: nodes that were started together do
/// not all read the whole store in the same second.
const APART: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the copy could not be written: {0}")]
    Write(#[from] LandError),
}

pub(super) struct Keeper {
    store: Arc<dyn PresenceStore>,
    own: Arc<dyn PresenceStore>,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    /// To whom it says what was in the store.
    link: Link,
}

impl Keeper {
    /// `None`: this node keeps no copy.
    pub(super) fn of(parts: &Parts, link: &Link) -> Option<Self> {
        let own = parts.snapshot.clone()?;
        let Parts { store, clock, chance, .. } = parts;
        Some(Self { store: store.clone(), own, clock: clock.clone(), chance: chance.clone(), link: link.clone() })
    }

    /// Until it is aborted.
    pub(super) async fn run(self: Arc<Self>) {
        let apart = || Duration::from_millis(self.chance.below(APART.as_millis() as u64));
        self.clock.sleep(FIRST + apart()).await;
        loop {
            self.keep().await;
            self.clock.sleep(EVERY - apart()).await;
        }
    }

    /// Takes a copy now; a store that is away has given one before.
    pub(super) async fn keep(&self) {
        let started = self.clock.mono_ms();
        match self.copy().await {
            Ok(Some((log, rows))) => {
                let ms = self.clock.mono_ms() - started;
                metrics::gauge!("thuban_snapshot_rows").set(rows as f64);
                tracing::info!(watermark = %log.watermark, rows, ms, "kept a copy of what has landed");
            }
            Ok(None) => {}
            Err(error) => {
                metrics::counter!("thuban_snapshot_failures_total").increment(1);
                tracing::warn!(%error, "no copy of what has landed was kept; the one before stands");
            }
        }
    }

    async fn copy(&self) -> Result<Option<(LogState, usize)>, Failed> {
        let Loaded { log: Some(log), rows } = self.store.load().await? else { return Ok(None) };
        let bound = self.own.mark().await?.map_or(log.identity, |(_, bound)| bound.identity);
        let epoch = self.own.lead(bound).await?;
        let count = rows.len();
        let put = rows.instances.iter().filter_map(|row| match row {
            Row::Put(_, instance) => Some(instance.digest()),
            Row::Delete(_) => None,
        });
        let digest = put.fold(Digest::default(), Digest::plus);
        self.link.tell(Told::Rows(log.watermark, digest));
        self.own.replace(epoch, rows, log).await?;
        Ok(Some((log, count)))
    }
}

/// What the copy holds; `None`, and it is said why: there is none that can be used.
pub(super) async fn newest(parts: &Parts) -> Option<(LogState, Loaded)> {
    let own = parts.snapshot.as_ref()?;
    match own.load().await {
        Ok(Loaded { log: Some(log), rows }) => Some((log, Loaded { log: Some(log), rows })),
        Ok(Loaded { log: None, .. }) => None,
        Err(error) => {
            tracing::warn!(%error, "this node's own copy can't be read, and is discarded");
            None
        }
    }
}
