//! A topic that is lost, and the next life of the log in it.

use std::time::Duration;

use cache_sync::kafka::KafkaTopic;
use compute::model::LogIdentity;
use compute::port::ChangeLog;
use compute::port::clock::SystemClock;
use compute::testing::change_log::suite::lives;

use super::place::Place;

const OURS: LogIdentity = LogIdentity([1; 16]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_has_one_life_after_the_other() {
    let Some(place) = Place::new() else { return };
    let topic = || KafkaTopic::new(place.config("a"), SystemClock::new());
    let (one, other) = (topic(), topic());
    // The first to look makes the topic.
    one.look().await.unwrap();
    for log in [&one, &other] {
        log.follow((OURS, 1)).await.unwrap();
    }
    let make_anew = async || {
        place.delete("a").await;
        place.make("a", 1, &[]).await;
    };
    let write_late = async |seed: u64| place.write_frames("a", OURS, 1, seed..seed + 1);
    let passed = lives(&*one, &*other, OURS, make_anew, write_late);
    tokio::time::timeout(Duration::from_secs(180), passed).await.expect("in time").unwrap();
    one.close().await;
    other.close().await;
    assert!(one.bounds().await.is_err(), "nobody follows anything any more");
}
