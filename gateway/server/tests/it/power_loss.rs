//! The power fails at random moments, under load: every byte that was not flushed is gone, and what was acknowledged is
//! there nevertheless.
//!
//! The environment may say `POWER_LOSS_KILLS` (how often for each kind of disk, 8 by default; three of four are power
//! cuts) and `POWER_LOSS_SEED`.

use std::cell::Cell;
use std::time::Duration;

use compute::port::Clock;
use compute::testing::power_loss::Disk;
use serde_json::json;
use tokio::process::Command;

use crate::caller::instance;
use crate::crash::chance::Seeded;
use crate::crash::writer::Writer;
use crate::crash::{WRITERS, compare, from_environment, killed_again_and_again, under_load};
use crate::process::{CLOCK, Ended, Home, Node, within};

/// A data directory on a disk that can lose its power.
struct Machine {
    home: Home,
    disk: Disk,
}

impl Machine {
    fn new(seed: u64, spills: bool) -> Self {
        let home = Home::new();
        let disk = Disk::new(home.path(), "node", seed, spills).expect("an empty directory");
        assert_eq!(disk.root(), home.folder(), "TMPDIR is a link: name the directory itself");
        Self { home, disk }
    }

    fn serve(&self) -> Command {
        let mut command = self.home.serve();
        command.envs(self.disk.environment());
        command
    }

    fn lose_power(&self) {
        let was_there = self.disk.root().join("log.sqlite").exists();
        self.disk.lose_power().expect("the process is dead");
        // The store is made, and flushed, before the log.
        let is_there = self.disk.root().join("store.sqlite").exists();
        assert!(is_there || !was_there, "the disk was never asked to flush: nothing stands between it and the program");
    }
}

async fn loses_nothing(spills: bool) {
    let kills = from_environment("POWER_LOSS_KILLS", 8);
    let seed = from_environment("POWER_LOSS_SEED", CLOCK.wall_ms());
    println!("POWER_LOSS_SEED={seed} POWER_LOSS_KILLS={kills}");
    let machine = Machine::new(seed, spills);
    let made = Cell::new(0);
    let killed = || {
        made.set(made.get() + 1);
        // The others find what the last one wrote and did not flush, and must not lose it at the next cut.
        if made.get() % 4 != 3 {
            machine.lose_power();
        }
    };
    killed_again_and_again(kills, seed, || machine.serve(), killed).await;
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
async fn lied_to_about(name: &str, seed: u64) -> (Machine, Vec<Writer>) {
    let machine = Machine::new(seed, false);
    let mut chance = Seeded::new(seed);
    let writers = (0..WRITERS).map(|number| Writer::new(number, chance.fork())).collect();
    let node = Node::start(machine.serve()).await;
    let writers = under_load(node, writers, Duration::from_millis(200)).await;
    machine.lose_power();
    let node = Node::start(machine.serve()).await;
    machine.disk.lie_about(name).expect("it can be written");
    let writers = under_load(node, writers, Duration::from_millis(300)).await;
    machine.lose_power();
    (machine, writers)
}

/// That these tests can fail: a disk that flushes nothing loses what was acknowledged, and that is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_on_a_disk_that_lies_is_found() {
    let (machine, mut writers) = lied_to_about("/", 1).await;
    let node = Node::start(machine.serve()).await;
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    let found = compare(&node, &mut writers).await;
    assert!(found.is_err(), "{acknowledged} writes are there that no disk holds");
    node.kill().await;
}

/// Where only the log has lost its end, the node sees it by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_that_takes_only_the_log_is_refused() {
    let (machine, _) = lied_to_about("/log.sqlite", 2).await;
    let ended = within("a start that fails", machine.serve().output()).await.expect("the program runs");
    Ended::of(ended).with(4, &["the log has lost its end", "--adopt-store"]);
}

/// Where only the store has, the log still has all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_that_takes_only_the_store_costs_nothing() {
    let (machine, mut writers) = lied_to_about("/store.sqlite", 3).await;
    let node = Node::start(machine.serve()).await;
    compare(&node, &mut writers).await.expect("the log has what the store has lost");
    node.stop().await;
}

/// One write, and the cut right after its answer.
#[tokio::test]
async fn power_loss_right_after_an_answer_leaves_what_it_said() {
    let machine = Machine::new(2, false);
    let body = json!({"host": "h", "port": 1, "lease": {"kind": "permanent"}});
    let mut written: Vec<(String, serde_json::Value)> = Vec::new();
    for (id, ack) in [("a", "log"), ("b", "store"), ("c", "log")] {
        let node = Node::start(machine.serve()).await;
        let mut caller = node.caller().await;
        for (id, answer) in &written {
            let found = caller.get(&instance("orders", id)).await.expect(200);
            assert_eq!(found["revision"], answer["revision"]);
        }
        let answer = caller.put(&format!("{}?ack={ack}", instance("orders", id)), &body).await;
        node.kill().await;
        machine.lose_power();
        written.push((id.to_owned(), answer.expect(201)));
    }
    let node = Node::start(machine.serve()).await;
    let found = node.caller().await.get("/v1/namespaces/default/services/orders/instances").await.expect(200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(written.len()), "{found}");
    node.stop().await;
}
