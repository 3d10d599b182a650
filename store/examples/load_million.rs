//! How fast this machine lands and loads a whole state of instances:
//! `cargo run --release -p store --example load_million [INSTANCES]`.

use compute::model::{LogState, Position, Rows};
use compute::port::PresenceStore;
use compute::port::clock::{Clock, SystemClock};
use compute::port::store::Epoch;
use compute::testing::store::sample::{identity, instances, log_state, position};
use store::sqlite::{SqliteStore, open};

/// What a lander takes at once when it is behind.
const BATCH: usize = 5_000;
const LOADS: usize = 3;

#[tokio::main]
async fn main() {
    let count = std::env::args().nth(1).map_or(1_000_000, |count| count.parse().expect("a number of instances"));
    let folder = tempfile::tempdir().expect("a folder for the store");
    let path = folder.path().join("presence.db");
    let clock = SystemClock::new();
    let store = open(&path).await.expect("a new store");
    let epoch = store.lead(identity(1)).await.expect("the landing role");

    let mut landing = Landing { store: &store, clock: clock.as_ref(), epoch, offset: 0 };
    landing.pass("insert", count).await;
    landing.pass("update", count).await;
    landing.replace(count).await;
    store.close().await;

    let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
    println!("file    {:>9} MiB, {} bytes an instance", bytes >> 20, bytes / count as u64);
    let store = open(&path).await.expect("the same store");
    for _ in 0..LOADS {
        let start = clock.mono_ms();
        let loaded = store.load().await.expect("what was landed");
        let took = clock.mono_ms() - start;
        assert_eq!(loaded.rows.instances.len(), count);
        println!("load    {:>9} rows in {took} ms, then {} MiB resident", loaded.rows.len(), resident() >> 20);
    }
}

struct Landing<'a> {
    store: &'a SqliteStore,
    clock: &'a dyn Clock,
    epoch: Epoch,
    offset: u64,
}

impl Landing<'_> {
    /// All instances, a batch at a time, at a newer revision than before. Making the rows does not count.
    async fn pass(&mut self, what: &str, count: usize) {
        let (mut took, mut longest) = (0, 0);
        for first in (0..count).step_by(BATCH) {
            let (from, upto) = self.step();
            let rows = instances(first, count.min(first + BATCH), upto.watermark);
            let start = self.clock.mono_ms();
            self.store.land(self.epoch, rows, from, upto).await.expect("a landing");
            let batch = self.clock.mono_ms() - start;
            took += batch;
            longest = longest.max(batch);
        }
        let rate = count as u64 * 1_000 / took.max(1);
        println!("{what}  {count:>9} rows in {took} ms, {rate} a second; longest batch {longest} ms");
    }

    async fn replace(&mut self, count: usize) {
        let (_, upto) = self.step();
        let rows: Rows = instances(0, count, upto.watermark);
        let start = self.clock.mono_ms();
        self.store.replace(self.epoch, rows, upto).await.expect("a replacement");
        let took = self.clock.mono_ms() - start;
        println!("replace {count:>9} rows in {took} ms, {} a second", count as u64 * 1_000 / took.max(1));
    }

    fn step(&mut self) -> (Position, LogState) {
        let from = if self.offset == 0 { Position::ZERO } else { position(self.offset) };
        self.offset += 1;
        (from, log_state(identity(1), self.offset))
    }
}

/// Bytes of this process in memory, where the system tells.
fn resident() -> u64 {
    let told = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1_024
}
