//! Space: a trimmed log gives it back, and the write-ahead log stays as long as it was made.

use std::fs;

use compute::model::Position;
use compute::port::ChangeLog;
use compute::testing::change_log::suite::heavy_frame;

use crate::place::{Place, append, until, wal};

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_trimmed_log_gives_its_space_back() {
    let place = Place::new();
    let log = place.log("a").await.unwrap();
    let identity = log.bounds().await.unwrap().identity;
    let large = heavy_frame(identity, 200);
    let mut last = Position::ZERO;
    for _ in 0..30 {
        last = log.append(large.clone()).await.unwrap();
    }
    log.close().await;
    let grown = fs::metadata(place.path("a")).unwrap().len();
    assert!(grown > 80 * MIB, "{grown}");

    let log = place.log("a").await.unwrap();
    log.trim(last).await.unwrap();
    assert_eq!(log.bounds().await.unwrap().trimmed.offset(), 29);
    // Appends go on while the space is given back in small steps.
    append(&log, 0..50).await;
    until("the file has shrunk", async || fs::metadata(place.path("a")).unwrap().len() < 40 * MIB).await;
    log.close().await;
}

#[tokio::test]
async fn the_write_ahead_log_is_written_over_in_place() {
    let place = Place::new();
    let log = place.log("a").await.unwrap();
    let length = || fs::metadata(wal(&place.path("a"))).unwrap().len();
    let made = length();
    assert!(made >= 4 * MIB, "{made}");
    let identity = log.bounds().await.unwrap().identity;
    let large = heavy_frame(identity, 20);
    // Several times its length, in frames that each fit.
    for _ in 0..100 {
        log.append(large.clone()).await.unwrap();
        assert_eq!(length(), made);
    }
    log.close().await;
    assert!(!wal(&place.path("a")).exists(), "an orderly close leaves one file");
}
