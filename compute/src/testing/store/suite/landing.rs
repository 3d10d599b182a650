//! Rows of each kind: put, overwritten, deleted, never made older.

use std::sync::Arc;

use super::super::sample::{deletes, every_kind, instance, instances, position};
use super::{Stores, Verdict, at, holds, land, led};
use crate::model::{Health, Instance, OriginRow, OverrideRow, Row, Rows};

pub(super) async fn every_kind_comes_back<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let rows = every_kind(position(9));
    land(store.as_ref(), epoch, rows.clone(), 0, 9).await?;
    holds(store.as_ref(), epoch, at(9), &rows).await
}

pub(super) async fn rows_are_overwritten_whole<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    land(store.as_ref(), epoch, every_kind(position(9)), 0, 9).await?;
    let rows = every_kind(position(12));
    land(store.as_ref(), epoch, rows.clone(), 9, 12).await?;
    holds(store.as_ref(), epoch, at(12), &rows).await
}

/// What a row had and has no more must not shine through from its last value.
pub(super) async fn parts_can_end<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let full = every_kind(position(9));
    land(store.as_ref(), epoch, full.clone(), 0, 9).await?;
    let mut rows = full;
    for row in &mut rows.instances {
        let Row::Put(_, value) = row else { continue };
        let ended =
            Instance { health: Health::good(0), operator: None, revision: position(10).at(0), ..(**value).clone() };
        *value = Arc::new(ended);
    }
    for row in &mut rows.overrides {
        let Row::Put(_, value) = row else { continue };
        value.only_for = None;
    }
    for row in &mut rows.services {
        let Row::Put(_, value) = row else { continue };
        value.last_removal = None;
    }
    land(store.as_ref(), epoch, rows.clone(), 9, 10).await?;
    holds(store.as_ref(), epoch, at(10), &rows).await
}

pub(super) async fn deleted_rows_are_gone<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let store = store.as_ref();
    let doomed = every_kind(position(9));
    let others = instances(0, 25, position(9));
    land(store, epoch, doomed.clone(), 0, 8).await?;
    land(store, epoch, others.clone(), 8, 9).await?;
    land(store, epoch, deletes(&doomed), 9, 10).await?;
    holds(store, epoch, at(10), &others).await?;
    // Again: what is not there is as good as gone. And it may come back.
    land(store, epoch, deletes(&doomed), 10, 11).await?;
    holds(store, epoch, at(11), &others).await?;
    land(store, epoch, deletes(&others), 11, 12).await?;
    land(store, epoch, doomed.clone(), 12, 13).await?;
    holds(store, epoch, at(13), &doomed).await
}

pub(super) async fn older_rows_change_nothing<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let store = store.as_ref();
    let newer = every_kind(position(20));
    land(store, epoch, newer.clone(), 0, 20).await?;
    land(store, epoch, every_kind(position(19)), 20, 21).await?;
    holds(store, epoch, at(21), &newer).await?;
    land(store, epoch, deletes(&newer), 21, 22).await?;

    // One batch, half of it older than what is there.
    let half = |old, new| {
        let revision = |n: usize| position(if n.is_multiple_of(2) { old } else { new }).at(0);
        Rows { instances: (0..250).map(|n| instance(n, revision(n))).collect(), ..Rows::default() }
    };
    land(store, epoch, half(30, 30), 22, 30).await?;
    land(store, epoch, half(29, 31), 30, 31).await?;
    holds(store, epoch, at(31), &half(30, 31)).await
}

pub(super) async fn rows_of_the_same_age_overwrite<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let first = every_kind(position(9));
    land(store.as_ref(), epoch, first.clone(), 0, 9).await?;
    let mut second = first;
    if let Some(Row::Put(_, value)) = second.overrides.first_mut() {
        *value = OverrideRow { until_ms: value.until_ms + 1, ..value.clone() };
    }
    if let Some(Row::Put(_, value)) = second.origins.first_mut() {
        *value = OriginRow { gaps: vec![2, 3], ..value.clone() };
    }
    if let Some(Row::Put(_, value)) = second.instances.first_mut() {
        *value = Arc::new(Instance { registered_at_ms: 77, ..(**value).clone() });
    }
    if let Some(Row::Put(_, value)) = second.services.first_mut() {
        value.digest = value.digest.plus(crate::model::Digest::from_bytes([3; 16]));
    }
    land(store.as_ref(), epoch, second.clone(), 9, 10).await?;
    holds(store.as_ref(), epoch, at(10), &second).await
}

pub(super) async fn no_rows_move_the_mark<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let rows = every_kind(position(1));
    land(store.as_ref(), epoch, rows.clone(), 0, 1).await?;
    land(store.as_ref(), epoch, Rows::default(), 1, 500).await?;
    holds(store.as_ref(), epoch, at(500), &rows).await
}
