//! What every change log must do, whatever it is made of.

mod frames;
mod lives;
mod reading;
mod trimming;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::model::{Entry, LogIdentity, Position};
use crate::port::ChangeLog;

pub use frames::{frame, heavy_frame, wide_frame};
pub use lives::lives;

/// Where the suite opens logs. A log keeps its name, identity and frames from one opening to the next.
#[async_trait]
pub trait Site: Send + Sync {
    /// Opens the log of this name; there is none of it at first, and then a new one is made.
    async fn open(&self, name: &str) -> Arc<dyn ChangeLog>;

    /// Closes it in order. Nobody uses what was opened before any more.
    async fn close(&self, name: &str);
}

/// A rule that a log broke, and how it showed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {saw}")]
pub struct Violation {
    pub rule: &'static str,
    pub saw: String,
}

/// Far above what any rule takes; a log that keeps a reader waiting is caught by it.
const RULE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a read that must wait is watched.
const WAIT_WATCHED: Duration = Duration::from_millis(20);

/// What a rule found: nothing, or what was wrong.
type Outcome = Result<(), String>;

/// Runs every rule, each on a log of its own.
pub async fn suite(site: &dyn Site) -> Result<(), Violation> {
    let rules: [(&'static str, BoxFuture<'_, Outcome>); 16] = [
        ("a new log is empty, and its readers wait", Box::pin(reading::new_log(site))),
        ("frames are read as they were written, in order, each once", Box::pin(reading::order(site))),
        ("a read is woken by an append", Box::pin(reading::wakes(site))),
        ("a dropped read takes nothing with it", Box::pin(reading::cancel_safe(site))),
        ("many readers see the same", Box::pin(reading::many_readers(site))),
        ("a position that the log does not reach is unusable", Box::pin(reading::beyond_the_end(site))),
        ("everything is there after a reopen", Box::pin(reading::reopen(site))),
        ("the same bytes have the same checksum, others another", Box::pin(writing::checksums(site))),
        ("concurrent appends each get their own place", Box::pin(writing::concurrent(site))),
        ("a dropped append is whole, once, or not there", Box::pin(writing::dropped(site))),
        ("a frame beyond the limits is refused whole", Box::pin(writing::limits(site))),
        ("a frame of another log is refused", Box::pin(writing::foreign(site))),
        ("what is trimmed says so", Box::pin(trimming::trimmed(site))),
        ("the last frame is always kept", Box::pin(trimming::last_kept(site))),
        ("no position is used twice", Box::pin(trimming::never_reused(site))),
        ("trimming, appending and reading go on together", Box::pin(trimming::together(site))),
    ];
    for (rule, run) in rules {
        let outcome = tokio::time::timeout(RULE_TIME_MAX, run).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("did not end within {} s", RULE_TIME_MAX.as_secs())));
        outcome.map_err(|saw| Violation { rule, saw })?;
    }
    Ok(())
}

/// Fails the rule, with what was seen, unless it holds.
macro_rules! ensure {
    ($holds:expr, $($saw:tt)+) => {
        if !$holds {
            return Err(format!($($saw)+));
        }
    };
}
use ensure;

async fn identity(log: &dyn ChangeLog) -> Result<LogIdentity, String> {
    log.bounds().await.map(|bounds| bounds.identity).map_err(|e| format!("bounds: {e}"))
}

/// Appends frames of these seeds, one after the other.
async fn append(log: &dyn ChangeLog, seeds: impl IntoIterator<Item = u64>) -> Result<Vec<Position>, String> {
    let identity = identity(log).await?;
    let mut positions = Vec::new();
    for seed in seeds {
        let position = log.append(frame(identity, seed)).await.map_err(|e| format!("append: {e}"))?;
        positions.push(position);
    }
    Ok(positions)
}

/// Reads until `count` frames came, a few at a time.
async fn read(log: &dyn ChangeLog, mut after: Position, count: usize) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    while entries.len() < count {
        let max = (count - entries.len()).min(7);
        let some = log.read(after, max).await.map_err(|e| format!("read behind {after}: {e}"))?;
        ensure!((1..=max).contains(&some.len()), "a read of at most {max} frames gave {}", some.len());
        for entry in &some {
            ensure!(entry.position > after, "a read gave {} behind {after}", entry.position);
            after = entry.position;
        }
        entries.extend(some);
    }
    Ok(entries)
}

/// Whether nothing is to be read behind `after`: the read waits.
async fn is_end(log: &dyn ChangeLog, after: Position) -> Outcome {
    match tokio::time::timeout(WAIT_WATCHED, log.read(after, 1)).await {
        Err(_) => Ok(()),
        Ok(answer) => Err(format!("a read behind {after}, the end, did not wait but gave {answer:?}")),
    }
}

fn positions(entries: &[Entry]) -> Vec<Position> {
    entries.iter().map(|entry| entry.position).collect()
}

/// These entries are the frames of these seeds.
fn are(entries: &[Entry], identity: LogIdentity, seeds: impl IntoIterator<Item = u64>) -> Outcome {
    let mut seeds = seeds.into_iter();
    for entry in entries {
        let seed = seeds.next().ok_or_else(|| format!("a frame too many, at {}", entry.position))?;
        let wanted = frame(identity, seed);
        ensure!(*entry.frame == *wanted, "at {} is {:?}, not {wanted:?}", entry.position, entry.frame);
    }
    ensure!(seeds.next().is_none(), "only {} frames came", entries.len());
    Ok(())
}
