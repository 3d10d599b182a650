//! A lone node whose log is lost: what has landed is the state, and a new life of the log goes on from it.

use super::StartError;
use crate::model::{GENERATIONS_FIRST, LogGeneration, LogState, Position};
use crate::port::{ChangeLog, PresenceStore};

/// Binds the store to `log`, a new and empty one of `generation`, which is above that of every log that the store knew:
/// every revision from now on is greater than any before. Whether there was need to.
pub async fn adopt(
    store: &dyn PresenceStore,
    log: &dyn ChangeLog,
    generation: LogGeneration,
) -> Result<bool, StartError> {
    let bounds = log.bounds().await?;
    let Some((_, bound)) = store.mark().await? else { return Ok(false) };
    if bound.identity == bounds.identity {
        return Ok(false);
    }
    let unpaired = StartError::Unpaired { store: bound.identity, log: bounds.identity };
    // Another node's log holds what is not ours.
    if bounds.last != bounds.trimmed || generation <= bound.watermark.generation() {
        return Err(unpaired);
    }
    // A topic that was emptied goes on with its offsets.
    let watermark = Position::new(generation, bounds.trimmed.offset()).ok_or(unpaired)?;
    let epoch = store.lead(bound.identity).await?;
    let rows = store.load().await?.rows;
    let kept = rows.len();
    store.replace(epoch, rows, LogState { identity: bounds.identity, watermark, ..bound }).await?;
    tracing::warn!(
        lost = %bound.identity, landed = %bound.watermark, log = %bounds.identity, generation, rows = kept,
        "a new change log takes the place of a lost one; what had not landed is lost"
    );
    Ok(true)
}

/// The generation of a log that begins now, by a number drawn for it: another one, as a rule, than that of a log which
/// was here before.
pub fn first_generation(drawn: u64) -> LogGeneration {
    let (first, last) = GENERATIONS_FIRST.into_inner();
    let above = drawn % (u64::from(last - first) + 1);
    LogGeneration::try_from(above).map_or(first, |above| first + above)
}

/// What a log in place of that of `landed` begins with; `None`: there is none above. A store that nothing has landed in
/// does not tell which of the first generations its log has.
pub fn raised(landed: Position) -> Option<LogGeneration> {
    let generation = landed.generation().max(*GENERATIONS_FIRST.end()).checked_add(1)?;
    Position::new(generation, 0).map(|_| generation)
}

#[cfg(test)]
mod tests;
