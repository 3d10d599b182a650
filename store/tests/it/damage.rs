//! What a crash or a bad disk leaves.

use std::fs;
use std::path::Path;

use compute::model::Rows;
use compute::port::PresenceStore;
use compute::port::store::ReadError;
use compute::testing::store::sample::{every_kind, instance, instances, position, sorted};
use futures::poll;
use store::sqlite::{OpenError, open};

use crate::place::{Place, at};

/// A change of a row that no program makes, and what is told of it, on every database.
pub(crate) const SPOILT: [(&str, &str); 12] = [
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
    ("UPDATE presence_member SET landed = -1", "table presence_member, key "),
    ("DROP TABLE presence_freeze", "presence_freeze"),
];

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let place = Place::new();
    let garbage: Vec<u8> = (0..20_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    fs::write(place.file(), &garbage).unwrap();
    let refused = open(&place.file()).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Corrupt { path, .. } if path.ends_with("presence.db")), "{refused:?}");
    assert!(refused.to_string().contains("presence.db"), "{refused}");
    assert_eq!(fs::read(place.file()).unwrap(), garbage);
}

#[tokio::test]
async fn a_damaged_page_is_told_with_the_file() {
    let place = Place::new();
    let (store, _) = place.landed(instances(0, 5_000, position(1))).await;
    store.close().await;
    let mut bytes = fs::read(place.file()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xa5);
    fs::write(place.file(), bytes).unwrap();
    // Opening may find it, else loading does; neither gives rows.
    match open(&place.file()).await {
        Err(refused) => assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}"),
        Ok(store) => {
            let Err(ReadError::Unusable(text)) = store.load().await else { panic!("half a file was loaded") };
            assert!(text.contains("presence.db") && text.contains("damaged"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_spoilt_row_is_told_by_table_and_key() {
    for (sql, told) in SPOILT {
        let place = Place::new();
        let (store, _) = place.landed(every_kind(position(1))).await;
        place.meddle(sql).await;
        let Err(ReadError::Unusable(text)) = store.load().await else { panic!("{sql}: loaded") };
        assert!(text.contains("presence.db") && text.contains(told), "{sql}: {text}");
    }
}

/// SQLite itself does not mind: it is a good page with another row.
#[tokio::test]
async fn a_bit_that_a_disk_turned_is_not_served() {
    let place = Place::new();
    let (store, _) = place.landed(every_kind(position(1))).await;
    store.close().await;
    let mut bytes = fs::read(place.file()).unwrap();
    let host = b"10.0.";
    let at: Vec<usize> = (0..bytes.len() - host.len()).filter(|at| bytes[*at..].starts_with(host)).collect();
    assert!(!at.is_empty(), "no host is in the file");
    at.iter().for_each(|at| bytes[*at + 3] ^= 1);
    fs::write(place.file(), bytes).unwrap();
    let store = place.open().await;
    let Err(ReadError::Unusable(text)) = store.load().await else { panic!("another host was loaded") };
    for word in ["presence.db", "table presence_instance, key ", "it is damaged; restore the store from a copy"] {
        assert!(text.contains(word), "{text}");
    }
}

#[tokio::test]
async fn a_spoilt_mark_is_found_at_the_start() {
    let place = Place::new();
    let (store, _) = place.landed(every_kind(position(1))).await;
    store.close().await;
    place.meddle("UPDATE presence_mark SET watermark = -1").await;
    let refused = open(&place.file()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}");
    assert!(refused.to_string().contains("presence_mark"), "{refused}");
}

/// What a crash leaves of the files. The write-ahead log is copied last: what is in the file by then is in it too. Its
/// index is left out: SQLite makes it again.
fn copy(from: &Path, to: &Path) {
    for name in ["presence.db", "presence.db-wal"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// Copies of the files, taken while a landing runs, open at the old watermark or at the new one, whole.
#[tokio::test]
async fn a_crash_in_a_landing_leaves_one_watermark() {
    let place = Place::new();
    let old = sorted(instances(0, 2_000, position(1)));
    let new = sorted(instances(0, 6_000, position(2)));
    let (store, epoch) = place.landed(old.clone()).await;

    let (mut copies, mut polls) = (vec![], 0_u32);
    let mut landing = store.land(epoch, new.clone(), at(1).watermark, at(2));
    while !poll!(&mut landing).is_ready() {
        polls += 1;
        // Seldom and seldomer: some at its beginning, some well within it.
        if polls.is_power_of_two() {
            let crashed = Place::new();
            copy(place.folder(), crashed.folder());
            copies.push(crashed);
        }
        tokio::task::yield_now().await;
    }
    let after = Place::new();
    copy(place.folder(), after.folder());
    copies.push(after);

    let mut seen = [0, 0];
    for crashed in copies {
        let store = crashed.open().await;
        let loaded = store.load().await.unwrap();
        let (place, wanted) = if loaded.log == Some(at(1)) { (0, &old) } else { (1, &new) };
        assert_eq!(loaded.log, Some(at(place + 1)));
        assert!(sorted(loaded.rows) == *wanted, "at watermark {}, with other rows", place + 1);
        seen[place as usize] += 1;
        // It goes on from there.
        let epoch = store.lead(at(1).identity).await.unwrap();
        let rows = Rows { instances: vec![instance(9, position(3).at(0))], ..Rows::default() };
        store.land(epoch, rows, at(place + 1).watermark, at(3)).await.unwrap();
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}: no copy was taken in the middle");
}

/// A commit that was not synced whole is as if it had never been, and the one before it is there.
#[tokio::test]
async fn a_torn_write_ahead_log_opens_at_a_commit() {
    let place = Place::new();
    let (store, epoch) = place.landed(every_kind(position(1))).await;
    let log = place.folder().join("presence.db-wal");
    let mut lengths = vec![fs::metadata(&log).unwrap().len()];
    for offset in 2..6 {
        store.land(epoch, every_kind(position(offset)), at(offset - 1).watermark, at(offset)).await.unwrap();
        lengths.push(fs::metadata(&log).unwrap().len());
    }
    assert!(lengths.is_sorted_by(|a, b| a < b), "{lengths:?}");
    for (place_of, pair) in lengths.windows(2).enumerate() {
        for cut in [pair[0], pair[0] + 1, u64::midpoint(pair[0], pair[1]), pair[1] - 1] {
            let torn = Place::new();
            copy(place.folder(), torn.folder());
            let log = fs::File::options().write(true).open(torn.folder().join("presence.db-wal")).unwrap();
            log.set_len(cut).unwrap();
            let loaded = torn.open().await.load().await.unwrap();
            let offset = place_of as u64 + 1;
            assert_eq!(loaded.log, Some(at(offset)), "cut at {cut} of {lengths:?}");
            assert!(sorted(loaded.rows) == sorted(every_kind(position(offset))), "cut at {cut}");
        }
    }
}
