//! The power fails under a process that lands: every byte that was not flushed is gone, and the store is whole at the
//! last watermark that was acknowledged, or at the next one.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use compute::model::{Position, Rows};
use compute::port::clock::SystemClock;
use compute::port::{Clock, PresenceStore};
use compute::testing::power_loss::Disk;
use compute::testing::store::MemoryStore;
use compute::testing::store::sample::{deletes, identity, instances, position, sorted};
use store::sqlite::open;
use tempfile::TempDir;

use crate::place::at;

const ROLE: &str = "STORE_TEST_LANDS_IN";
const CUTS: usize = 6;
/// Each landing writes some instances anew, so that the whole state is known from the watermark alone.
const COUNT: usize = 60;

/// What the landing of this offset brings.
fn rows(offset: u64) -> Rows {
    let first = (offset as usize * 7) % COUNT;
    let mut rows = instances(first, (first + 20).min(COUNT), position(offset));
    if offset.is_multiple_of(5) {
        rows = deletes(&rows);
    }
    rows
}

/// What a store holds that has had all landings up to this offset.
async fn state(upto: u64) -> Rows {
    let memory = MemoryStore::new();
    let epoch = memory.lead(identity(1)).await.unwrap();
    for offset in 1..=upto {
        memory.land(epoch, rows(offset), before(offset), at(offset)).await.unwrap();
    }
    memory.load().await.unwrap().rows
}

fn before(offset: u64) -> Position {
    if offset == 1 { Position::ZERO } else { at(offset - 1).watermark }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("presence.db")
}

/// Lands until it is killed. Each acknowledged watermark is a line of `acknowledged`.
async fn land_for_ever(directory: &Path) {
    std::thread::spawn(|| {
        // The other end is the test's: without it nobody would end this process.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
    let store = open(&file(directory)).await.unwrap();
    let epoch = store.lead(identity(1)).await.unwrap();
    let mut told = fs::File::options().append(true).create(true).open(directory.join("acknowledged")).unwrap();
    let landed = store.mark().await.unwrap().map_or(0, |(_, log)| log.watermark.offset());
    for offset in landed + 1.. {
        store.land(epoch, rows(offset), before(offset), at(offset)).await.unwrap();
        told.write_all(format!("{offset}\n").as_bytes()).unwrap();
    }
}

struct Landing {
    child: Child,
    told: PathBuf,
}

impl Landing {
    /// Runs a test again as the process that lands.
    fn start(disk: &Disk, test: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(ROLE, disk.root())
            .envs(disk.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, told: disk.root().join("acknowledged") }
    }

    fn acknowledged(&self) -> Vec<u64> {
        let text = fs::read_to_string(&self.told).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Cuts it off after so many landings; the last acknowledged one.
    async fn cut(mut self, disk: &Disk, landings: usize) -> u64 {
        let clock = SystemClock::new();
        let lands = async {
            while self.acknowledged().len() < landings {
                assert!(self.child.try_wait().unwrap().is_none(), "the landing process ended");
                clock.sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), lands).await.expect("it lands");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let last = *self.acknowledged().last().unwrap();
        disk.lose_power().unwrap();
        last
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Both fail when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A disk with an empty directory on it. It is removed with the first of the two.
fn disk(spills: bool) -> (TempDir, Disk) {
    let place = tempfile::tempdir().unwrap();
    let disk = Disk::new(place.path(), "store", 1, spills).unwrap();
    fs::create_dir(disk.root()).unwrap();
    (place, disk)
}

async fn keeps_what_was_acknowledged(test: &str, spills: bool) {
    if let Some(directory) = std::env::var_os(ROLE) {
        return land_for_ever(Path::new(&directory)).await;
    }
    let (_place, disk) = disk(spills);
    for life in 0..CUTS {
        let told = Landing::start(&disk, test).cut(&disk, 1 + life * 37 % 60).await;
        // Looked at in a copy, so that the next process finds what the disk has and nothing else.
        let copied = tempfile::tempdir().unwrap();
        for name in ["presence.db", "presence.db-wal"] {
            let from = disk.root().join(name);
            assert!(from.exists(), "the disk never had {name}");
            fs::copy(from, copied.path().join(name)).unwrap();
        }
        let loaded = open(&file(copied.path())).await.unwrap().load().await.unwrap();
        let log = loaded.log.unwrap();
        let landed = log.watermark.offset();
        assert!((told..=told + 1).contains(&landed), "{told} was acknowledged, and {landed} is there");
        assert_eq!(log, at(landed));
        assert!(sorted(loaded.rows) == sorted(state(landed).await), "the rows are not those of {landed}");
    }
}

#[tokio::test]
async fn what_was_landed_is_there_without_a_byte_that_was_not_flushed() {
    keeps_what_was_acknowledged("power_loss::what_was_landed_is_there_without_a_byte_that_was_not_flushed", false)
        .await;
}

#[tokio::test]
async fn what_was_landed_is_there_among_bytes_that_nobody_asked_for() {
    keeps_what_was_acknowledged("power_loss::what_was_landed_is_there_among_bytes_that_nobody_asked_for", true).await;
}

/// That the two above can fail.
#[tokio::test]
async fn a_disk_that_does_not_flush_loses_what_was_landed() {
    if let Some(directory) = std::env::var_os(ROLE) {
        return land_for_ever(Path::new(&directory)).await;
    }
    let test = "power_loss::a_disk_that_does_not_flush_loses_what_was_landed";
    let (_place, disk) = disk(false);
    Landing::start(&disk, test).cut(&disk, 1).await;
    disk.lie_about("/presence.db").unwrap();
    let told = Landing::start(&disk, test).cut(&disk, 10).await;
    let (_, log) = open(&file(disk.root())).await.unwrap().mark().await.unwrap().unwrap();
    let landed = log.watermark.offset();
    assert!(landed < told, "{told} was acknowledged and {landed} is there, on a disk that has flushed nothing");
}
