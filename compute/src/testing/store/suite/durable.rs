//! What outlives a process, and what a lander finds out when it did not hear the answer.

use super::super::sample::{every_kind, instances, position};
use super::super::{Fault, FaultyStore};
use super::{LOG, Stores, Verdict, at, ensure, fenced, holds, land, lead, led};
use crate::port::store::{LandError, PresenceStore};
use crate::testing::{ManualClock, SeededChance};

pub(super) async fn everything_is_there_after_reopening<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let mut rows = every_kind(position(3));
    rows.instances.extend(instances(0, 500, position(3)).instances);
    land(store.as_ref(), epoch, rows.clone(), 0, 3).await?;
    let Some(store) = stores.reopened(store).await else { return Ok(()) };
    holds(store.as_ref(), epoch, at(3), &rows).await?;
    land(store.as_ref(), epoch, rows.clone(), 3, 4).await?;
    let Some(store) = stores.reopened(store).await else { return Ok(()) };
    holds(store.as_ref(), epoch, at(4), &rows).await
}

pub(super) async fn epochs_rise_over_reopening<F: Stores>(stores: &F) -> Verdict {
    let (store, old) = led(stores).await?;
    let rows = every_kind(position(3));
    land(store.as_ref(), old, rows.clone(), 0, 3).await?;
    let Some(store) = stores.reopened(store).await else { return Ok(()) };
    let epoch = lead(store.as_ref()).await?;
    ensure(epoch > old, || format!("{epoch:?} after {old:?}"))?;
    let Some(store) = stores.reopened(store).await else { return Ok(()) };
    fenced(store.land(old, every_kind(position(4)), at(3).watermark, at(4)).await, epoch, at(3).watermark)?;
    holds(store.as_ref(), epoch, at(3), &rows).await
}

/// After an unknown outcome the mark alone tells whether it was written, and landing the same again can't harm.
pub(super) async fn an_unknown_outcome_shows_in_the_mark<F: Stores>(stores: &F) -> Verdict {
    let (inner, epoch) = led(stores).await?;
    let store = FaultyStore::new(inner, ManualClock::new(), SeededChance::new(1));
    let store = store.as_ref();
    let mut now = 0;
    for (fault, written) in [(Fault::Obscure, true), (Fault::Lose, false), (Fault::Late, false)] {
        store.script_writes([Some(fault)]);
        let rows = every_kind(position(now + 1));
        let from = store.mark().await.map_err(|e| e.to_string())?.map(|(_, log)| log.watermark).unwrap_or_default();
        let landed = store.land(epoch, rows.clone(), from, at(now + 1)).await;
        ensure(matches!(landed, Err(LandError::Unknown(_))), || format!("{fault:?}: {landed:?}"))?;
        let mark = store.mark().await.map_err(|e| e.to_string())?;
        let expected = if written { at(now + 1).watermark } else { from };
        ensure(mark.map(|(_, log)| log.watermark) == Some(expected), || format!("{fault:?}: mark is {mark:?}"))?;
        let again = store.land(epoch, rows.clone(), from, at(now + 1)).await;
        if written {
            fenced(again, epoch, expected)?;
        } else {
            again.map_err(|e| format!("{fault:?}, again: {e}"))?;
        }
        now += 1;
        holds(store, epoch, at(now), &rows).await.map_err(|e| format!("{fault:?}: {e}"))?;
    }
    a_late_lead_fences(store).await
}

async fn a_late_lead_fences<S: PresenceStore>(store: &FaultyStore<S>) -> Verdict {
    store.script_writes([Some(Fault::Late)]);
    let held_up = store.lead(LOG()).await;
    ensure(matches!(held_up, Err(LandError::Unknown(_))), || format!("{held_up:?}"))?;
    let epoch = lead(store).await?;
    let (highest, log) = store.mark().await.map_err(|e| e.to_string())?.ok_or("no mark")?;
    ensure(highest > epoch, || format!("{highest:?} is not above {epoch:?}"))?;
    let rows = every_kind(position(9));
    fenced(store.land(epoch, rows.clone(), log.watermark, at(9)).await, highest, log.watermark)?;
    store.land(highest, rows, log.watermark, at(9)).await.map_err(|e| e.to_string())
}
