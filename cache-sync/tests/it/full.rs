//! A disk that is full: appends are refused, and nothing else is lost.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cache_sync::local::{Config, LocalLog, OpenError};
use compute::model::{LogIdentity, Position};
use compute::port::ChangeLog;
use compute::port::change_log::AppendError;
use compute::testing::change_log::suite::{frame, heavy_frame};

use crate::place::{Place, append, read_all};

/// A small disk of its own, in memory; only root may make one.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None`, and a loud line, where nobody may make one; in CI that is a failure.
    fn of(bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let made = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "thuban-test"])
            .arg(directory.path())
            .stderr(std::process::Stdio::null())
            .status();
        if made.is_ok_and(|status| status.success()) {
            return Some(Self(directory));
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no disk can be mounted: full disks are not tested");
        // Past what the test harness swallows.
        let _ = writeln!(
            std::io::stderr(),
            "\n*** SKIPPED: only root may mount a small disk, a full one is not tested ***"
        );
        None
    }

    /// Takes all the space that is left.
    fn fill(&self) -> std::path::PathBuf {
        let path = self.0.path().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        for size in [65_536, 512] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a log that a failed test left open must not keep it mounted.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Appends large frames until one is refused; how many were written, and why no more.
async fn append_until_refused(log: &LocalLog, identity: LogIdentity) -> (u64, String) {
    for written in 0..1_000 {
        match log.append(heavy_frame(identity, 40)).await {
            Ok(_) => {}
            Err(AppendError::Refused(why)) => return (written, why),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("there is no end to the disk");
}

/// Asks until a large frame is accepted: trimmed space is made use of in small steps.
async fn accepted(log: &LocalLog, identity: LogIdentity) {
    let asked = async {
        while let Err(error) = log.append(heavy_frame(identity, 40)).await {
            assert!(matches!(error, AppendError::Refused(_)), "{error}");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("it is refused for ever");
}

/// Everything written is there, and no more.
async fn check(log: &Arc<LocalLog>, identity: LogIdentity, small: u64, large: u64) {
    let entries = read_all(log, Position::ZERO).await;
    assert_eq!(entries.len() as u64, small + large);
    let large = heavy_frame(identity, 40);
    for (seed, entry) in (0..).zip(&entries) {
        let wanted = if seed < small { frame(identity, seed) } else { Arc::clone(&large) };
        assert!(entry.frame == wanted, "another frame at {}", entry.position);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let Some(disk) = Disk::of(24 * 1024 * 1024) else {
        // Not root: the limit of the file stands in, below.
        return refuses_at_the_limit().await;
    };
    let place = Place::in_directory(disk.0.path());
    let log = place.log("a").await.unwrap();
    let identity = log.bounds().await.unwrap().identity;
    append(&log, 0..10).await;
    let (large, why) = append_until_refused(&log, identity).await;
    assert!(why.contains("the disk of") && why.contains("is full"), "{why}");
    check(&log, identity, 10, large).await;
    // Small ones may still fit, or not; none is in doubt.
    let mut more = 0;
    while log.append(heavy_frame(identity, 40)).await.is_ok() {
        more += 1;
    }
    disk.fill();
    log.close().await;
    let log = place.log("a").await.unwrap();
    check(&log, identity, 10, large + more).await;
    // Nobody frees anything, but what is trimmed is enough to go on.
    let end = 10 + large + more;
    log.trim(Position::new(1, end - 1).unwrap()).await.unwrap();
    accepted(&log, identity).await;
    let (again, _) = append_until_refused(&log, identity).await;
    assert!(again > 2, "{again} more after {large} and a trim");
    let kept = read_all(&log, Position::new(1, end - 1).unwrap()).await;
    assert_eq!(kept.len() as u64, 1 + 1 + again);
    assert!(kept.iter().all(|entry| *entry.frame == *heavy_frame(identity, 40)));
    log.close().await;
}

#[tokio::test]
async fn a_disk_without_room_for_a_log_says_so() {
    let Some(disk) = Disk::of(1024 * 1024) else { return };
    let ballast = disk.fill();
    let place = Place::in_directory(disk.0.path());
    let error = place.log("a").await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Full { .. }), "{error}");
    assert!(error.to_string().contains("is full"), "{error}");
    fs::remove_file(ballast).unwrap();
    // Room for the log, not for all of the write-ahead log: slower, and right. The thread of the connection that failed
    // lets go of the file after it was heard of.
    let opened = async {
        loop {
            match place.log("a").await {
                Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
                opened => return opened,
            }
        }
    };
    let log = tokio::time::timeout(Duration::from_secs(20), opened).await.expect("the file is free").unwrap();
    append(&log, 0..10).await;
    log.close().await;
}

#[tokio::test]
async fn a_file_at_its_limit_refuses_until_it_is_trimmed() {
    refuses_at_the_limit().await;
}

async fn refuses_at_the_limit() {
    fn small(config: &mut Config) {
        config.file_bytes_max = Some(8 * 1024 * 1024);
    }
    let place = Place::with(small);
    let log = place.log("a").await.unwrap();
    let identity = log.bounds().await.unwrap().identity;
    append(&log, 0..10).await;
    let (large, why) = append_until_refused(&log, identity).await;
    assert!(why.contains("as large as it may be, 8388608 bytes"), "{why}");
    assert!(large > 5, "{large} frames of 640 KiB in 8 MiB");
    check(&log, identity, 10, large).await;
    log.trim(Position::new(1, 10 + large / 2).unwrap()).await.unwrap();
    let (again, _) = append_until_refused(&log, identity).await;
    assert!(again > 2, "{again} more in what {} left", large / 2);
    let last = log.bounds().await.unwrap().last;
    log.close().await;
    let log = place.log("a").await.unwrap();
    assert_eq!(log.bounds().await.unwrap().last, last);
    assert!(size(&place.path("a")) <= 8 * 1024 * 1024);
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}
