//! The power fails at random moments, under load: every byte that was not flushed is gone, and what was acknowledged is
//! there nevertheless. `power_loss/disk.c` keeps, beside the data directory, what a disk would hold at any moment.
//!
//! The environment may say `POWER_LOSS_KILLS` (how often for each kind of disk, 8 by default; three of four are power
//! cuts) and `POWER_LOSS_SEED`.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use compute::port::Clock;
use serde_json::json;
use tokio::process::Command;

use crate::caller::instance;
use crate::crash::chance::Seeded;
use crate::crash::writer::Writer;
use crate::crash::{WRITERS, compare, from_environment, killed_again_and_again, under_load};
use crate::preload::library;
use crate::process::{CLOCK, Ended, Home, Node, thuban, within};

/// A data directory on a disk that can lose its power.
struct Disk {
    _home: Home,
    library: PathBuf,
    /// What it has for sure, and may have written unasked.
    durable: PathBuf,
    /// While this file exists, the disk does not flush the files that it names.
    lies: PathBuf,
    seed: u64,
    /// It writes half of what it is given at once.
    spills: bool,
}

impl Disk {
    async fn new(seed: u64, spills: bool) -> Self {
        let home = Home::new();
        let place = home.path().canonicalize().expect("it is there");
        let library = library("power_loss/disk.c", &place).await;
        let (durable, lies) = (place.join("durable"), place.join("lies"));
        std::fs::create_dir(&durable).expect("a directory");
        Self { _home: home, library, durable, lies, seed, spills }
    }

    fn root(&self) -> PathBuf {
        self.durable.with_file_name("node")
    }

    fn serve(&self) -> Command {
        let mut command = thuban();
        command.arg("serve").arg("--data-dir").arg(self.root());
        command.args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--log-format", "json"]);
        command.env("LD_PRELOAD", &self.library).env("POWER_LOSS_SEED", self.seed.to_string());
        command.env("POWER_LOSS_ROOT", self.root()).env("POWER_LOSS_DURABLE", &self.durable);
        command.env("POWER_LOSS_LIES", &self.lies);
        if self.spills {
            command.env("POWER_LOSS_SPILLS", "1");
        }
        command
    }

    /// Nothing is left but what the disk has.
    fn lose_power(&self) {
        let held = ["store.sqlite", "log.sqlite"].map(|name| self.root().join(name).exists());
        let kept = ["store.sqlite", "log.sqlite"].map(|name| self.durable.join(name).exists());
        assert!(held[1] <= kept[0], "the disk was never asked for anything: {held:?} {kept:?}");
        if self.root().exists() {
            std::fs::remove_dir_all(self.root()).expect("the process is dead");
        }
        copy(&self.durable, &self.root());
    }

    fn lie_about(&self, name: &str) {
        // Whole at once: who reads half of the name would lie about more.
        let half = self.lies.with_extension("half");
        std::fs::write(&half, name).and_then(|()| std::fs::rename(&half, &self.lies)).expect("it can be written");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("it is not there");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        assert!(entry.file_type().expect("a type").is_file(), "the data directory has only files: {entry:?}");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("room for a copy");
    }
}

async fn loses_nothing(spills: bool) {
    let kills = from_environment("POWER_LOSS_KILLS", 8);
    let seed = from_environment("POWER_LOSS_SEED", CLOCK.wall_ms());
    println!("POWER_LOSS_SEED={seed} POWER_LOSS_KILLS={kills}");
    let disk = Disk::new(seed, spills).await;
    let made = Cell::new(0);
    let killed = || {
        made.set(made.get() + 1);
        // The others find what the last one wrote and did not flush, and must not lose it at the next cut.
        if made.get() % 4 != 3 {
            disk.lose_power();
        }
    };
    killed_again_and_again(kills, seed, || disk.serve(), killed).await;
    println!("power cuts: {}", kills - (kills + 1) / 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_takes_nothing_that_was_acknowledged() {
    loses_nothing(false).await;
}

/// The same where the disk has written some of what nobody asked it to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_takes_nothing_when_writes_come_out_of_order() {
    loses_nothing(true).await;
}

/// A node that has been under load on a disk that did not flush the files whose path has `name` in it, after the cut.
async fn lied_to_about(name: &str, seed: u64) -> (Disk, Vec<Writer>) {
    let disk = Disk::new(seed, false).await;
    let mut chance = Seeded::new(seed);
    let writers = (0..WRITERS).map(|number| Writer::new(number, chance.fork())).collect();
    let node = Node::start(disk.serve()).await;
    let writers = under_load(node, writers, Duration::from_millis(200)).await;
    disk.lose_power();
    let node = Node::start(disk.serve()).await;
    disk.lie_about(name);
    let writers = under_load(node, writers, Duration::from_millis(300)).await;
    disk.lose_power();
    (disk, writers)
}

/// That these tests can fail: a disk that flushes nothing loses what was acknowledged, and that is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_on_a_disk_that_lies_is_found() {
    let (disk, mut writers) = lied_to_about("/", 1).await;
    let node = Node::start(disk.serve()).await;
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    let found = compare(&node, &mut writers).await;
    assert!(found.is_err(), "{acknowledged} writes are there that no disk holds");
    node.kill().await;
}

/// Where only the log has lost its end, the node sees it by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_that_takes_only_the_log_is_refused() {
    let (disk, _) = lied_to_about("/log.sqlite", 2).await;
    let ended = within("a start that fails", disk.serve().output()).await.expect("the program runs");
    Ended::of(ended).with(4, &["the log has lost its end", "restore it from a backup"]);
}

/// Where only the store has, the log still has all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_that_takes_only_the_store_costs_nothing() {
    let (disk, mut writers) = lied_to_about("/store.sqlite", 3).await;
    let node = Node::start(disk.serve()).await;
    compare(&node, &mut writers).await.expect("the log has what the store has lost");
    node.stop().await;
}

/// One write, and the cut right after its answer.
#[tokio::test]
async fn power_loss_right_after_an_answer_leaves_what_it_said() {
    let disk = Disk::new(2, false).await;
    let body = json!({"host": "h", "port": 1, "lease": {"kind": "permanent"}});
    let mut written: Vec<(String, serde_json::Value)> = Vec::new();
    for (id, ack) in [("a", "log"), ("b", "store"), ("c", "log")] {
        let node = Node::start(disk.serve()).await;
        let mut caller = node.caller().await;
        for (id, answer) in &written {
            let found = caller.get(&instance("orders", id)).await.expect(200);
            assert_eq!(found["revision"], answer["revision"]);
        }
        let answer = caller.put(&format!("{}?ack={ack}", instance("orders", id)), &body).await;
        node.kill().await;
        disk.lose_power();
        written.push((id.to_owned(), answer.expect(201)));
    }
    let node = Node::start(disk.serve()).await;
    let found = node.caller().await.get("/v1/namespaces/default/services/orders/instances").await.expect(200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(written.len()), "{found}");
    node.stop().await;
}
