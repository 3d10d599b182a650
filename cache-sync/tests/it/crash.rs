//! A process that dies: what it was told is durable is there afterwards, whenever that was.
//!
//! The test runs its own binary again as the process that dies. That one appends from several tasks and trims behind
//! itself, so that it is stopped in the middle of commits, checkpoints and trims alike.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cache_sync::local::OpenError;
use compute::model::Position;
use compute::port::ChangeLog;
use compute::testing::change_log::suite::{frame, heavy_frame};

use crate::place::{Place, read_all, until, wal};

pub(crate) const ROLE: &str = "CACHE_SYNC_TEST_WRITES_IN";
const WRITERS: u64 = 4;
/// Every so many frames of a writer, one is large.
const HEAVY_EVERY: u64 = 40;

/// Appends until it is killed. Each acknowledged append is a line of `acknowledged`: position and seed.
pub(crate) async fn write_for_ever(directory: &Path) {
    let place = Place::in_directory(directory);
    let log = place.log("a").await.unwrap();
    let identity = log.bounds().await.unwrap().identity;
    let file = fs::File::options().append(true).create(true).open(directory.join("acknowledged")).unwrap();
    let file = Arc::new(file);
    std::thread::spawn(|| {
        // The other end is the test's: without it nobody would end this process.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
    let writers: Vec<_> = (1..=WRITERS)
        .map(|writer| {
            let (log, file) = (Arc::clone(&log), Arc::clone(&file));
            tokio::spawn(async move {
                for n in 0.. {
                    let seed = writer * 1_000_000 + n;
                    let frame = match n % HEAVY_EVERY {
                        0 => heavy_frame(identity, 10),
                        _ => frame(identity, seed),
                    };
                    let position = log.append(frame).await.unwrap();
                    // One write, so that no line is torn when the process stops.
                    (&*file).write_all(format!("{} {seed}\n", position.packed()).as_bytes()).unwrap();
                    if n % 100 == 99 {
                        log.trim(position.back(300)).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

pub(crate) struct Writer {
    child: Child,
    directory: PathBuf,
}

impl Writer {
    fn start(directory: &Path, test: &str) -> Self {
        Self::start_with(directory, test, Vec::new())
    }

    pub(crate) fn start_with(directory: &Path, test: &str, environment: Vec<(&str, OsString)>) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(ROLE, directory)
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, directory: directory.to_owned() }
    }

    fn acknowledged(&self) -> BTreeMap<Position, u64> {
        let text = fs::read_to_string(self.directory.join("acknowledged")).unwrap_or_default();
        let line = |line: &str| {
            let (position, seed) = line.split_once(' ')?;
            Some((Position::from_packed(position.parse().ok()?)?, seed.parse().ok()?))
        };
        text.lines().map(|text| line(text).unwrap_or_else(|| panic!("a torn line: {text}"))).collect()
    }

    pub(crate) async fn has_written(&mut self, frames: usize) {
        until("the other process writes", async || {
            assert!(self.child.try_wait().unwrap().is_none(), "the writing process ended");
            self.acknowledged().len() >= frames
        })
        .await;
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Stops every thread, wherever it is.
    async fn pause(&self) {
        self.signal("-STOP");
        let tasks = format!("/proc/{}/task", self.child.id());
        until("every thread of the other process stands still", async || {
            fs::read_dir(&tasks).unwrap().all(|task| {
                let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
                stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 't']))
            })
        })
        .await;
    }

    pub(crate) fn kill(mut self) -> BTreeMap<Position, u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.acknowledged()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Both fail when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The log in `directory` holds what was acknowledged, each frame in its place, and goes on; how many frames.
pub(crate) async fn holds(directory: &Path, acknowledged: &BTreeMap<Position, u64>) -> u64 {
    let log = Place::in_directory(directory).log("a").await.unwrap();
    let bounds = log.bounds().await.unwrap();
    let entries = read_all(&log, bounds.trimmed).await;
    let offsets: Vec<u64> = entries.iter().map(|entry| entry.position.offset()).collect();
    let wanted: Vec<u64> = (bounds.trimmed.offset() + 1..=bounds.last.offset()).collect();
    assert_eq!(offsets, wanted, "a gap");
    let last = acknowledged.keys().last().unwrap();
    assert!(*last <= bounds.last, "acknowledged up to {last}, there up to {}", bounds.last);
    for entry in &entries {
        let heavy = heavy_frame(bounds.identity, 10);
        let Some(seed) = acknowledged.get(&entry.position) else {
            // Written and not acknowledged yet: it may be there, whole.
            assert!(entry.frame == heavy || *entry.frame == *frame(bounds.identity, entry.frame.writer.0));
            continue;
        };
        let wanted = if seed % HEAVY_EVERY == 0 { heavy } else { frame(bounds.identity, *seed) };
        assert_eq!(*entry.frame, *wanted, "at {}", entry.position);
    }
    let next = log.append(frame(bounds.identity, 1)).await.unwrap();
    assert_eq!(next, Position::new(1, bounds.last.offset() + 1).unwrap());
    log.close().await;
    bounds.last.offset()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_at_any_moment_holds_what_was_acknowledged() {
    if let Some(directory) = std::env::var_os(ROLE) {
        return write_for_ever(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(directory.path(), "crash::a_copy_at_any_moment_holds_what_was_acknowledged");
    let mut acknowledged = 0;
    for copy in 0..20 {
        // Moments that differ: after one more append, or a hundred.
        writer.has_written(acknowledged + 1 + copy * 37 % 100).await;
        writer.pause().await;
        let told = writer.acknowledged();
        acknowledged = told.len();
        let copied = tempfile::tempdir().unwrap();
        let main = copied.path().join("a.db");
        fs::copy(directory.path().join("a.db"), &main).unwrap();
        fs::copy(wal(&directory.path().join("a.db")), wal(&main)).unwrap();
        writer.signal("-CONT");
        holds(copied.path(), &told).await;
    }
    writer.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_keeps_what_was_acknowledged() {
    if let Some(directory) = std::env::var_os(ROLE) {
        return write_for_ever(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut end = 0;
    for life in 0..12 {
        let test = "crash::killed_again_and_again_it_keeps_what_was_acknowledged";
        let mut writer = Writer::start(directory.path(), test);
        writer.has_written(1 + life * 53 % 200).await;
        let held = Place::in_directory(directory.path()).log("a").await.map(|_| ()).unwrap_err();
        assert!(matches!(held, OpenError::InUse { .. }), "{held}");
        let last = holds(directory.path(), &writer.kill()).await;
        assert!(last > end, "it ended at {end} before, now at {last}");
        end = last;
        // The check appended a frame of its own, which the next life's acknowledgements do not name.
        fs::remove_file(directory.path().join("acknowledged")).unwrap();
    }
}
