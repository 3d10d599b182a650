//! No room, and no turn.

use std::sync::Arc;

use compute::port::PresenceStore;
use compute::port::store::LandError;
use compute::testing::store::sample::{every_kind, identity, instances, position, sorted};
use sqlx::{Connection, Executor};
use store::sqlite::{Settings, SqliteStore, open, open_with};

use crate::place::{Place, at};

const ROOM: Settings = Settings { file_bytes_max: Some(2 * 1024 * 1024) };

async fn narrow(place: &Place) -> Arc<SqliteStore> {
    open_with(&place.file(), ROOM).await.unwrap()
}

fn is_full(landed: Result<(), LandError>) {
    let Err(LandError::Rejected(text)) = landed else { panic!("{landed:?}") };
    assert!(text.contains("presence.db") && text.contains("free space"), "{text}");
}

#[tokio::test]
async fn a_full_disk_refuses_a_landing_whole_and_goes_on_when_there_is_room() {
    let place = Place::new();
    let store = narrow(&place).await;
    let epoch = store.lead(identity(1)).await.unwrap();
    let small = every_kind(position(1));
    store.land(epoch, small.clone(), compute::model::Position::ZERO, at(1)).await.unwrap();

    let large = || instances(0, 12_000, position(2));
    for _ in 0..3 {
        is_full(store.land(epoch, large(), at(1).watermark, at(2)).await);
        assert_eq!(store.mark().await.unwrap(), Some((epoch, at(1))));
        let loaded = store.load().await.unwrap();
        assert!(sorted(loaded.rows) == sorted(small.clone()), "something of a refused landing is there");
    }
    is_full(store.replace(epoch, large(), at(2)).await);
    assert_eq!(store.mark().await.unwrap(), Some((epoch, at(1))));

    // What fits is landed, by the same holder.
    store.land(epoch, instances(0, 100, position(2)), at(1).watermark, at(2)).await.unwrap();
    store.close().await;

    let store = open(&place.file()).await.unwrap();
    store.land(epoch, large(), at(2).watermark, at(3)).await.unwrap();
    assert_eq!(store.load().await.unwrap().rows.instances.len(), 12_000 + small.instances.len());
}

#[tokio::test]
async fn another_program_in_the_file_refuses_a_landing_but_no_load() {
    let place = Place::new();
    let rows = sorted(every_kind(position(1)));
    let (store, epoch) = place.landed(rows.clone()).await;
    let mut other = place.connect().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let landed = store.land(epoch, every_kind(position(2)), at(1).watermark, at(2)).await;
    let Err(LandError::Rejected(text)) = landed else { panic!("{landed:?}") };
    assert!(text.contains("presence.db") && text.contains("another program"), "{text}");
    assert!(sorted(store.load().await.unwrap().rows) == rows);

    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    store.land(epoch, every_kind(position(2)), at(1).watermark, at(2)).await.unwrap();
}
