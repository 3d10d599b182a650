//! Rows that somebody, or a disk, has spoilt.

use compute::port::PresenceStore;
use compute::port::store::{LandError, ReadError};
use compute::testing::store::sample::{every_kind, identity, position};
use store::mysql::{OpenError, open};

use super::base::Base;
use crate::damage::SPOILT;
use crate::place::at;

#[tokio::test]
async fn a_spoilt_row_is_told_by_table_and_key() {
    let ours = [
        ("ALTER TABLE presence_suspicion MODIFY age_ms VARCHAR(30)", "column age_ms"),
        ("ALTER TABLE presence_tombstone DROP generation", "has not the tables that it was made with"),
    ];
    for (sql, told) in SPOILT.into_iter().chain(ours) {
        let Some(base) = Base::shared().await else { return };
        let (store, _) = base.landed(every_kind(position(1))).await;
        base.meddle(sql).await;
        let Err(ReadError::Unusable(text)) = store.load().await else { panic!("{sql}: loaded") };
        assert!(text.contains(base.name()) && text.contains(told), "{sql}: {text}");
    }
}

#[tokio::test]
async fn nothing_is_landed_on_a_spoilt_mark() {
    let Some(base) = Base::shared().await else { return };
    let (store, epoch) = base.landed(every_kind(position(1))).await;
    base.meddle("UPDATE presence_mark SET rolling_hash = rolling_hash + 1").await;
    for refused in [
        store.land(epoch, every_kind(position(2)), at(1).watermark, at(2)).await,
        store.replace(epoch, every_kind(position(2)), at(2)).await,
        store.lead(identity(1)).await.map(drop),
    ] {
        let Err(LandError::Rejected(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains("presence_mark") && text.contains("damaged"), "{text}");
    }
    assert!(matches!(store.mark().await, Err(ReadError::Unusable(_))));
    let refused = open(&base.settings()).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Damaged(text) if text.contains("presence_mark")), "{refused:?}");
}
