//! Rows that somebody, or a disk, has spoilt.

use compute::port::PresenceStore;
use compute::port::store::{LandError, ReadError};
use compute::testing::store::sample::{every_kind, identity, position};
use store::mysql::{OpenError, open};

use super::base::Base;
use crate::place::at;

#[tokio::test]
async fn a_spoilt_row_is_told_by_table_and_key() {
    for (sql, told) in [
        (
            "UPDATE presence_instance SET provider = x'ff' WHERE id = 'ttl'",
            "table presence_instance, key default/service-000001/ttl, column provider",
        ),
        (
            "UPDATE presence_instance SET revision = -5 WHERE id = 'ttl'",
            "table presence_instance, key default/service-000001/ttl, column revision",
        ),
        (
            "UPDATE presence_service SET settings = 'text' WHERE service = 'service-000002'",
            "table presence_service, key default/service-000002, column settings",
        ),
        (
            "UPDATE presence_namespace SET namespace = 'no good' WHERE namespace = 'default'",
            "table presence_namespace, key no good, column namespace",
        ),
        ("UPDATE presence_session SET epoch = 99999999999", "column epoch"),
        ("UPDATE presence_origin SET gaps = x'120109' WHERE node = 0", "table presence_origin, key 0, column gaps"),
        ("UPDATE presence_member SET landed = -1", "table presence_member, key "),
        ("UPDATE presence_mark SET watermark = -1", "table presence_mark"),
        ("UPDATE presence_mark SET time_ms = time_ms + 1", "table presence_mark: the row is "),
        (
            "UPDATE presence_instance SET registered_at_ms = registered_at_ms + 1 WHERE id = 'ttl'",
            "table presence_instance, key default/service-000001/ttl, column checksum: the row is ",
        ),
        (
            "UPDATE presence_namespace SET namespace = 'defaulu' WHERE namespace = 'default'",
            "table presence_namespace, key defaulu, column checksum: ",
        ),
        ("ALTER TABLE presence_suspicion MODIFY age_ms VARCHAR(30)", "column age_ms"),
        ("ALTER TABLE presence_tombstone DROP generation", "has not the tables that it was made with"),
        ("DROP TABLE presence_freeze", "presence_freeze"),
    ] {
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
