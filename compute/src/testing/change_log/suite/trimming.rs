//! Rules of trimming.

use std::sync::Arc;

use super::{Outcome, Site, append, are, ensure, identity, is_end, positions, read};
use crate::model::Position;
use crate::port::ChangeLog;
use crate::port::change_log::LogReadError;

pub(super) async fn trimmed(site: &dyn Site) -> Outcome {
    let log = site.open("trimmed").await;
    let written = append(&*log, 0..30).await?;
    trim(&*log, Position::ZERO, Position::ZERO).await?;
    trim(&*log, written[9], written[9]).await?;
    for after in [Position::ZERO, written[0], written[8]] {
        is_trimmed(&*log, after, written[9]).await?;
    }
    let rest = read(&*log, written[9], 20).await?;
    ensure!(positions(&rest) == written[10..], "behind the trimmed came {:?}", positions(&rest));
    are(&rest, identity(&*log).await?, 10..30)?;
    trim(&*log, written[4], written[9]).await?;
    site.close("trimmed").await;
    let log = site.open("trimmed").await;
    trim(&*log, Position::ZERO, written[9]).await?;
    is_trimmed(&*log, written[8], written[9]).await?;
    let rest = read(&*log, written[9], 20).await?;
    ensure!(positions(&rest) == written[10..], "after a reopen came {:?}", positions(&rest));
    is_end(&*log, written[29]).await
}

pub(super) async fn last_kept(site: &dyn Site) -> Outcome {
    let log = site.open("last").await;
    trim(&*log, Position::new(1, 100).ok_or("no such position")?, Position::ZERO).await?;
    let written = append(&*log, 0..5).await?;
    for upto in [written[4], written[4].next().next()] {
        trim(&*log, upto, written[3]).await?;
        let last = read(&*log, written[3], 1).await?;
        ensure!(positions(&last) == written[4..], "of {written:?} is left {:?}", positions(&last));
    }
    let one = site.open("only").await;
    let only = append(&*one, [0]).await?;
    trim(&*one, only[0], Position::ZERO).await?;
    let first = read(&*one, Position::ZERO, 1).await?;
    ensure!(positions(&first) == only, "of one frame is left {:?}", positions(&first));
    Ok(())
}

pub(super) async fn never_reused(site: &dyn Site) -> Outcome {
    let mut used: Vec<Position> = Vec::new();
    for life in 0..4 {
        let log = site.open("reuse").await;
        used.extend(append(&*log, 0..life + 1).await?);
        ensure!(used.is_sorted_by(|a, b| a < b), "positions given so far: {used:?}");
        let last = used[used.len() - 1];
        log.trim(last).await.map_err(|e| format!("trim: {e}"))?;
        site.close("reuse").await;
    }
    Ok(())
}

pub(super) async fn together(site: &dyn Site) -> Outcome {
    const FRAMES: u64 = 300;
    let log = site.open("together").await;
    let writer = {
        let log = Arc::clone(&log);
        tokio::spawn(async move { append(&*log, 0..FRAMES).await })
    };
    let mut read_up_to = Position::ZERO;
    let mut seen = 0;
    let identity = identity(&*log).await?;
    while seen < FRAMES {
        let entries = log.read(read_up_to, 16).await.map_err(|e| format!("read behind {read_up_to}: {e}"))?;
        are(&entries, identity, seen..seen + entries.len() as u64)?;
        seen += entries.len() as u64;
        read_up_to = entries[entries.len() - 1].position;
        log.trim(read_up_to.back(8)).await.map_err(|e| format!("trim: {e}"))?;
    }
    let written = writer.await.map_err(|e| e.to_string())??;
    let bounds = log.bounds().await.map_err(|e| e.to_string())?;
    ensure!(bounds.last == written[written.len() - 1], "written up to {:?}, bounds {bounds:?}", written.last());
    ensure!(bounds.trimmed == read_up_to.back(8), "trimmed up to {}, bounds {bounds:?}", read_up_to.back(8));
    Ok(())
}

/// Trims, and sees the bounds become `trimmed`.
async fn trim(log: &dyn ChangeLog, upto: Position, trimmed: Position) -> Outcome {
    let before = log.bounds().await.map_err(|e| e.to_string())?;
    log.trim(upto).await.map_err(|e| format!("trim up to {upto}: {e}"))?;
    let bounds = log.bounds().await.map_err(|e| e.to_string())?;
    ensure!(bounds.trimmed == trimmed, "trimmed up to {upto} of {before:?}, the bounds are {bounds:?}");
    ensure!(bounds.last == before.last, "trimming moved the end from {} to {}", before.last, bounds.last);
    Ok(())
}

async fn is_trimmed(log: &dyn ChangeLog, after: Position, wanted: Position) -> Outcome {
    match log.read(after, 1).await {
        Err(LogReadError::Trimmed { trimmed }) if trimmed == wanted => Ok(()),
        other => Err(format!("a read behind {after}, trimmed up to {wanted}, gave {other:?}")),
    }
}
