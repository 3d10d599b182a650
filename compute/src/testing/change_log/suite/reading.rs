//! Rules of reading.

use std::sync::Arc;

use super::{Outcome, Site, append, are, ensure, frame, identity, is_end, positions, read};
use crate::model::Position;
use crate::port::change_log::{Bounds, LogReadError};

pub(super) async fn new_log(site: &dyn Site) -> Outcome {
    let log = site.open("new").await;
    let identity = identity(&*log).await?;
    let bounds = log.bounds().await.map_err(|e| e.to_string())?;
    let wanted = Bounds { identity, trimmed: Position::ZERO, last: Position::ZERO };
    ensure!(bounds == wanted, "the bounds are {bounds:?}");
    is_end(&*log, Position::ZERO).await?;
    let other = site.open("another").await;
    let others = super::identity(&*other).await?;
    ensure!(others != identity, "two logs are both {identity}");
    Ok(())
}

pub(super) async fn order(site: &dyn Site) -> Outcome {
    let log = site.open("order").await;
    let written = append(&*log, 0..40).await?;
    ensure!(written[0] > Position::ZERO && written[0].generation() > 0, "the first position is {}", written[0]);
    ensure!(written.is_sorted_by(|a, b| a < b), "appends one after the other got {written:?}");
    let entries = read(&*log, Position::ZERO, 40).await?;
    ensure!(positions(&entries) == written, "written at {written:?}, read at {:?}", positions(&entries));
    are(&entries, identity(&*log).await?, 0..40)?;
    let tail = read(&*log, written[29], 10).await?;
    ensure!(positions(&tail) == written[30..], "behind {} came {:?}", written[29], positions(&tail));
    let bounds = log.bounds().await.map_err(|e| e.to_string())?;
    ensure!(bounds.last == written[39] && bounds.trimmed == Position::ZERO, "the bounds are {bounds:?}");
    is_end(&*log, written[39]).await
}

pub(super) async fn wakes(site: &dyn Site) -> Outcome {
    let log = site.open("wakes").await;
    let mut after = Position::ZERO;
    for seed in 0..10 {
        // The reader is there first: an append that does not wake it makes the rule run out of time.
        let reading = log.read(after, 5);
        let writing = append(&*log, [seed]);
        let (entries, written) = tokio::join!(reading, writing);
        let entries = entries.map_err(|e| e.to_string())?;
        ensure!(positions(&entries) == written?, "the reader got {:?}", positions(&entries));
        after = entries[0].position;
    }
    Ok(())
}

pub(super) async fn cancel_safe(site: &dyn Site) -> Outcome {
    let log = site.open("cancel").await;
    is_end(&*log, Position::ZERO).await?;
    let written = append(&*log, 0..20).await?;
    for _ in 0..50 {
        // Polled once, then dropped, whether it was ready or not.
        let _ = futures::poll!(Box::pin(log.read(Position::ZERO, 3)));
    }
    is_end(&*log, written[19]).await?;
    let entries = read(&*log, Position::ZERO, 20).await?;
    ensure!(positions(&entries) == written, "after dropped reads came {:?}", positions(&entries));
    Ok(())
}

pub(super) async fn many_readers(site: &dyn Site) -> Outcome {
    let log = site.open("readers").await;
    let identity = identity(&*log).await?;
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { read(&*log, Position::ZERO, 60).await })
        })
        .collect();
    let written = append(&*log, 0..60).await?;
    let mut checksums = Vec::new();
    for reader in readers {
        let entries = reader.await.map_err(|e| e.to_string())??;
        ensure!(positions(&entries) == written, "a reader saw {:?}", positions(&entries));
        are(&entries, identity, 0..60)?;
        checksums.push(entries.iter().map(|e| e.checksum).collect::<Vec<_>>());
    }
    ensure!(checksums.iter().all(|c| *c == checksums[0]), "readers saw different checksums");
    Ok(())
}

pub(super) async fn beyond_the_end(site: &dyn Site) -> Outcome {
    let log = site.open("beyond").await;
    let unusable = async |after: Position| match log.read(after, 1).await {
        Err(LogReadError::Unusable(_)) => Ok(()),
        other => Err(format!("a read behind {after} gave {other:?}")),
    };
    let first = Position::new(1, 5).ok_or("no such position")?;
    unusable(first).await?;
    let written = append(&*log, 0..3).await?;
    unusable(written[2].next()).await?;
    unusable(Position::new(written[2].generation() + 1, 1).ok_or("no such position")?).await?;
    is_end(&*log, written[2]).await
}

pub(super) async fn reopen(site: &dyn Site) -> Outcome {
    let mut written = Vec::new();
    let (mut identities, mut checksums) = (Vec::new(), Vec::new());
    for life in 0..3 {
        let log = site.open("reopen").await;
        identities.push(identity(&*log).await?);
        ensure!(identities[life] == identities[0], "the log was {} and is {}", identities[0], identities[life]);
        let bounds = log.bounds().await.map_err(|e| e.to_string())?;
        let last = written.last().copied().unwrap_or(Position::ZERO);
        ensure!(bounds.last == last, "the last frame was at {last}, after a reopen the bounds are {bounds:?}");
        written.extend(append(&*log, life as u64 * 10..life as u64 * 10 + 10).await?);
        let entries = read(&*log, Position::ZERO, written.len()).await?;
        ensure!(positions(&entries) == written, "written at {written:?}, read at {:?}", positions(&entries));
        are(&entries, identities[0], 0..written.len() as u64)?;
        let seen: Vec<u64> = entries.iter().map(|entry| entry.checksum).collect();
        ensure!(seen.starts_with(&checksums), "checksums are others after a reopen");
        checksums = seen;
        drop(log);
        site.close("reopen").await;
    }
    let log = site.open("reopen").await;
    let last = written[written.len() - 1];
    is_end(&*log, last).await?;
    let position = log.append(frame(identities[0], 99)).await.map_err(|e| e.to_string())?;
    ensure!(position > last, "after {last} and a reopen came {position}");
    Ok(())
}
