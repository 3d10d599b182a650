//! Rules of appending.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Outcome, Site, append, ensure, frame, heavy_frame, identity, is_end, positions, read, wide_frame};
use crate::model::limits::{FRAME_BYTES_MAX, FRAME_CHANGES_MAX};
use crate::model::{Frame, LogIdentity, NodeIncarnation, Position};
use crate::port::ChangeLog;
use crate::port::change_log::AppendError;

pub(super) async fn checksums(site: &dyn Site) -> Outcome {
    let log = site.open("checksums").await;
    append(&*log, [1, 2, 1, 3, 2]).await?;
    let sums: Vec<u64> = read(&*log, Position::ZERO, 5).await?.iter().map(|entry| entry.checksum).collect();
    ensure!(sums[0] == sums[2] && sums[1] == sums[4], "the same frame twice gave {sums:x?}");
    ensure!(sums[0] != sums[1] && sums[0] != sums[3] && sums[1] != sums[3], "other frames gave {sums:x?}");
    site.close("checksums").await;
    let log = site.open("checksums").await;
    let again: Vec<u64> = read(&*log, Position::ZERO, 5).await?.iter().map(|entry| entry.checksum).collect();
    ensure!(again == sums, "{sums:x?} became {again:x?} by a reopen");
    Ok(())
}

pub(super) async fn concurrent(site: &dyn Site) -> Outcome {
    const WRITERS: u64 = 8;
    const EACH: u64 = 25;
    let log = site.open("concurrent").await;
    let identity = identity(&*log).await?;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { append(&*log, writer * 1_000..writer * 1_000 + EACH).await })
        })
        .collect();
    let mut wanted = BTreeMap::new();
    for (writer, handle) in (0..WRITERS).zip(writers) {
        let written = handle.await.map_err(|e| e.to_string())??;
        ensure!(written.is_sorted_by(|a, b| a < b), "one writer's appends got {written:?}");
        for (n, position) in (0..).zip(written) {
            let before = wanted.insert(position, writer * 1_000 + n);
            ensure!(before.is_none(), "two appends were both told {position}");
        }
    }
    let entries = read(&*log, Position::ZERO, wanted.len()).await?;
    ensure!(positions(&entries).iter().eq(wanted.keys()), "told {wanted:?}, read {:?}", positions(&entries));
    for entry in &entries {
        let frame = frame(identity, wanted[&entry.position]);
        ensure!(*entry.frame == *frame, "at {} is {:?}, not {frame:?}", entry.position, entry.frame);
    }
    is_end(&*log, entries[entries.len() - 1].position).await
}

pub(super) async fn dropped(site: &dyn Site) -> Outcome {
    let log = site.open("dropped").await;
    let identity = identity(&*log).await?;
    for seed in 0..10 {
        // Polled once: it may be under way, or done, or not begun.
        let _ = futures::poll!(Box::pin(log.append(frame(identity, 100 + seed))));
        append(&*log, [seed]).await?;
    }
    let last = append(&*log, [10]).await?[0];
    let mut seen = Vec::new();
    let mut after = Position::ZERO;
    while after < last {
        for entry in log.read(after, 50).await.map_err(|e| e.to_string())? {
            after = entry.position;
            let seed = entry.frame.writer.0;
            ensure!(*entry.frame == *frame(identity, seed), "at {after} is {:?}", entry.frame);
            seen.push(seed);
        }
    }
    let answered: Vec<u64> = seen.iter().copied().filter(|seed| *seed < 100).collect();
    ensure!(answered == (0..=10).collect::<Vec<_>>(), "answered in order were 0 to 10, there are {answered:?}");
    let mut once = seen.clone();
    once.sort_unstable();
    once.dedup();
    ensure!(once.len() == seen.len(), "a frame is there twice: {seen:?}");
    Ok(())
}

pub(super) async fn limits(site: &dyn Site) -> Outcome {
    let log = site.open("limits").await;
    let identity = identity(&*log).await?;
    let written = append(&*log, 0..3).await?;
    refused(&*log, wide_frame(identity, FRAME_CHANGES_MAX + 1), "a change too many").await?;
    refused(&*log, heavy_frame(identity, FRAME_BYTES_MAX / 8_192), "twice the bytes").await?;
    is_end(&*log, written[2]).await?;
    let widest = wide_frame(identity, FRAME_CHANGES_MAX);
    let mut changes = FRAME_BYTES_MAX / 16_384;
    while heavy_frame(identity, changes).weight() > FRAME_BYTES_MAX {
        changes /= 2;
    }
    let heaviest = heavy_frame(identity, changes);
    let mut after = written[2];
    for (frame, what) in [(widest, "the widest"), (heaviest, "a heavy")] {
        ensure!(frame.weight() <= FRAME_BYTES_MAX, "{what} frame weighs {}", frame.weight());
        let position = log.append(Arc::clone(&frame)).await.map_err(|e| format!("{what} frame: {e}"))?;
        let entries = read(&*log, after, 1).await?;
        ensure!(positions(&entries) == [position], "{what} frame was written at {position}, read {entries:?}");
        ensure!(*entries[0].frame == *frame, "{what} frame was read back as another");
        after = position;
    }
    Ok(())
}

pub(super) async fn foreign(site: &dyn Site) -> Outcome {
    let log = site.open("foreign").await;
    let LogIdentity(mut bytes) = identity(&*log).await?;
    bytes[0] ^= 1;
    refused(&*log, frame(LogIdentity(bytes), 1), "of another log").await?;
    let empty = Frame { identity: identity(&*log).await?, writer: NodeIncarnation(1), time_ms: 0, changes: vec![] };
    log.append(Arc::new(empty)).await.map_err(|e| format!("an empty frame: {e}"))?;
    let entries = read(&*log, Position::ZERO, 1).await?;
    ensure!(entries[0].frame.changes.is_empty(), "the first frame is {:?}", entries[0]);
    Ok(())
}

async fn refused(log: &dyn ChangeLog, frame: Arc<Frame>, what: &str) -> Outcome {
    match log.append(frame).await {
        Err(AppendError::Refused(_)) => Ok(()),
        other => Err(format!("a frame with {what} was answered with {other:?}")),
    }
}
