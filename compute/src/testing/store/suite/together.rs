//! Calls that meet, and calls that nobody waits for any more.

use futures::future::{join, join3};
use futures::poll;

use super::super::sample::{every_kind, instances, log_state, position};
use super::{LOG, Stores, Verdict, at, ensure, holds, is, land, led};
use crate::model::{LogState, Position, Row, Rows};
use crate::port::store::{Epoch, LandError, PresenceStore};

pub(super) async fn one_of_two_landings_wins<F: Stores>(stores: &F) -> Verdict {
    for _ in 0..10 {
        let (store, epoch) = led(stores).await?;
        let one = instances(0, 300, position(1));
        let other = instances(200, 500, position(2));
        let (first, second) = join(
            store.land(epoch, one.clone(), Position::ZERO, at(1)),
            store.land(epoch, other.clone(), Position::ZERO, at(2)),
        )
        .await;
        match (first, second) {
            (Ok(()), Err(LandError::Fenced { .. })) => holds(store.as_ref(), epoch, at(1), &one).await?,
            (Err(LandError::Fenced { .. }), Ok(())) => holds(store.as_ref(), epoch, at(2), &other).await?,
            both => return Err(format!("{both:?}")),
        }
    }
    Ok(())
}

pub(super) async fn two_leads_get_two_epochs<F: Stores>(stores: &F) -> Verdict {
    for _ in 0..10 {
        let store = stores.fresh().await;
        let lead = || store.lead(LOG());
        let (a, b, c) = join3(lead(), lead(), lead()).await;
        let mut epochs = [a, b, c].into_iter().collect::<Result<Vec<Epoch>, _>>().map_err(|e| e.to_string())?;
        epochs.sort();
        let rising = epochs.windows(2).all(|pair| pair[0] < pair[1]);
        ensure(rising, || format!("{epochs:?}"))?;
        let mark = store.mark().await.map_err(|e| e.to_string())?;
        ensure(mark.map(|(epoch, _)| epoch) == epochs.last().copied(), || format!("{mark:?} after {epochs:?}"))?;
    }
    Ok(())
}

/// Each landing rewrites every row; a load that mixed two of them would show two revisions.
pub(super) async fn a_load_sees_one_watermark<F: Stores>(stores: &F) -> Verdict {
    const LANDINGS: u64 = 25;
    let (store, epoch) = led(stores).await?;
    let store = store.as_ref();
    land(store, epoch, everything(1), 0, 1).await?;
    let landing = async {
        for offset in 1..LANDINGS {
            land(store, epoch, everything(offset + 1), offset, offset + 1).await?;
        }
        Ok(())
    };
    let loading = async {
        let mut seen = 0;
        while seen < LANDINGS {
            let loaded = store.load().await.map_err(|e| format!("load: {e}"))?;
            let watermark = loaded.log.map_or(Position::ZERO, |log| log.watermark);
            ensure(watermark.offset() >= seen, || format!("watermark {watermark} after {seen}"))?;
            seen = watermark.offset();
            is(loaded, Some(at(seen)), &everything(seen)).map_err(|e| format!("loaded at {seen}: {e}"))?;
            // For a store that answers at once: the landings must get their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    let (landed, loaded): (Verdict, Verdict) = join(landing, loading).await;
    landed.and(loaded)
}

fn everything(offset: u64) -> Rows {
    let mut rows = every_kind(position(offset));
    rows.instances.extend(instances(0, 150, position(offset)).instances);
    rows
}

pub(super) async fn a_dropped_landing_is_whole_or_nothing<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let store = store.as_ref();
    land(store, epoch, everything(1), 0, 1).await?;
    let mut now = 1;
    for polls in 0..30 {
        let next = everything(now + 1);
        {
            let mut landing = store.land(epoch, next, at(now).watermark, at(now + 1));
            for _ in 0..polls {
                if poll!(&mut landing).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        now = settled(store, epoch, now, now + 1).await.map_err(|e| format!("dropped after {polls} polls: {e}"))?;
        land(store, epoch, everything(now + 1), now, now + 1).await?;
        now += 1;
    }
    Ok(())
}

pub(super) async fn a_dropped_replace_is_whole_or_nothing<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let store = store.as_ref();
    land(store, epoch, everything(1), 0, 1).await?;
    let mut now = 1;
    for polls in 0..30 {
        {
            let mut replacing = store.replace(epoch, everything(now + 1), log_state(LOG(), now + 1));
            for _ in 0..polls {
                if poll!(&mut replacing).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        now = settled(store, epoch, now, now + 1).await.map_err(|e| format!("dropped after {polls} polls: {e}"))?;
    }
    Ok(())
}

/// The offset at which the store stands: all of `new` or all of `old`.
async fn settled(store: &impl PresenceStore, epoch: Epoch, old: u64, new: u64) -> Result<u64, String> {
    let mark = store.mark().await.map_err(|e| format!("mark: {e}"))?;
    let stands = |log: LogState| mark == Some((epoch, log));
    let offset = if stands(at(new)) { new } else { old };
    ensure(stands(at(offset)), || format!("mark is {mark:?}"))?;
    let loaded = store.load().await.map_err(|e| format!("load: {e}"))?;
    ensure(loaded.rows.instances.iter().all(|row| matches!(row, Row::Put(..))), || "a load shows deletes".to_owned())?;
    is(loaded, Some(at(offset)), &everything(offset))?;
    Ok(offset)
}
