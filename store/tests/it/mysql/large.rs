//! States that more than one reader loads, and rows that do not fit a statement together.

use std::sync::Arc;

use compute::model::{Instance, Provider, Row, Rows};
use compute::port::PresenceStore;
use compute::testing::store::sample::{deletes, instance, instances, position, sorted};
use sqlx::Row as _;

use super::base::Base;
use super::server::Server;
use crate::large::{COUNT, each_load_sees_one_watermark};
use crate::place::at;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_large_load_sees_one_watermark() {
    let Some(base) = Base::shared().await else { return };
    let (store, epoch) = base.landed(instances(0, COUNT, position(1))).await;
    each_load_sees_one_watermark(&*store, &*base.open().await, epoch, 4).await;
}

/// A landing finds its rows by their keys: one that looked through the table would be right, and never end.
#[tokio::test]
async fn a_landing_touches_its_own_rows() {
    const TOUCHED: usize = 111;
    let Some(server) = Server::start() else { return };
    let base = Base::on(&server.address()).await;
    let (store, epoch) = base.landed(instances(0, COUNT, position(1))).await;
    let read = async || -> i64 {
        let rows = base.rows("SHOW GLOBAL STATUS LIKE 'Handler_read_%'").await;
        assert!(!rows.is_empty());
        rows.iter().map(|row| row.get::<String, _>(1).parse::<i64>().unwrap()).sum()
    };
    let some = |offset| {
        let rows = (0..TOUCHED).map(|n| instance(n * 80, position(offset).at(0))).collect();
        Rows { instances: rows, ..Rows::default() }
    };
    let before = read().await;
    store.land(epoch, some(2), at(1).watermark, at(2)).await.unwrap();
    let updated = read().await;
    store.land(epoch, deletes(&some(3)), at(2).watermark, at(3)).await.unwrap();
    let deleted = read().await;
    // Each row a few times, and not the 9,000.
    let most = TOUCHED as i64 * 10;
    assert!(updated - before <= most, "{} rows were read to update {TOUCHED}", updated - before);
    assert!(deleted - updated <= most, "{} rows were read to delete {TOUCHED}", deleted - updated);
    assert_eq!(store.load().await.unwrap().rows.instances.len(), COUNT - TOUCHED);
}

#[tokio::test]
async fn rows_that_are_large_take_more_statements() {
    let Some(base) = Base::shared().await else { return };
    let large = |n: usize, offset: u64| {
        let Row::Put(key, value) = instance(n, position(offset).at(0)) else { unreachable!("a sample is a put") };
        let mut spec = value.provider.spec();
        spec.metadata =
            (0..15).map(|n| (format!("key-{n}"), format!("{n}").repeat(1_024 / n.to_string().len()))).collect();
        let provider = Provider::new(&spec).unwrap();
        Row::Put(key, Arc::new(Instance { provider, ..(*value).clone() }))
    };
    // 17 MB in a thousand rows: more than a server takes in one packet.
    let rows = |offset| Rows { instances: (0..1_111).map(|n| large(n, offset)).collect(), ..Rows::default() };
    let (store, epoch) = base.landed(rows(1)).await;
    assert!(sorted(store.load().await.unwrap().rows) == sorted(rows(1)));
    store.land(epoch, rows(2), at(1).watermark, at(2)).await.unwrap();
    assert!(sorted(store.load().await.unwrap().rows) == sorted(rows(2)));
    // A replacement takes away more than one statement does.
    store.replace(epoch, instances(0, 25_000, position(3)), at(3)).await.unwrap();
    store.replace(epoch, rows(4), at(4)).await.unwrap();
    assert!(sorted(store.load().await.unwrap().rows) == sorted(rows(4)));
}
