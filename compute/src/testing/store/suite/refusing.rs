//! What must not be landed, and leaves no trace.

use super::super::sample::{every_kind, identity, instances, log_state, position};
use super::{Stores, Verdict, at, doubled, fenced, holds, kinds, land, lead, led, rejected};
use crate::model::Position;
use crate::port::store::{Epoch, PresenceStore};

pub(super) async fn other_epochs_are_fenced<F: Stores>(stores: &F) -> Verdict {
    let (store, old) = led(stores).await?;
    let rows = every_kind(position(3));
    land(store.as_ref(), old, rows.clone(), 0, 3).await?;
    let epoch = lead(store.as_ref()).await?;
    for other in [old, Epoch(0), Epoch(epoch.0 + 1), Epoch(u64::MAX)] {
        let landed = store.land(other, every_kind(position(4)), at(3).watermark, at(4)).await;
        fenced(landed, epoch, at(3).watermark).map_err(|e| format!("{other:?}: {e}"))?;
    }
    holds(store.as_ref(), epoch, at(3), &rows).await?;
    land(store.as_ref(), epoch, rows.clone(), 3, 4).await
}

pub(super) async fn other_watermarks_are_fenced<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let rows = every_kind(position(3));
    land(store.as_ref(), epoch, rows.clone(), 0, 3).await?;
    for from in [Position::ZERO, at(2).watermark, at(4).watermark] {
        let landed = store.land(epoch, every_kind(position(9)), from, at(9)).await;
        fenced(landed, epoch, at(3).watermark).map_err(|e| format!("from {from}: {e}"))?;
    }
    holds(store.as_ref(), epoch, at(3), &rows).await
}

pub(super) async fn the_mark_never_goes_back<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let rows = every_kind(position(3));
    land(store.as_ref(), epoch, rows.clone(), 0, 3).await?;
    rejected(store.land(epoch, every_kind(position(9)), at(3).watermark, at(2)).await)?;
    holds(store.as_ref(), epoch, at(3), &rows).await
}

pub(super) async fn rows_of_another_log_are_refused<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let rows = every_kind(position(3));
    land(store.as_ref(), epoch, rows.clone(), 0, 3).await?;
    let other = log_state(identity(8), 4);
    rejected(store.land(epoch, every_kind(position(4)), at(3).watermark, other).await)?;
    holds(store.as_ref(), epoch, at(3), &rows).await
}

pub(super) async fn a_key_twice_is_refused<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let rows = every_kind(position(3));
    land(store.as_ref(), epoch, rows.clone(), 0, 3).await?;
    for (kind, mut batch) in kinds(doubled(every_kind(position(4)))) {
        // Other rows of the batch, before and behind it, must go with it.
        batch.instances.extend(instances(0, 300, position(4)).instances);
        let landed = store.land(epoch, batch, at(3).watermark, at(4)).await;
        rejected(landed).map_err(|e| format!("{kind}: {e}"))?;
        holds(store.as_ref(), epoch, at(3), &rows).await.map_err(|e| format!("{kind}: {e}"))?;
    }
    Ok(())
}
