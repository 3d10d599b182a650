//! What a counted node stands on: nothing that takes time, and nothing that takes chance.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use compute::model::{Check, Entry, Frame, LogGeneration, LogIdentity, Position};
use compute::port::change_log::{AppendError, Bounds, ChangeLog, LogReadError};
use compute::port::clock::{Clock, MonoMs};
use compute::port::prober::{Probed, Prober};
use tokio::sync::Notify;

pub(crate) const IDENTITY: LogIdentity = LogIdentity([7; 16]);
/// Of the one life that the log has.
const GENERATION: LogGeneration = 1;
const BEGUN_MS: u64 = 1_700_000_000_000;

/// Time that passes when it is told to. That of the machine passes faster where a program is interpreted, and with it
/// would what is done now and then.
#[derive(Default)]
pub(crate) struct StillClock {
    now_ms: AtomicU64,
    moved: Notify,
}

impl StillClock {
    pub(crate) fn advance(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

impl Clock for StillClock {
    fn mono_ms(&self) -> MonoMs {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn wall_ms(&self) -> u64 {
        BEGUN_MS + self.mono_ms()
    }

    fn sleep_until(&self, until: MonoMs) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            loop {
                // Before the look, so that no step behind it is missed.
                let moved = self.moved.notified();
                if self.mono_ms() >= until {
                    return;
                }
                moved.await;
            }
        })
    }
}

/// A log that shows its one reader what was appended, and then forgets it.
#[derive(Default)]
pub(crate) struct PassingLog {
    kept: Mutex<Kept>,
    grown: Notify,
}

#[derive(Default)]
struct Kept {
    last: u64,
    unread: VecDeque<Entry>,
}

pub(crate) fn position(offset: u64) -> Position {
    Position::new(GENERATION, offset).expect("a small offset")
}

impl PassingLog {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ChangeLog for PassingLog {
    async fn bounds(&self) -> Result<Bounds, LogReadError> {
        let last = self.kept().last;
        let last = if last == 0 { Position::ZERO } else { position(last) };
        Ok(Bounds { identity: IDENTITY, trimmed: Position::ZERO, last })
    }

    async fn append(&self, frame: Arc<Frame>) -> Result<Position, AppendError> {
        let mut kept = self.kept();
        kept.last += 1;
        let position = position(kept.last);
        kept.unread.push_back(Entry { position, frame, checksum: 0 });
        drop(kept);
        self.grown.notify_one();
        Ok(position)
    }

    async fn read(&self, _: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        loop {
            {
                let mut kept = self.kept();
                if !kept.unread.is_empty() {
                    let count = kept.unread.len().min(max);
                    return Ok(kept.unread.drain(..count).collect());
                }
            }
            self.grown.notified().await;
        }
    }

    async fn trim(&self, _: Position) -> Result<(), AppendError> {
        Ok(())
    }
}

/// No lease here is checked.
pub(crate) struct NoProber;

#[async_trait]
impl Prober for NoProber {
    async fn probe(&self, _: &str, _: u16, _: &Check) -> Probed {
        Probed::Success
    }
}
