//! How many rows, and which keys.

use std::sync::Arc;

use super::super::sample::{deletes, instance, instances, position};
use super::{LOG, Stores, Verdict, at, holds, land, led};
use crate::model::{
    Instance, InstanceId, InstanceKey, LogState, Namespace, NamespaceRow, NamespaceSettings, Position, Row, Rows,
    ServiceKey,
};
use crate::port::store::PresenceStore;

/// Around the sizes at which an implementation may cut a batch into statements.
const SIZES: [usize; 22] =
    [1, 2, 3, 7, 9, 10, 11, 15, 16, 17, 99, 100, 101, 111, 127, 128, 129, 199, 201, 500, 999, 1_001];

pub(super) async fn batches_of_every_size<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let mut offset = 0;
    for size in SIZES {
        let rows = instances(0, size, position(offset + 1));
        land(store.as_ref(), epoch, rows.clone(), offset, offset + 1).await?;
        holds(store.as_ref(), epoch, at(offset + 1), &rows).await.map_err(|e| format!("{size} put: {e}"))?;
        land(store.as_ref(), epoch, deletes(&rows), offset + 1, offset + 2).await?;
        offset += 2;
        let left = holds(store.as_ref(), epoch, at(offset), &Rows::default()).await;
        left.map_err(|e| format!("{size} deleted: {e}"))?;
    }
    Ok(())
}

pub(super) async fn ten_thousand_rows<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    land(store.as_ref(), epoch, instances(0, 10_000, position(1)), 0, 1).await?;
    // A third is overwritten, a third deleted, in one batch and in no order of the keys.
    let mut batch = deletes(&instances(3_333, 6_666, position(2)));
    batch.instances.extend(instances(0, 3_333, position(2)).instances);
    batch.instances.extend(instances(10_000, 10_500, position(2)).instances);
    batch.instances.reverse();
    land(store.as_ref(), epoch, batch, 1, 2).await?;

    let mut wanted = instances(0, 3_333, position(2));
    wanted.instances.extend(instances(6_666, 10_000, position(1)).instances);
    wanted.instances.extend(instances(10_000, 10_500, position(2)).instances);
    holds(store.as_ref(), epoch, at(2), &wanted).await
}

/// Two keys are one only when their bytes are: no case folding, no padding, no normal form, no parting character.
pub(super) async fn keys_are_exact<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let ids = [
        "a",
        "A",
        "a ",
        " a",
        "ä",
        "a\u{308}",
        "Ä",
        "ss",
        "ß",
        "%",
        "_",
        "'",
        "\"",
        "\\",
        "a/b",
        "\u{1f980}",
        "0",
        "00",
    ];
    let services =
        [("default", "orders"), ("default", "Orders"), ("Default", "orders"), ("a/b", "c"), ("a", "b/c"), ("0", "1e1")];
    let named = |(namespace, service): (&str, &str), id: &str| -> Result<_, String> {
        let key = InstanceKey::new(namespace, service, id).map_err(|e| e.to_string())?;
        let Row::Put(_, value) = instance(1, position(1).at(0)) else { return Err("a sample is a put".to_owned()) };
        let id = key.id.clone();
        Ok(Row::Put(key, Arc::new(Instance { id, ..(*value).clone() })))
    };
    let mut rows = Rows::default();
    for id in ids {
        rows.instances.push(named(("default", "orders"), id)?);
    }
    for service in &services[1..] {
        rows.instances.push(named(*service, "a")?);
    }
    let settings = |name: &str| NamespaceSettings { description: name.into(), ..NamespaceSettings::default() };
    for name in ["default", "Default", "DEFAULT", "0", "00", "1e1", "10"] {
        let row = NamespaceRow { settings: settings(name), created_at_ms: 1, revision: position(1).at(0) };
        rows.namespaces.push(Row::Put(Namespace::new(name).map_err(|e| e.to_string())?, row));
    }
    land(store.as_ref(), epoch, rows.clone(), 0, 1).await?;
    holds(store.as_ref(), epoch, at(1), &rows).await?;

    // And a delete takes one of them.
    let gone = InstanceKey {
        service: ServiceKey::new("default", "orders").map_err(|e| e.to_string())?,
        id: InstanceId::new("A").map_err(|e| e.to_string())?,
    };
    rows.instances.retain(|row| *row.key() != gone);
    let batch = Rows { instances: vec![Row::Delete(gone)], ..Rows::default() };
    land(store.as_ref(), epoch, batch, 1, 2).await?;
    holds(store.as_ref(), epoch, at(2), &rows).await
}

pub(super) async fn the_highest_revision<F: Stores>(stores: &F) -> Verdict {
    let (store, epoch) = led(stores).await?;
    let highest = Position::new(127, (1 << 40) - 1).ok_or("no such position")?;
    let below = highest.back(1);
    let row = |revision| Rows { instances: vec![instance(1, revision)], ..Rows::default() };
    let state = |watermark| LogState { identity: LOG(), watermark, time_ms: u64::MAX, rolling_hash: u64::MAX };
    let landed = store.land(epoch, row(below.last()), Position::ZERO, state(below)).await;
    landed.map_err(|e| format!("below the highest: {e}"))?;
    let landed = store.land(epoch, row(highest.last()), below, state(highest)).await;
    landed.map_err(|e| format!("the highest: {e}"))?;
    holds(store.as_ref(), epoch, state(highest), &row(highest.last())).await?;

    let gone = deletes(&row(highest.at(0)));
    store.land(epoch, gone, highest, state(highest)).await.map_err(|e| format!("without moving: {e}"))?;
    holds(store.as_ref(), epoch, state(highest), &Rows::default()).await
}
