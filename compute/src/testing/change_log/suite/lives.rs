//! Of a log that several nodes share, and that may be lost.

use super::{Outcome, frame};
use crate::model::{LogIdentity, Position};
use crate::port::ChangeLog;
use crate::port::change_log::{Found, LogReadError};

/// What every shared log must do when it is lost and its next life begins. `one` and `other`: two nodes' handles of a
/// topic that is new, of generation 1; `make_anew` deletes it and makes it anew; `write_late` writes a frame of this seed
/// and of generation 1 into it, as a node does that has slept over its loss.
pub async fn lives(
    one: &dyn ChangeLog,
    other: &dyn ChangeLog,
    identity: LogIdentity,
    make_anew: impl AsyncFnOnce(),
    write_late: impl AsyncFnOnce(u64),
) -> Outcome {
    let (first, next) = ((identity, 1), (identity, 96));
    expect("a new topic", found(one).await?, Found { trimmed: 0, last: 0, lives: None })?;
    for seed in 0..3 {
        one.append(frame(identity, seed)).await.map_err(|e| e.to_string())?;
    }
    expect("three frames", found(other).await?, Found { trimmed: 0, last: 3, lives: Some((first, first)) })?;
    make_anew().await;
    is_unusable(one).await?;
    is_unusable(other).await?;
    expect("made anew", found(one).await?.last, 0)?;

    // One goes on in the next life; somebody does not know of it, and writes.
    one.follow(next).await.map_err(|e| e.to_string())?;
    let begin = Position::new(next.1, 0).ok_or("a generation")?;
    let at = one.append(frame(identity, 7)).await.map_err(|e| e.to_string())?;
    expect("the first of its life", at, begin.next())?;
    write_late(8).await;
    let last = one.append(frame(identity, 9)).await.map_err(|e| e.to_string())?;
    expect("every place is taken", last.offset(), 3)?;
    expect("two lives", found(one).await?.lives, Some((next, next)))?;

    // To the readers of the next life it says nothing, and its place is taken.
    let mut entries = Vec::new();
    while entries.len() < 3 {
        let after = entries.last().map_or(begin, |entry: &crate::model::Entry| entry.position);
        entries.extend(one.read(after, 10).await.map_err(|e| e.to_string())?);
    }
    let changes: Vec<_> = entries.iter().map(|entry| entry.frame.changes.len()).collect();
    let written: Vec<_> = [7, 8, 9].map(|seed| frame(identity, seed).changes.len()).into();
    expect("only the second is void", changes, vec![written[0], 0, written[2]])?;
    expect("no place is missing", entries[1].position, begin.next().next())?;

    // The other finds out, and reads the same.
    other.follow(next).await.map_err(|e| e.to_string())?;
    let mut again = Vec::new();
    while again.len() < 3 {
        let after = again.last().map_or(begin, |entry: &crate::model::Entry| entry.position);
        again.extend(other.read(after, 10).await.map_err(|e| e.to_string())?);
    }
    let seen = |entries: &[crate::model::Entry]| -> Vec<_> {
        entries.iter().map(|entry| (entry.position, entry.checksum, (*entry.frame).clone())).collect()
    };
    expect("all read the same", seen(&again), seen(&entries))
}

async fn found(log: &dyn ChangeLog) -> Result<Found, String> {
    log.look().await.map_err(|error| error.to_string())
}

/// Reads on, until it can't.
async fn is_unusable(log: &dyn ChangeLog) -> Outcome {
    let mut after = match log.bounds().await {
        Ok(bounds) => Position::new(bounds.last.generation(), 0).unwrap_or_default(),
        Err(LogReadError::Unusable(_)) => return Ok(()),
        Err(_) => Position::ZERO,
    };
    loop {
        match log.read(after, 10).await {
            Ok(entries) => after = entries.last().map_or(after, |entry| entry.position),
            Err(LogReadError::Unusable(_)) => return Ok(()),
            Err(LogReadError::Away(_)) => tokio::task::yield_now().await,
            Err(error) => return Err(format!("neither away nor unusable: {error}")),
        }
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?}, not {wanted:?}")) }
}
