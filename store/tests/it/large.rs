//! States that more than one reader loads.

use compute::port::PresenceStore;
use compute::port::store::Epoch;
use compute::testing::store::sample::{deletes, instances, position, sorted};
use futures::future::join;

use crate::place::{Place, at};

/// More than two turns of a reader.
pub(crate) const COUNT: usize = 9_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_large_load_sees_one_watermark() {
    let place = Place::new();
    let (store, epoch) = place.landed(instances(0, COUNT, position(1))).await;
    each_load_sees_one_watermark(&*store, &*store, epoch, 6).await;
}

/// Loads through one store while another lands, the first state being there already, until `landings` are.
pub(crate) async fn each_load_sees_one_watermark(
    landing: &dyn PresenceStore,
    loading: &dyn PresenceStore,
    epoch: Epoch,
    landings: u64,
) {
    let state = |offset| instances(0, COUNT, position(offset));
    let landing = async {
        for offset in 1..landings {
            landing.land(epoch, state(offset + 1), at(offset).watermark, at(offset + 1)).await.unwrap();
        }
    };
    let loading = async {
        let mut seen = 0;
        while seen < landings {
            let loaded = loading.load().await.unwrap();
            seen = loaded.log.unwrap().watermark.offset();
            assert!(sorted(loaded.rows) == sorted(state(seen)), "a load at {seen} shows rows of another watermark");
        }
    };
    join(landing, loading).await;
}

/// Rowids of a file that has lived long: a few old rows, and nearly all at the far end.
#[tokio::test]
async fn gaps_between_rows_are_no_work_and_lose_nothing() {
    let place = Place::new();
    let (store, epoch) = place.landed(instances(0, COUNT, position(1))).await;
    let gone = deletes(&instances(10, COUNT - 1, position(1)));
    store.land(epoch, gone, at(1).watermark, at(2)).await.unwrap();
    place.meddle("UPDATE presence_instance SET rowid = 9000000000000000000 WHERE rowid > 1000").await;
    let mut wanted = instances(0, 10, position(1));
    wanted.instances.extend(instances(COUNT - 1, COUNT, position(1)).instances);
    let rows = sorted;
    assert!(rows(store.load().await.unwrap().rows) == rows(wanted.clone()));

    place.meddle("UPDATE presence_instance SET rowid = 9223372036854775807 WHERE rowid > 1000").await;
    place.meddle("UPDATE presence_instance SET rowid = -9223372036854775808 WHERE rowid = 1").await;
    assert!(rows(store.load().await.unwrap().rows) == rows(wanted));
}
