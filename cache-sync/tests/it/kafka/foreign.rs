//! What others write into the topic: passed over by every node alike, and never taken for what a node has written.

use cache_sync::codec;
use cache_sync::kafka::{KafkaLog, KafkaTopic, OpenError};
use compute::model::{LogIdentity, Position};
use compute::port::ChangeLog;
use compute::port::change_log::LogReadError;
use compute::port::clock::SystemClock;
use compute::testing::change_log::suite::frame;

use super::place::Place;
use crate::place::{append, read_all, until};

const OURS: LogIdentity = LogIdentity([1; 16]);

fn at(generation: u8, offset: u64) -> Position {
    Position::new(generation, offset).unwrap()
}

/// The how many-eth record of a stranger: text with and without a key, nothing, and a number as the key.
fn stranger(place: u64) -> (Vec<u8>, Vec<u8>) {
    match place % 4 {
        0 => (Vec::new(), format!("line {place}").into_bytes()),
        1 => (b"order".to_vec(), br#"{"order":7}"#.to_vec()),
        2 => (Vec::new(), Vec::new()),
        _ => (place.to_be_bytes().to_vec(), vec![0xfe; 400]),
    }
}

/// A frame of ours that is not what it was.
fn damaged() -> (Vec<u8>, Vec<u8>) {
    let value = codec::encode(&frame(OURS, 3), 1).unwrap();
    let key = codec::checksum(&value).to_be_bytes().to_vec();
    (key, value[..value.len() - 1].to_vec())
}

/// Writes a record for each letter: `f` a frame of ours, `x` a stranger's, `d` a damaged one.
fn write(place: &Place, name: &str, letters: &str) {
    for (seed, letter) in (0..).zip(letters.chars()) {
        match letter {
            'f' => place.write_frames(name, OURS, 1, seed..seed + 1),
            'd' => place.write(name, &[damaged()]),
            _ => place.write(name, &[stranger(seed)]),
        }
    }
}

/// What is in the log, in the letters of [`write`], and what names each.
async fn seen(log: &std::sync::Arc<KafkaLog>) -> (String, Vec<(Position, u64)>) {
    let entries = read_all(log, Position::ZERO).await;
    assert!(entries.iter().all(|entry| entry.frame.identity == OURS));
    let letters = entries.iter().map(|entry| if entry.frame.time_ms == 0 { 'x' } else { 'f' }).collect();
    (letters, entries.iter().map(|entry| (entry.position, entry.checksum)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_strangers_are_passed_over_wherever_they_are() {
    let Some(place) = Place::new() else { return };
    let forgetful = Place::on(&place.brokers).with(|config| config.tail_bytes_max = 0);
    for (number, letters) in
        ["x", "xf", "fx", "fxf", "xxxxfxxxxfxxxx", "ffxxxxxxxxxxxxxxxxxxxxxxxxxx"].iter().enumerate()
    {
        for (place, name) in [(&place, format!("{number}")), (&forgetful, format!("f{number}"))] {
            place.make(&name, 1, &[]).await;
            write(place, &name, letters);
            let connected = KafkaLog::connect(&place.config(&name), SystemClock::new()).await.unwrap();
            let wanted = letters.contains('f').then_some((OURS, 1));
            assert_eq!((connected.found(), connected.found_first()), (wanted, wanted), "{letters}");
            let logs = [place.log(&name, OURS).await.unwrap(), place.log(&name, OURS).await.unwrap()];
            let end = letters.len() as u64;
            assert_eq!(append(&logs[0], [40]).await, [at(1, end + 1)], "{letters}");
            let told = seen(&logs[0]).await;
            assert_eq!(told.0, format!("{letters}f"));
            assert!(told.1.iter().map(|(position, _)| *position).eq((1..=end + 1).map(|offset| at(1, offset))));
            assert_eq!(seen(&logs[1]).await, told, "{letters}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_strangers_between_those_of_nodes_that_live_are_passed_over() {
    let Some(place) = Place::new() else { return };
    let (one, two) = (place.log("a", OURS).await.unwrap(), place.log("a", OURS).await.unwrap());
    let mut letters = String::new();
    for seed in 0..8 {
        append(if seed % 2 == 0 { &one } else { &two }, [seed]).await;
        place.write("a", &[stranger(seed)]);
        letters.push_str("fx");
    }
    until("both have come to the last", async || {
        one.bounds().await.unwrap().last == at(1, 16) && two.bounds().await.unwrap().last == at(1, 16)
    })
    .await;
    let told = seen(&one).await;
    assert_eq!(told.0, letters);
    assert_eq!(seen(&two).await, told);
    assert_eq!(seen(&place.log("a", OURS).await.unwrap()).await, told, "from the broker");
    // The first one that is left may be a stranger's.
    one.trim(at(1, 3)).await.unwrap();
    assert_eq!(append(&two, [20]).await, [at(1, 17)]);
    let late = place.log("a", OURS).await.unwrap();
    assert_eq!(read_all(&late, at(1, 3)).await.len(), 14);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_frame_of_ours_is_not_taken_for_a_strangers() {
    let Some(place) = Place::new() else { return };
    for (number, letters) in ["d", "ffd", "dff", "fxd"].iter().enumerate() {
        let name = format!("{number}");
        place.make(&name, 1, &[]).await;
        write(&place, &name, letters);
        let error = place.refused(&name).await;
        assert!(matches!(&error, OpenError::NotALog { why, .. } if why.contains("its checksum is")), "{error}");
    }
    place.make("middle", 1, &[]).await;
    write(&place, "middle", "fxdxf");
    let error = place.log("middle", OURS).await.unwrap().read(at(1, 2), 1).await.unwrap_err();
    assert!(matches!(&error, LogReadError::Unusable(why) if why.contains("frame 3 is damaged")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_in_a_topic_it_can_be_emptied() {
    let Some(place) = Place::new() else { return };
    for (number, letters) in ["d", "ffd", "fdf", "xxx", ""].iter().enumerate() {
        let name = format!("{number}");
        place.make(&name, 1, &[]).await;
        write(&place, &name, letters);
        let topic = KafkaTopic::new(place.config(&name), SystemClock::new());
        topic.empty().await.unwrap();
        let (found, end) = (topic.look().await.unwrap(), letters.len() as u64);
        assert_eq!((found.trimmed, found.last, found.lives), (end, end, None), "{letters}");
        topic.follow((OURS, 2)).await.unwrap();
        assert_eq!(append(&topic, [7]).await, [at(2, end + 1)], "{letters}");
        topic.close().await;
    }
}
