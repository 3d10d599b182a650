//! Brokers that die and freeze under load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cache_sync::kafka::KafkaLog;
use compute::model::{LogIdentity, Position};
use compute::port::ChangeLog;
use compute::port::change_log::AppendError;
use compute::testing::change_log::suite::frame;
use tokio::task::JoinHandle;

use super::broker::Broker;
use super::place::Place;
use crate::place::{append, read_all, until};

const OURS: LogIdentity = LogIdentity([1; 16]);
const WRITERS: u64 = 4;
/// Of the frame that ends a run.
const LAST: u64 = 1 << 40;

/// What one writer was told: for each frame, in its order, every place that it was given and how often nobody knew.
#[derive(Debug)]
struct Told {
    seed: u64,
    position: Position,
    unknown: usize,
}

/// How far all writers together are.
#[derive(Default)]
struct Tally {
    done: AtomicU64,
    unknown: AtomicU64,
    stop: AtomicBool,
}

/// Appends frame after frame, each again until it is known to be there, as the contract says.
fn writer(log: &Arc<KafkaLog>, tally: &Arc<Tally>, number: u64) -> JoinHandle<Vec<Told>> {
    let (log, tally) = (Arc::clone(log), Arc::clone(tally));
    tokio::spawn(async move {
        let mut told = Vec::new();
        for seed in (number * 1_000_000).. {
            let mut unknown = 0;
            let position = loop {
                match log.append(frame(OURS, seed)).await {
                    Ok(position) => break position,
                    Err(AppendError::Unknown(_)) => {
                        unknown += 1;
                        tally.unknown.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            told.push(Told { seed, position, unknown });
            tally.done.fetch_add(1, Ordering::Relaxed);
            if tally.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        told
    })
}

/// Writes through `fault`, and compares what was told with what is there.
async fn through(place: &Place, name: &str, fault: impl AsyncFnOnce(&Tally)) -> usize {
    let log = place.log(name, OURS).await.unwrap();
    let reader = {
        let log = place.log(name, OURS).await.unwrap();
        tokio::spawn(async move {
            let (mut after, mut seen) = (Position::ZERO, Vec::new());
            loop {
                let entries = log.read(after, 100).await.unwrap();
                after = entries[entries.len() - 1].position;
                seen.extend(entries.iter().map(|entry| (entry.position, entry.frame.writer.0)));
                if entries.iter().any(|entry| entry.frame.writer.0 == LAST) {
                    return seen;
                }
            }
        })
    };
    let tally = Arc::new(Tally::default());
    let writers: Vec<_> = (1..=WRITERS).map(|number| writer(&log, &tally, number)).collect();
    let passed = async |more: u64| {
        let wanted = tally.done.load(Ordering::Relaxed) + more;
        until("appends go on", async || tally.done.load(Ordering::Relaxed) >= wanted).await;
    };
    passed(100).await;
    fault(&tally).await;
    passed(100).await;
    tally.stop.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for writer in writers {
        told.push(writer.await.unwrap());
    }
    append(&log, [LAST]).await;
    let seen = tokio::time::timeout(Duration::from_secs(60), reader).await.unwrap().unwrap();
    let kept: Vec<_> =
        read_all(&log, Position::ZERO).await.iter().map(|entry| (entry.position, entry.frame.writer.0)).collect();
    assert_eq!(seen, kept, "what was read while it was written is not what is there");
    compare(&kept, &told)
}

/// Nothing acknowledged is missing, each is where its writer was told, none is there more often than it was tried, and
/// first places keep each writer's order. Gives how many outcomes were unknown.
fn compare(kept: &[(Position, u64)], told: &[Vec<Told>]) -> usize {
    let mut places: BTreeMap<u64, Vec<Position>> = BTreeMap::new();
    for (number, (position, seed)) in kept.iter().enumerate() {
        assert_eq!(position.offset(), number as u64 + 1, "a gap");
        places.entry(*seed).or_default().push(*position);
    }
    for told in told {
        let mut before = Position::ZERO;
        for Told { seed, position, unknown } in told {
            let places = &places[seed];
            assert!(places.contains(position), "frame {seed} was told to be at {position}, is at {places:?}");
            assert!(places.len() <= 1 + unknown, "frame {seed} is at {places:?} after {unknown} unknown outcomes");
            assert!(places[0] > before, "frame {seed} is at {places:?}, the one before it at {before}");
            before = places[0];
        }
    }
    told.iter().flatten().map(|told| told.unknown).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_appends_loses_nothing() {
    let Some(broker) = Broker::start() else { return };
    let place = Place::on(&broker.address);
    for round in 0..2 {
        let restart = async |_: &Tally| {
            broker.kill();
            let broker = Arc::clone(&broker);
            assert!(tokio::task::spawn_blocking(move || broker.run()).await.unwrap());
        };
        let unknown = through(&place, &format!("killed-{round}"), restart).await;
        println!("killed: {unknown} unknown outcomes");
    }
}

/// With outcomes that come sooner than the broker does, so that frames are appended again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_broker_loses_nothing() {
    let Some(broker) = Broker::start() else { return };
    // Until nobody knows what became of an append of each writer, twice.
    let freeze = async |tally: &Tally| {
        let wanted = tally.unknown.load(Ordering::Relaxed) + 2 * WRITERS;
        broker.signal("-STOP");
        until("outcomes are unknown", async || tally.unknown.load(Ordering::Relaxed) >= wanted).await;
        broker.signal("-CONT");
    };
    let place = Place::on(&broker.address);
    println!("frozen: {} unknown outcomes", through(&place, "frozen", freeze).await);
    let place = place.setting("message.timeout.ms", "2000");
    println!("frozen, impatient: {} unknown outcomes", through(&place, "impatient", freeze).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_is_said_to_be() {
    let Some(broker) = Broker::start() else { return };
    let place = Place::on(&broker.address).with(|config| config.answer_wait_max = Duration::from_secs(1));
    let log = place.log("a", OURS).await.unwrap();
    let end = append(&log, 0..5).await[4];
    let mut waiting = Box::pin(log.read(end, 1));
    broker.kill();
    let asked = tokio::time::timeout(Duration::from_secs(20), log.bounds()).await.unwrap();
    assert!(matches!(asked, Err(compute::port::change_log::LogReadError::Away(_))), "{asked:?}");
    assert!(futures::poll!(&mut waiting).is_pending(), "a reader at the end waits");
    let again = Arc::clone(&broker);
    assert!(tokio::task::spawn_blocking(move || again.run()).await.unwrap());
    let mut appended = log.append(frame(OURS, 5)).await;
    while let Err(AppendError::Unknown(_)) = appended {
        appended = log.append(frame(OURS, 5)).await;
    }
    appended.unwrap();
    assert_eq!(waiting.await.unwrap()[0].position, end.next());
}
