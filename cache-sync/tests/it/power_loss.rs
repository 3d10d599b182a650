//! The power fails under a process that appends: every byte that was not flushed is gone, and no acknowledged frame is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use compute::model::Position;
use compute::port::ChangeLog;
use compute::testing::power_loss::Disk;

use crate::crash::{ROLE, Writer, holds, write_for_ever};
use crate::place::Place;

const CUTS: usize = 6;

/// Runs this test again as the process that appends, and cuts it off after so many frames; what it had acknowledged.
async fn cut(disk: &Disk, test: &str, frames: usize) -> BTreeMap<Position, u64> {
    let mut writer = Writer::start_with(disk.root(), test, disk.environment());
    writer.has_written(frames).await;
    let acknowledged = writer.kill();
    disk.lose_power().unwrap();
    acknowledged
}

async fn keeps_what_was_acknowledged(test: &str, spills: bool) {
    if let Some(directory) = std::env::var_os(ROLE) {
        return write_for_ever(Path::new(&directory)).await;
    }
    let place = tempfile::tempdir().unwrap();
    let disk = Disk::new(place.path(), "log", 1, spills).unwrap();
    fs::create_dir(disk.root()).unwrap();
    let mut end = 0;
    for life in 0..CUTS {
        let acknowledged = cut(&disk, test, 1 + life * 53 % 100).await;
        let copied = tempfile::tempdir().unwrap();
        for name in ["a.db", "a.db-wal"] {
            let from = disk.root().join(name);
            assert!(from.exists(), "the disk never had {name}");
            fs::copy(from, copied.path().join(name)).unwrap();
        }
        // The check appends, and does not flush through this disk: it has a copy.
        let last = holds(copied.path(), &acknowledged).await;
        assert!(last > end, "it ended at {end} before, now at {last}");
        end = last;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_without_a_byte_that_was_not_flushed() {
    let test = "power_loss::what_was_acknowledged_is_there_without_a_byte_that_was_not_flushed";
    keeps_what_was_acknowledged(test, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_among_bytes_that_nobody_asked_for() {
    let test = "power_loss::what_was_acknowledged_is_there_among_bytes_that_nobody_asked_for";
    keeps_what_was_acknowledged(test, true).await;
}

/// That the two above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_does_not_flush_loses_what_was_acknowledged() {
    if let Some(directory) = std::env::var_os(ROLE) {
        return write_for_ever(Path::new(&directory)).await;
    }
    let place = tempfile::tempdir().unwrap();
    let disk = Disk::new(place.path(), "log", 1, false).unwrap();
    fs::create_dir(disk.root()).unwrap();
    let test = "power_loss::a_disk_that_does_not_flush_loses_what_was_acknowledged";
    cut(&disk, test, 1).await;
    disk.lie_about("/a.db").unwrap();
    let acknowledged = cut(&disk, test, 50).await;
    let log = Place::in_directory(disk.root()).log("a").await.unwrap();
    let (last, told) = (log.bounds().await.unwrap().last, acknowledged.keys().last().unwrap());
    assert!(last < *told, "{told} was acknowledged and {last} is there, on a disk that has flushed nothing");
    log.close().await;
}
