//! A topic that is lost, made anew or written by strangers while it is in use: never gone on with in silence.

use compute::model::{LogIdentity, Position};
use compute::port::ChangeLog;
use compute::port::change_log::{AppendError, LogReadError};
use compute::testing::change_log::suite::frame;

use super::place::Place;
use crate::place::{append, read_all, until};

const OURS: LogIdentity = LogIdentity([1; 16]);
const OTHER: LogIdentity = LogIdentity([2; 16]);

/// What every use of the log says once it is unusable.
async fn is_unusable(log: &impl ChangeLog, after: Position, wanted: &str) {
    until("the log is unusable", async || matches!(log.bounds().await, Err(LogReadError::Unusable(_)))).await;
    let error = log.read(after, 1).await.unwrap_err();
    assert!(matches!(&error, LogReadError::Unusable(why) if why.contains(wanted)), "{error}");
    let error = log.append(frame(OURS, 1)).await.unwrap_err();
    assert!(matches!(&error, AppendError::Refused(why) if why.contains(wanted)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_deleted_is_noticed() {
    let Some(place) = Place::new() else { return };
    let log = place.log("a", OURS).await.unwrap();
    let end = append(&log, 0..5).await[4];
    let mut waiting = Box::pin(log.read(end, 1));
    assert!(futures::poll!(&mut waiting).is_pending());
    place.delete("a").await;
    is_unusable(&*log, end, "is gone").await;
    assert!(matches!(waiting.await.unwrap_err(), LogReadError::Unusable(_)), "who waited is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_anew_and_is_empty_is_noticed() {
    let Some(place) = Place::new() else { return };
    let log = place.log("a", OURS).await.unwrap();
    let end = append(&log, 0..5).await[4];
    place.delete("a").await;
    place.make("a", 1, &[]).await;
    is_unusable(&*log, end, "").await;
}

/// The worst case: another node of the same log goes on writing, and the new topic is soon longer than the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_anew_and_has_grown_past_is_noticed() {
    let Some(place) = Place::new() else { return };
    let log = place.log("a", OURS).await.unwrap();
    let end = append(&log, 0..5).await[4];
    place.delete("a").await;
    place.make("a", 1, &[]).await;
    place.write_frames("a", OURS, 1, 100..140);
    is_unusable(&*log, end, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_another_log_stops_its_readers() {
    let Some(place) = Place::new() else { return };
    for (name, identity, generation, word) in
        [("other", OTHER, 1, "02020202"), ("later", OURS, 2, "generation 2"), ("earlier", OTHER, 9, "generation 9")]
    {
        let log = place.log(name, OURS).await.unwrap();
        let end = append(&log, 0..5).await[4];
        place.write_frames(name, identity, generation, 0..1);
        is_unusable(&*log, end, word).await;
        // Where the frames are not in memory, neither.
        let place = Place::on(&place.brokers);
        place.make("b", 1, &[]).await;
        place.write_frames("b", OURS, 1, 0..3);
        place.write_frames("b", identity, generation, 0..1);
        place.write_frames("b", OURS, 1, 3..5);
        let log = place.log("b", OURS).await.unwrap();
        let error = read_to_the_end(&*log).await.unwrap_err();
        assert!(matches!(&error, LogReadError::Unusable(why) if why.contains(word)), "{error}");
    }
}

async fn read_to_the_end(log: &impl ChangeLog) -> Result<usize, LogReadError> {
    let last = log.bounds().await?.last;
    let (mut after, mut frames) = (Position::ZERO, 0);
    while after < last {
        let entries = log.read(after, 2).await?;
        frames += entries.len();
        after = entries[entries.len() - 1].position;
    }
    Ok(frames)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_damaged_stops_its_readers() {
    let Some(place) = Place::new() else { return };
    let log = place.log("a", OURS).await.unwrap();
    let end = append(&log, 0..5).await[4];
    let value = cache_sync::codec::encode(&frame(OURS, 3), 1).unwrap();
    place.write("a", &[(7u64.to_be_bytes().to_vec(), value)]);
    is_unusable(&*log, end, "its checksum is").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_behind_what_an_operator_trimmed_are_told() {
    let Some(place) = Place::new() else { return };
    let log = place.with(|config| config.tail_bytes_max = 0);
    let place = log;
    let log = place.log("a", OURS).await.unwrap();
    let written = append(&log, 0..30).await;
    assert_eq!(read_all(&log, Position::ZERO).await.len(), 30);
    place.trim("a", 12).await;
    // Before it is known here the broker says so, and after.
    for after in [Position::ZERO, written[3], written[10]] {
        let error = log.read(after, 1).await.unwrap_err();
        assert!(matches!(error, LogReadError::Trimmed { trimmed } if trimmed == written[11]), "{error}");
    }
    assert_eq!(read_all(&log, written[11]).await.len(), 18);
    // Past everything: the log goes on behind it.
    place.trim("a", 30).await;
    until("the log is empty", async || log.bounds().await.is_ok_and(|bounds| bounds.trimmed == written[29])).await;
    assert_eq!(append(&log, [7]).await, [written[29].next()]);
    assert_eq!(log.read(written[29], 1).await.unwrap()[0].position, written[29].next());
}
