//! The whole state at once.

use super::super::sample::{every_kind, identity, instances, log_state, position};
use super::{LOG, Stores, Verdict, at, doubled, fenced, holds, land, lead, led, rejected};
use crate::model::Rows;
use crate::port::store::PresenceStore;

pub(super) async fn replace_leaves_nothing_else<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let store = store.as_ref();
    land(store, epoch, every_kind(position(9)), 0, 8).await?;
    land(store, epoch, instances(0, 250, position(9)), 8, 9).await?;

    // Also rows that are older than those they replace, and a watermark that is.
    let mut rows = every_kind(position(5));
    rows.instances.extend(instances(240, 400, position(6)).instances);
    replace(store.replace(epoch, rows.clone(), at(6)).await)?;
    holds(store, epoch, at(6), &rows).await?;

    land(store, epoch, Rows::default(), 6, 7).await?;
    replace(store.replace(epoch, Rows::default(), at(20)).await)?;
    holds(store, epoch, at(20), &Rows::default()).await
}

pub(super) async fn replace_binds_another_log<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    land(store.as_ref(), epoch, every_kind(position(9)), 0, 9).await?;
    let other = identity(8);
    let rows = every_kind(position(10));
    replace(store.replace(epoch, rows.clone(), log_state(other, 10)).await)?;
    holds(store.as_ref(), epoch, log_state(other, 10), &rows).await?;
    rejected(store.lead(LOG()).await)?;
    let next = store.lead(other).await.map_err(|e| format!("lead of the new log: {e}"))?;
    holds(store.as_ref(), next, log_state(other, 10), &rows).await
}

pub(super) async fn replace_by_another_epoch_is_fenced<F: Stores>(stores: &F) -> Verdict {
    let (store, old) = led(stores).await?;
    let rows = every_kind(position(3));
    land(store.as_ref(), old, rows.clone(), 0, 3).await?;
    let epoch = lead(store.as_ref()).await?;
    fenced(store.replace(old, every_kind(position(9)), at(9)).await, epoch, at(3).watermark)?;
    holds(store.as_ref(), epoch, at(3), &rows).await
}

pub(super) async fn replace_with_a_key_twice_is_refused<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let rows = every_kind(position(3));
    land(store.as_ref(), epoch, rows.clone(), 0, 3).await?;
    rejected(store.replace(epoch, doubled(every_kind(position(9))), at(9)).await)?;
    holds(store.as_ref(), epoch, at(3), &rows).await
}

fn replace(answer: Result<(), crate::port::store::LandError>) -> Verdict {
    answer.map_err(|e| format!("replace: {e}"))
}
