//! Taking the landing role.

use super::super::sample::{every_kind, identity, position};
use super::{LOG, Stores, Verdict, at, ensure, holds, is, land, lead, led, rejected};
use crate::model::{LogState, Position, Rows};
use crate::port::store::{Epoch, LandError, PresenceStore};

pub(super) async fn an_empty_store_has_no_mark<F: Stores>(stores: &F) -> Verdict {
    let store = stores.fresh().await;
    let mark = store.mark().await.map_err(|e| e.to_string())?;
    ensure(mark.is_none(), || format!("mark is {mark:?}"))?;
    is(store.load().await.map_err(|e| e.to_string())?, None, &Rows::default())
}

pub(super) async fn nobody_lands_without_leading<F: Stores>(stores: &F) -> Verdict {
    let store = stores.fresh().await;
    for epoch in [Epoch(0), Epoch(1), Epoch(u64::MAX)] {
        let landed = store.land(epoch, every_kind(position(1)), Position::ZERO, at(1)).await;
        ensure(matches!(landed, Err(LandError::Fenced { .. })), || format!("land at {epoch:?}: {landed:?}"))?;
        let replaced = store.replace(epoch, every_kind(position(1)), at(1)).await;
        ensure(matches!(replaced, Err(LandError::Fenced { .. })), || format!("replace at {epoch:?}: {replaced:?}"))?;
    }
    is(store.load().await.map_err(|e| e.to_string())?, None, &Rows::default())
}

pub(super) async fn the_first_lead_binds<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let bound = LogState { identity: LOG(), watermark: Position::ZERO, time_ms: 0, rolling_hash: 0 };
    holds(store.as_ref(), epoch, bound, &Rows::default()).await
}

pub(super) async fn each_lead_raises_the_epoch<F: Stores>(stores: &F) -> Verdict {
    let (store, first) = led(stores).await?;
    let second = lead(store.as_ref()).await?;
    ensure(second > first, || format!("{second:?} after {first:?}"))?;
    let rows = every_kind(position(4));
    land(store.as_ref(), second, rows.clone(), 0, 4).await?;
    let third = lead(store.as_ref()).await?;
    ensure(third > second, || format!("{third:?} after {second:?}"))?;
    holds(store.as_ref(), third, at(4), &rows).await
}

pub(super) async fn another_log_is_refused<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let rows = every_kind(position(4));
    land(store.as_ref(), epoch, rows.clone(), 0, 4).await?;
    rejected(store.lead(identity(8)).await)?;
    // The leader is not fenced by one who was refused.
    holds(store.as_ref(), epoch, at(4), &rows).await?;
    land(store.as_ref(), epoch, Rows::default(), 4, 5).await
}
