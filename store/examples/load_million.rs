//! How fast this machine lands and loads a whole state of instances:
//! `cargo run --release -p store --example load_million [INSTANCES [FILE]]`. A file that is there is loaded only.

use std::iter::StepBy;
use std::ops::Range;
use std::path::PathBuf;

use compute::model::{LogState, Position, Rows};
use compute::port::PresenceStore;
use compute::port::clock::{Clock, SystemClock};
use compute::port::store::Epoch;
use compute::testing::store::sample::{deletes, identity, instance, instances, log_state, position};
use store::sqlite::{SqliteStore, open};

/// What a lander takes at once when it is behind.
const BATCH: usize = 5_000;
const LOADS: usize = 3;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(1_000_000, |count| count.parse().expect("a number of instances"));
    let folder = tempfile::tempdir().expect("a folder for the store");
    let path = arguments.next().map_or_else(|| folder.path().join("presence.db"), PathBuf::from);
    let clock = SystemClock::new();
    if !path.exists() {
        let store = open(&path).await.expect("a new store");
        let epoch = store.lead(identity(1)).await.expect("the landing role");
        let mut landing = Landing { store: &store, clock: clock.as_ref(), epoch, offset: 0 };
        let near = |batch: usize| (batch * BATCH..count.min((batch + 1) * BATCH)).step_by(1);
        let far = |batch: usize| (batch..count).step_by(count.div_ceil(BATCH));
        landing.pass("insert ", count, near, |rows| rows).await;
        landing.pass("update ", count, near, |rows| rows).await;
        landing.pass("scatter", count, far, |rows| rows).await;
        landing.pass("delete ", count, far, |rows| deletes(&rows)).await;
        landing.replace(count).await;
        store.close().await;
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        println!("file    {:>9} MiB, {} bytes an instance", bytes >> 20, bytes / count as u64);
    }

    let store = open(&path).await.expect("the same store");
    for _ in 0..LOADS {
        let (start, cpu) = (clock.mono_ms(), cpu_ms());
        let loaded = store.load().await.expect("what was landed");
        let (took, cpu) = (clock.mono_ms() - start, cpu_ms() - cpu);
        let (rows, memory) = (loaded.rows.len(), resident() >> 20);
        assert_eq!(loaded.rows.instances.len(), count);
        println!("load    {rows:>9} rows in {took} ms, {cpu} ms of processors; then {memory} MiB resident");
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
    async fn pass(
        &mut self,
        what: &str,
        count: usize,
        members: impl Fn(usize) -> StepBy<Range<usize>>,
        shape: impl Fn(Rows) -> Rows,
    ) {
        let (mut took, mut longest, cpu) = (0, 0, cpu_ms());
        for batch in 0..count.div_ceil(BATCH) {
            let (from, upto) = self.step();
            let rows = members(batch).map(|n| instance(n, upto.watermark.at(0))).collect();
            let rows = shape(Rows { instances: rows, ..Rows::default() });
            let start = self.clock.mono_ms();
            self.store.land(self.epoch, rows, from, upto).await.expect("a landing");
            let batch = self.clock.mono_ms() - start;
            took += batch;
            longest = longest.max(batch);
        }
        let rate = count as u64 * 1_000 / took.max(1);
        let cpu = cpu_ms() - cpu;
        println!(
            "{what} {count:>9} rows in {took} ms, {rate} a second; longest batch {longest} ms; {cpu} ms of processors"
        );
    }

    async fn replace(&mut self, count: usize) {
        let (_, upto) = self.step();
        let rows: Rows = instances(0, count, upto.watermark);
        let (start, cpu) = (self.clock.mono_ms(), cpu_ms());
        self.store.replace(self.epoch, rows, upto).await.expect("a replacement");
        let (took, cpu) = (self.clock.mono_ms() - start, cpu_ms() - cpu);
        let rate = count as u64 * 1_000 / took.max(1);
        println!("replace {count:>9} rows in {took} ms, {rate} a second; {cpu} ms of processors");
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

/// What this process has used of all processors, where the system tells; it counts in hundredths of a second.
fn cpu_ms() -> u64 {
    let told = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = told.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    ticks.sum::<u64>() * 10
}
