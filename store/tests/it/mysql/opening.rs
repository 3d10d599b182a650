//! Which databases become a store, and what those who can't are told.

use compute::port::PresenceStore;
use compute::port::store::{LandError, ReadError};
use compute::testing::store::sample::{every_kind, identity, position, sorted};
use sqlx::Row;
use store::mysql::{OpenError, Settings, open};

use super::base::Base;
use super::server::{PASSWORD, shared};
use crate::place::at;

#[tokio::test]
async fn migrations_are_applied_once() {
    let Some(base) = Base::shared().await else { return };
    let rows = sorted(every_kind(position(1)));
    let (store, epoch) = base.landed(rows.clone()).await;
    store.close().await;
    for _ in 0..2 {
        let store = base.open().await;
        let loaded = store.load().await.unwrap();
        assert_eq!((loaded.log, sorted(loaded.rows)), (Some(at(1)), rows.clone()));
        assert_eq!(store.mark().await.unwrap(), Some((epoch, at(1))));
        store.close().await;
    }
    assert_eq!(applied(&base).await, known());
}

async fn applied(base: &Base) -> Vec<(i64, String)> {
    let rows = base.rows("SELECT number, name FROM presence_schema ORDER BY number").await;
    let name = |row: &sqlx::mysql::MySqlRow| String::from_utf8(row.get(1)).unwrap();
    rows.iter().map(|row| (row.get(0), name(row))).collect()
}

fn known() -> Vec<(i64, String)> {
    let known = schemas::migration::mysql::PRESENCE.iter();
    known.map(|migration| (i64::from(migration.number), migration.name.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_start_at_once_migrate_once() {
    if shared().is_none() {
        return;
    }
    for _ in 0..3 {
        let Some(base) = Base::shared().await else { return };
        let nodes = (0..5).map(|_| {
            let settings = base.settings();
            tokio::spawn(async move { open(&settings).await })
        });
        let nodes: Vec<_> = nodes.collect();
        let mut stores = vec![];
        for node in nodes {
            stores.push(node.await.unwrap().unwrap());
        }
        assert_eq!(applied(&base).await, known());
        let epoch = stores[0].lead(identity(1)).await.unwrap();
        for store in stores {
            assert_eq!(store.mark().await.unwrap().map(|(e, _)| e), Some(epoch));
        }
    }
}

/// What a node leaves that dies while it migrates: some tables, and no word that they are all there.
#[tokio::test]
async fn a_migration_that_broke_off_is_done_again() {
    let Some(base) = Base::shared().await else { return };
    base.open().await.close().await;
    base.meddle("DELETE FROM presence_schema; DROP TABLE presence_freeze; DROP TABLE presence_origin").await;
    let (store, _) = base.landed(every_kind(position(1))).await;
    assert!(sorted(store.load().await.unwrap().rows) == sorted(every_kind(position(1))));
    assert_eq!(applied(&base).await, known());
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Some(base) = Base::shared().await else { return };
    base.open().await.close().await;
    base.meddle("INSERT INTO presence_schema SELECT max(number) + 1, 'from_the_future' FROM presence_schema").await;
    let known = known().len() as u32;
    let refused = open(&base.settings()).await.err().unwrap();
    assert!(
        matches!(&refused, OpenError::NewerSchema { place, found, known: k }
            if place.ends_with(base.name()) && *found == known + 1 && *k == known),
        "{refused:?}"
    );
    assert!(refused.to_string().contains(&format!("schema {}", known + 1)), "{refused}");
    // And it is as it was: whoever wrote it can use it.
    base.meddle("DELETE FROM presence_schema WHERE name = 'from_the_future'").await;
    base.open().await;
}

#[tokio::test]
async fn tables_of_another_program_are_refused_and_left_alone() {
    let Some(base) = Base::shared().await else { return };
    base.meddle("CREATE TABLE presence_mark (url VARCHAR(9)); CREATE TABLE bookmarks (url VARCHAR(9))").await;
    let refused = open(&base.settings()).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Foreign { .. }), "{refused:?}");
    assert!(refused.to_string().contains("presence_mark"), "{refused}");
    assert_eq!(base.rows("SHOW TABLES").await.len(), 2);
    // What is not called like ours may stay beside it.
    base.meddle("DROP TABLE presence_mark").await;
    base.open().await;
    assert_eq!(base.rows("SELECT url FROM bookmarks").await.len(), 0);

    let other = Base::shared().await.unwrap();
    other.open().await.close().await;
    other.meddle("UPDATE presence_schema SET name = 'something_else' WHERE number = 1").await;
    assert!(matches!(open(&other.settings()).await, Err(OpenError::Foreign { .. })));
}

#[tokio::test]
async fn who_may_not_in_is_told_and_no_password_is() {
    let Some(base) = Base::shared().await else { return };
    let settings = base.settings();
    for wrong in [
        Settings { password: Some("hunter2".to_owned()), ..settings.clone() },
        Settings { password: None, ..settings.clone() },
        Settings { user: "nobody".to_owned(), ..settings.clone() },
    ] {
        let refused = open(&wrong).await.err().unwrap();
        assert!(matches!(refused, OpenError::Denied(_)), "{refused:?}");
        let text = format!("{refused} {refused:?}");
        assert!(text.contains("Access denied") && text.contains(base.name()), "{text}");
        assert!(!text.contains("hunter2") && !text.contains(PASSWORD), "{text}");
    }
    let refused = open(&Settings { database: "no_such_database".to_owned(), ..settings.clone() }).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Denied(text) if text.contains("no_such_database")), "{refused:?}");

    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let refused = open(&Settings { port: nobody, ..settings }).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Away(text) if text.contains(&nobody.to_string())), "{refused:?}");
}

#[tokio::test]
async fn a_user_who_may_only_read_lands_nothing() {
    let Some(base) = Base::shared().await else { return };
    let reader = format!("reader_{}", base.name().rsplit('_').next().unwrap());
    let grant =
        format!("CREATE USER {reader}@'%' IDENTIFIED BY 'looks'; GRANT SELECT ON `{}`.* TO {reader}@'%'", base.name());
    base.meddle(&grant).await;
    let settings = Settings { user: reader.clone(), password: Some("looks".to_owned()), ..base.settings() };
    // It can't make the tables either.
    let refused = open(&settings).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Denied(text) if text.contains("denied")), "{refused:?}");

    let (store, epoch) = base.landed(every_kind(position(1))).await;
    let looking = open(&settings).await.unwrap();
    for refused in [
        looking.lead(identity(1)).await.map(drop),
        looking.land(epoch, every_kind(position(2)), at(1).watermark, at(2)).await,
        looking.replace(epoch, every_kind(position(2)), at(2)).await,
    ] {
        let Err(LandError::Rejected(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains("denied") && text.contains(&reader), "{text}");
    }
    assert_eq!(store.mark().await.unwrap(), Some((epoch, at(1))));
    base.meddle(&format!("DROP USER {reader}@'%'")).await;
}

#[tokio::test]
async fn a_closed_store_answers_that_it_is() {
    let Some(base) = Base::shared().await else { return };
    let (store, epoch) = base.landed(every_kind(position(1))).await;
    store.close().await;
    store.close().await;
    let refused = store.land(epoch, every_kind(position(2)), at(1).watermark, at(2)).await;
    assert!(matches!(&refused, Err(LandError::Rejected(text)) if text.contains("closed")), "{refused:?}");
    assert!(matches!(store.lead(identity(1)).await, Err(LandError::Rejected(_))));
    assert!(matches!(store.load().await, Err(ReadError::Away(text)) if text.contains("closed")));
    assert!(matches!(store.mark().await, Err(ReadError::Away(_))));
    assert_eq!(base.open().await.mark().await.unwrap(), Some((epoch, at(1))));
}
