use std::collections::BTreeMap;
use std::time::Duration;

use cache_sync::codec;
use cache_sync::kafka::{Config, KafkaLog, KafkaTopic, OpenError};
use compute::model::limits::FRAME_BYTES_MAX;
use compute::model::{LogIdentity, Position};
use compute::port::ChangeLog;
use compute::port::change_log::{AppendError, LogReadError};
use compute::port::clock::SystemClock;
use compute::testing::change_log::suite::{Site as _, frame, heavy_frame};

use super::place::Place;
use crate::place::{append, read_all, says_that_it_is_closed};

const OURS: LogIdentity = LogIdentity([1; 16]);
const OTHER: LogIdentity = LogIdentity([2; 16]);

fn at(generation: u8, offset: u64) -> Position {
    Position::new(generation, offset).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_fit_is_refused_and_says_what_to_do() {
    let Some(place) = Place::new() else { return };
    for (name, setting, value) in [
        ("compacted", "cleanup.policy", "compact"),
        ("both", "cleanup.policy", "compact,delete"),
        ("forgetful", "retention.ms", "604800000"),
        ("small", "retention.bytes", "1073741824"),
        ("clocks", "message.timestamp.type", "CreateTime"),
        ("narrow", "max.message.bytes", "1048588"),
    ] {
        place.make(name, 1, &[(setting, value)]).await;
        let error = place.refused(name).await;
        let said = error.to_string();
        assert!(matches!(&error, OpenError::Setting { setting: found, .. } if *found == setting), "{said}");
        assert!(said.contains(&format!("{setting} = ")) && said.contains("kafka-configs.sh"), "{said}");
        assert!(said.contains(&place.topic(name)), "{said}");
    }
    place.make("wide", 2, &[]).await;
    let error = place.refused("wide").await;
    assert!(matches!(error, OpenError::Partitions { found: 2, .. }), "{error}");
    place.make("fit", 1, &[]).await;
    append(&place.log("fit", OURS).await.unwrap(), 0..3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_tells_which_it_is() {
    let Some(place) = Place::new() else { return };
    let connected = KafkaLog::connect(&place.config("a"), SystemClock::new()).await.unwrap();
    assert_eq!((connected.found(), connected.found_first(), connected.starts_at_zero()), (None, None, true));
    let error = connected.bind(OURS, 0).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Generation { found: 0 }), "{error}");

    let connected = KafkaLog::connect(&place.config("a"), SystemClock::new()).await.unwrap();
    let log = connected.bind(OURS, 3).await.unwrap();
    assert_eq!(append(&log, 0..5).await, (1..=5).map(|offset| at(3, offset)).collect::<Vec<_>>());
    log.close().await;

    let connect = async || KafkaLog::connect(&place.config("a"), SystemClock::new()).await.unwrap();
    let connected = connect().await;
    assert_eq!((connected.found(), connected.found_first()), (Some((OURS, 3)), Some((OURS, 3))));
    for (identity, generation) in [(OTHER, 3), (OURS, 2)] {
        let error = connect().await.bind(identity, generation).await.map(|_| ()).unwrap_err();
        let (found, wanted) = ((OURS, 3), (identity, generation));
        assert_eq!(error, OpenError::OtherLog { topic: place.topic("a"), found, wanted });
        let said = error.to_string();
        assert!(said.contains(&OURS.to_string()) && said.contains(&identity.to_string()), "{said}");
        assert!(said.contains("generation 3") && said.contains(&format!("generation {generation}")), "{said}");
    }
    // To the next life of it, what was written says nothing.
    let log = connect().await.bind(OURS, 4).await.unwrap();
    let outlived = read_all(&log, at(4, 0)).await;
    assert_eq!(
        outlived.iter().map(|entry| entry.position).collect::<Vec<_>>(),
        (1..=5).map(|n| at(4, n)).collect::<Vec<_>>()
    );
    assert!(outlived.iter().all(|entry| entry.frame.changes.is_empty()));
    log.close().await;
    place.trim("a", 2).await;
    let connected = connect().await;
    assert_eq!((connected.found(), connected.starts_at_zero()), (Some((OURS, 3)), false));
    assert_eq!(read_all(&connected.bind(OURS, 3).await.unwrap(), at(3, 2)).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_log_left_is_emptied_for_the_next_generation() {
    let Some(place) = Place::new() else { return };
    let log = place.log("a", OURS).await.unwrap();
    append(&log, 0..5).await;
    log.close().await;
    place.write_frames("a", OTHER, 1, 0..2);

    let connect = async || KafkaLog::connect(&place.config("a"), SystemClock::new()).await.unwrap();
    let connected = connect().await;
    assert_eq!((connected.found_first(), connected.found()), (Some((OURS, 1)), Some((OTHER, 1))));
    let error = place.refused("a").await;
    assert!(matches!(error, OpenError::TwoLogs { .. }), "{error}");
    KafkaTopic::new(place.config("a"), SystemClock::new()).empty().await.unwrap();
    let connected = connect().await;
    assert_eq!((connected.found(), connected.starts_at_zero()), (None, false));
    let log = connected.bind(OURS, 2).await.unwrap();
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.trimmed, bounds.last), (at(2, 7), at(2, 7)));
    let error = log.read(Position::ZERO, 1).await.unwrap_err();
    assert!(matches!(error, LogReadError::Trimmed { trimmed } if trimmed == at(2, 7)), "{error}");
    assert_eq!(append(&log, [9]).await, [at(2, 8)]);
    assert_eq!(read_all(&log, at(2, 7)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_a_newer_program_is_refused() {
    let Some(place) = Place::new() else { return };
    // Whole, and of a newer program: the field that says so is the first one.
    place.make("newer", 1, &[]).await;
    let mut value = codec::encode(&frame(OURS, 0), 1).unwrap();
    value.extend([0x08, 99]);
    place.write("newer", &[(codec::checksum(&value).to_be_bytes().to_vec(), value)]);
    let said = place.refused("newer").await.to_string();
    assert!(said.contains("a newer one wrote it"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut config = Config::parse(&format!("kafka://{address}/changes"), &BTreeMap::new()).unwrap();
    config.connect_wait_max = Duration::from_secs(2);
    let connecting = KafkaLog::connect(&config, SystemClock::new());
    let error = tokio::time::timeout(Duration::from_secs(30), connecting).await.unwrap().map(|_| ()).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, OpenError::Away { .. }) && said.contains(&address), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_frame_passes() {
    let Some(place) = Place::new() else { return };
    let log = place.log("a", OURS).await.unwrap();
    let mut changes = 400;
    let fits = |changes| codec::encode(&heavy_frame(OURS, changes), 1).is_ok();
    while fits(changes) {
        changes += 1;
    }
    let error = log.append(heavy_frame(OURS, changes)).await.unwrap_err();
    assert!(matches!(error, AppendError::Refused(_)), "{error}");
    let largest = heavy_frame(OURS, changes - 1);
    let bytes = codec::encode(&largest, 1).unwrap().len();
    assert!(bytes > FRAME_BYTES_MAX - 20_000, "{bytes} bytes");
    for offset in 1..=3 {
        assert_eq!(log.append(largest.clone()).await.unwrap(), at(1, offset));
    }
    assert_eq!(append(&log, [1]).await, [at(1, 4)]);
    // From the follower, and from the broker.
    for log in [log, place.log("a", OURS).await.unwrap()] {
        let entries = read_all(&log, Position::ZERO).await;
        assert_eq!(entries.len(), 4);
        assert!(entries[..3].iter().all(|entry| entry.frame == largest));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_log_says_so() {
    let Some(place) = Place::new() else { return };
    let log = place.log("a", OURS).await.unwrap();
    let end = append(&log, 0..2).await[1];
    let mut waiting = Box::pin(log.read(end, 1));
    assert!(futures::poll!(&mut waiting).is_pending());
    log.close().await;
    log.close().await;
    says_that_it_is_closed(&log, waiting, OURS, end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_see_the_same_and_trim_for_each_other() {
    let Some(place) = Place::new() else { return };
    let one = place.log("a", OURS).await.unwrap();
    let two = place.log("a", OURS).await.unwrap();
    for seed in 0..20 {
        let position = append(if seed % 2 == 0 { &one } else { &two }, [seed]).await[0];
        // The other may be asked for what only this one was told of.
        let other = if seed % 2 == 0 { &two } else { &one };
        assert_eq!(other.read(position.back(1), 1).await.unwrap()[0].position, position);
    }
    let (ones, twos) = (read_all(&one, Position::ZERO).await, read_all(&two, Position::ZERO).await);
    let seen = |entries: &[compute::model::Entry]| entries.iter().map(|e| (e.position, e.checksum)).collect::<Vec<_>>();
    assert_eq!(seen(&ones), seen(&twos));
    one.trim(at(1, 7)).await.unwrap();
    assert_eq!(two.bounds().await.unwrap().trimmed, at(1, 7));
    let error = two.read(at(1, 3), 1).await.unwrap_err();
    assert!(matches!(error, LogReadError::Trimmed { trimmed } if trimmed == at(1, 7)), "{error}");
    // Opened by name, for it keeps its identity.
    drop((one, two));
    let log = place.open("a").await;
    assert_eq!(log.bounds().await.unwrap().identity, OURS);
}

/// The library tells of the end only when nothing comes for a while: where others write all the time, that is never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_others_write_all_the_time_is_open_at_once() {
    let Some(place) = Place::new() else { return };
    let place = place.with(|config| config.connect_wait_max = Duration::from_secs(20));
    let one = place.log("a", OURS).await.unwrap();
    let writing = async {
        for seed in 0.. {
            append(&one, [seed]).await;
        }
    };
    tokio::select! {
        () = writing => unreachable!("it writes until the other is open"),
        two = place.log("a", OURS) => drop(two.unwrap()),
    }
}
