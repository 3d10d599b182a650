use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use cache_sync::local::{Choice, LocalLog, OpenError};
use compute::model::{LogIdentity, Position};
use compute::port::change_log::LogReadError;
use compute::port::clock::SystemClock;
use compute::port::{Chance as _, ChangeLog};
use compute::testing::SeededChance;
use compute::testing::change_log::suite::{Site, frame};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::place::{Place, append, read_all, says_that_it_is_closed, wal};

async fn sql(path: &Path, sql: &str) {
    let mut conn = SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// A log of 20 frames, closed.
async fn written(place: &Place) -> LogIdentity {
    let log = place.log("a").await.unwrap();
    append(&log, 0..20).await;
    let identity = log.bounds().await.unwrap().identity;
    log.close().await;
    identity
}

async fn refused(place: &Place) -> OpenError {
    place.log("a").await.map(|_| ()).expect_err("it was opened")
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = Place::new();
    written(&place).await;
    sql(&place.path("a"), "PRAGMA user_version = 99").await;
    let error = refused(&place).await;
    assert!(matches!(error, OpenError::NewerSchema { found: 99, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("schema 99, and this program knows up to 1"), "{error}");
    sql(&place.path("a"), "PRAGMA user_version = 1").await;
    assert_eq!(read_all(&place.log("a").await.unwrap(), Position::ZERO).await.len(), 20);
}

#[tokio::test]
async fn what_is_no_log_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let path = place.path("a");
    fs::write(&path, "not a database, but long enough to have a header ".repeat(20)).unwrap();
    let before = fs::read(&path).unwrap();
    let error = refused(&place).await;
    assert!(matches!(error, OpenError::NotALog { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::remove_file(&path).unwrap();
    sql(&path, "CREATE TABLE customer (name TEXT); INSERT INTO customer VALUES ('x')").await;
    let before = fs::read(&path).unwrap();
    let error = refused(&place).await;
    assert!(error.to_string().contains("1 tables and indexes of something else"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);

    sql(&path, "PRAGMA application_id = 7").await;
    assert!(refused(&place).await.to_string().contains("application 0x7"));
}

#[tokio::test]
async fn a_log_in_use_is_refused() {
    let place = Place::new();
    let log = place.log("a").await.unwrap();
    append(&log, 0..3).await;
    for _ in 0..3 {
        let error = refused(&place).await;
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("in use by another process"), "{error}");
    }
    append(&log, 3..5).await;
    log.close().await;
    assert_eq!(read_all(&place.log("a").await.unwrap(), Position::ZERO).await.len(), 5);
}

#[tokio::test]
async fn a_path_that_can_not_be_is_named() {
    let place = Place::new();
    let config = cache_sync::local::Config::at(place.path("a").join("deeper.db"));
    let chance = SeededChance::new(1);
    let choice = Choice::OpenOrCreate { generation: 1, chance: &*chance };
    let error = LocalLog::open(&config, choice, SystemClock::new()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains("deeper.db could not be opened"), "{error}");
    fs::create_dir(place.path("a")).unwrap();
    assert!(matches!(refused(&place).await, OpenError::Io { .. }));
}

#[tokio::test]
async fn a_log_that_should_be_there_must_be() {
    let place = Place::new();
    let wanted = LogIdentity([5; 16]);
    let error = place.existing("a", wanted).await.map(|_| ()).unwrap_err();
    assert_eq!(error, OpenError::Missing { path: place.path("a"), wanted });
    assert!(!place.path("a").exists());
    fs::write(place.path("a"), "").unwrap();
    let error = place.existing("a", wanted).await.map(|_| ()).unwrap_err();
    assert_eq!(error, OpenError::Missing { path: place.path("a"), wanted });

    let found = written(&place).await;
    let error = place.existing("a", wanted).await.map(|_| ()).unwrap_err();
    assert_eq!(error, OpenError::OtherLog { path: place.path("a"), found, wanted });
    let message = error.to_string();
    assert!(message.contains(&found.to_string()) && message.contains(&wanted.to_string()), "{message}");
    place.existing("a", found).await.unwrap().close().await;
}

#[tokio::test]
async fn a_new_log_is_of_the_generation_it_is_given() {
    let place = Place::new();
    let chance = SeededChance::new(7);
    let choice = Choice::OpenOrCreate { generation: 3, chance: &*chance };
    let log = LocalLog::open(&place.config("a"), choice, SystemClock::new()).await.unwrap();
    assert_eq!(append(&log, [1]).await, [Position::new(3, 1).unwrap()]);
    log.close().await;
    // It is kept, whatever a later opening would make a new one of.
    let log = place.log("a").await.unwrap();
    assert_eq!(append(&log, [2]).await, [Position::new(3, 2).unwrap()]);
    assert_eq!(read_all(&log, Position::new(3, 0).unwrap()).await.len(), 2);
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let place = Place::new();
    written(&place).await;
    let path = place.path("a");
    let whole = fs::read(&path).unwrap();

    // A byte of a frame.
    let body = whole.windows(7).rposition(|w| w == b"default").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"D", body as u64).unwrap();
    let log = place.log("a").await.unwrap();
    let error = log.read(Position::ZERO, 100).await.unwrap_err();
    assert!(matches!(&error, LogReadError::Unusable(why) if why.contains("its checksum is")), "{error}");
    log.close().await;

    // A row that is gone.
    fs::write(&path, &whole).unwrap();
    sql(&path, "DELETE FROM frame WHERE number = 7").await;
    let log = place.log("a").await.unwrap();
    let error = log.read(Position::ZERO, 100).await.unwrap_err();
    assert!(matches!(&error, LogReadError::Unusable(why) if why.contains("frame 7 is missing")), "{error}");
    log.close().await;

    // Which log it is.
    fs::write(&path, &whole).unwrap();
    sql(&path, "DELETE FROM log").await;
    let error = refused(&place).await;
    assert!(matches!(&error, OpenError::Corrupt { why, .. } if why.contains("which log it is")), "{error}");

    // Every page but the first.
    let mut zeroed = whole.clone();
    zeroed[8_192..].fill(0);
    fs::write(&path, &zeroed).unwrap();
    let error = refused(&place).await;
    assert!(matches!(&error, OpenError::Corrupt { .. }), "{error}");

    // Half the file.
    fs::write(&path, &whole[..8_192]).unwrap();
    let error = refused(&place).await;
    assert!(matches!(&error, OpenError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("is damaged"), "{error}");
}

#[tokio::test]
async fn the_end_of_the_write_ahead_log_may_be_anything() {
    // One log, its files as a crash leaves them: nothing was emptied into the main file.
    let place = Place::new();
    let log = place.log("a").await.unwrap();
    append(&log, 0..30).await;
    let identity = log.bounds().await.unwrap().identity;
    let (main, ahead) = (fs::read(place.path("a")).unwrap(), fs::read(wal(&place.path("a"))).unwrap());
    let used = ahead.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(used < ahead.len(), "the write-ahead log is not made longer than it is used");

    let mut lengths = Vec::new();
    let chance = SeededChance::new(5);
    for _ in 0..40 {
        let cut = chance.below(used as u64 + 1) as usize;
        let mut torn = ahead.clone();
        torn[cut..].fill(0);
        let garbage = chance.bytes();
        torn[cut..cut + garbage.len()].copy_from_slice(&garbage);
        let copy = Place::new();
        fs::write(copy.path("a"), &main).unwrap();
        fs::write(wal(&copy.path("a")), &torn).unwrap();
        let log = copy.existing("a", identity).await.unwrap();
        let entries = read_all(&log, Position::ZERO).await;
        for (seed, entry) in (0..).zip(&entries) {
            assert_eq!(*entry.frame, *frame(identity, seed));
        }
        let next = append(&log, [99]).await[0];
        assert_eq!(next.offset(), entries.len() as u64 + 1);
        log.close().await;
        lengths.push((cut, entries.len()));
    }
    lengths.sort_unstable();
    assert!(lengths.is_sorted_by_key(|(_, frames)| *frames), "less of the file held more frames: {lengths:?}");
    assert!(lengths[0].1 < lengths[lengths.len() - 1].1, "{lengths:?}");
}

#[tokio::test]
async fn a_closed_log_says_so() {
    let place = Place::new();
    let log = place.log("a").await.unwrap();
    append(&log, 0..2).await;
    let identity = log.bounds().await.unwrap().identity;
    let end = log.bounds().await.unwrap().last;
    let mut waiting = Box::pin(log.read(end, 1));
    assert!(futures::poll!(&mut waiting).is_pending());
    log.close().await;
    log.close().await;
    says_that_it_is_closed(&log, waiting, identity, end).await;
}

#[tokio::test]
async fn a_dropped_log_can_be_opened_again() {
    let place = Place::new();
    let log = place.open("a").await;
    let identity = log.bounds().await.unwrap().identity;
    log.append(frame(identity, 1)).await.unwrap();
    drop(log);
    place.close("a").await;
    let log = place.log("a").await.unwrap();
    append(&log, [2]).await;
    drop(log);
    // The writer closes it in its own time.
    let mut reopened = place.log("a").await;
    while let Err(OpenError::InUse { .. }) = reopened {
        tokio::task::yield_now().await;
        reopened = place.log("a").await;
    }
    assert_eq!(read_all(&reopened.unwrap(), Position::ZERO).await.len(), 2);
}
