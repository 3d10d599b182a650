//! Which files become a store, and what those who can't are told.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use compute::port::PresenceStore;
use compute::port::store::{LandError, ReadError};
use compute::testing::store::sample::{every_kind, identity, position, sorted};
use sqlx::Row;
use store::sqlite::{OpenError, open};

use crate::place::{Place, at};

#[tokio::test]
async fn migrations_are_applied_once() {
    let place = Place::new();
    let rows = sorted(every_kind(position(1)));
    let (store, epoch) = place.landed(rows.clone()).await;
    store.close().await;
    for _ in 0..2 {
        let store = place.open().await;
        let loaded = store.load().await.unwrap();
        assert_eq!((loaded.log, sorted(loaded.rows)), (Some(at(1)), rows.clone()));
        assert_eq!(store.mark().await.unwrap(), Some((epoch, at(1))));
        store.close().await;
    }
    let known = schemas::migration::sqlite::PRESENCE;
    let applied = sqlx::query("SELECT number, name FROM presence_schema ORDER BY number");
    let applied = applied.fetch_all(&mut place.connect().await).await.unwrap();
    let applied: Vec<(u32, String)> = applied.iter().map(|row| (row.get(0), row.get(1))).collect();
    let known: Vec<(u32, String)> = known.iter().map(|m| (m.number, m.name.to_owned())).collect();
    assert_eq!(applied, known);
}

#[tokio::test]
async fn a_file_from_before_there_were_members_is_migrated() {
    let place = Place::new();
    let mut rows = sorted(every_kind(position(1)));
    let (store, epoch) = place.landed(rows.clone()).await;
    store.close().await;
    // As the first program left it.
    place.meddle("DROP TABLE presence_member; DELETE FROM presence_schema WHERE number > 1").await;
    let store = place.open().await;
    let members = std::mem::take(&mut rows.members);
    assert_eq!(sorted(store.load().await.unwrap().rows), rows);
    assert_eq!(store.mark().await.unwrap(), Some((epoch, at(1))));
    rows.members = members;
    store.land(epoch, rows.clone(), at(1).watermark, at(2)).await.unwrap();
    store.close().await;
    assert_eq!(sorted(place.open().await.load().await.unwrap().rows), rows);
}

#[tokio::test]
async fn the_file_has_a_write_ahead_log() {
    let place = Place::new();
    let _store = place.open().await;
    let mode: String = sqlx::query("PRAGMA journal_mode").fetch_one(&mut place.connect().await).await.unwrap().get(0);
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = Place::new();
    place.open().await.close().await;
    let known = schemas::migration::sqlite::PRESENCE.len() as u32;
    place.meddle("INSERT INTO presence_schema SELECT max(number) + 1, 'from_the_future' FROM presence_schema").await;
    let refused = open(&place.file()).await.err().unwrap();
    assert!(
        matches!(&refused, OpenError::NewerSchema { path, found, known: k } if path.ends_with("presence.db") && *found == known + 1 && *k == known),
        "{refused:?}"
    );
    let text = refused.to_string();
    assert!(text.contains("presence.db") && text.contains(&format!("schema {}", known + 1)), "{text}");
    // And it is as it was: whoever wrote it can use it.
    place.meddle("DELETE FROM presence_schema WHERE name = 'from_the_future'").await;
    place.open().await;
}

#[tokio::test]
async fn the_file_of_another_program_is_refused_and_left_alone() {
    let place = Place::new();
    place.meddle("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('x')").await;
    let before = fs::read(place.file()).unwrap();
    let refused = open(&place.file()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused:?}");
    assert!(refused.to_string().contains("bookmarks"), "{refused}");
    let tables = sqlx::query("SELECT name FROM sqlite_schema").fetch_all(&mut place.connect().await).await.unwrap();
    assert_eq!(tables.len(), 1);
    assert_eq!(before.len(), fs::read(place.file()).unwrap().len());
}

#[tokio::test]
async fn a_schema_with_another_past_is_refused() {
    let place = Place::new();
    place.open().await.close().await;
    place.meddle("UPDATE presence_schema SET name = 'something_else' WHERE number = 1").await;
    let refused = open(&place.file()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_file_in_use_is_refused_by_name() {
    let place = Place::new();
    let store = place.open().await;
    let refused = open(&place.file()).await.err().unwrap();
    assert!(matches!(&refused, OpenError::InUse { path } if path.ends_with("presence.db")), "{refused:?}");
    assert!(refused.to_string().contains("presence.db"), "{refused}");

    // By whatever way it is named.
    let link = place.folder().join("link.db");
    std::os::unix::fs::symlink(place.file(), &link).unwrap();
    assert!(matches!(open(&link).await, Err(OpenError::InUse { .. })));

    store.close().await;
    open(&link).await.unwrap();
}

/// The test runs itself as the other process; there it holds the file until its input ends.
#[tokio::test]
async fn a_file_in_use_by_another_process_is_refused_until_it_dies() {
    const HELD: &str = "STORE_TEST_HOLDS";
    if let Some(path) = std::env::var_os(HELD) {
        let _store = open(Path::new(&path)).await.unwrap();
        println!("held");
        std::io::Read::read(&mut std::io::stdin(), &mut [0]).unwrap();
        return;
    }
    let place = Place::new();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "opening::a_file_in_use_by_another_process_is_refused_until_it_dies", "--nocapture"])
        .env(HELD, place.file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = std::io::BufReader::new(other.stdout.take().unwrap());
    let held = std::io::BufRead::lines(said).any(|line| line.unwrap().ends_with("held"));
    assert!(held, "the other process ended before it held the file");
    let refused = open(&place.file()).await.err().unwrap();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");

    other.kill().unwrap();
    other.wait().unwrap();
    place.open().await;
}

#[tokio::test]
async fn no_folder_and_no_file_are_told_apart_from_damage() {
    let place = Place::new();
    let refused = open(&place.folder().join("no/such/presence.db")).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Io { source, .. } if source.kind() == ErrorKind::NotFound), "{refused:?}");
    assert!(refused.to_string().contains("no/such/presence.db"), "{refused}");
    let refused = open(place.folder()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Io { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_closed_store_answers_that_it_is() {
    let place = Place::new();
    let (store, epoch) = place.landed(every_kind(position(1))).await;
    store.close().await;
    store.close().await;
    let refused = store.land(epoch, every_kind(position(2)), at(1).watermark, at(2)).await;
    assert!(matches!(&refused, Err(LandError::Rejected(text)) if text.contains("closed")), "{refused:?}");
    assert!(matches!(store.lead(identity(1)).await, Err(LandError::Rejected(_))));
    assert!(matches!(store.load().await, Err(ReadError::Away(text)) if text.contains("closed")));
    assert!(matches!(store.mark().await, Err(ReadError::Away(_))));
    assert_eq!(place.open().await.mark().await.unwrap(), Some((epoch, at(1))));
}
