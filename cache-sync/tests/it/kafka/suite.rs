use compute::testing::change_log::suite::suite;

use super::place::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_passes() {
    let Some(place) = Place::new() else { return };
    suite(&place).await.unwrap();
}

/// Nearly every read comes from the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_passes_without_a_tail() {
    let Some(place) = Place::new() else { return };
    suite(&place.with(|config| config.tail_bytes_max = 0)).await.unwrap();
}

#[tokio::test]
async fn kafka_passes_on_one_thread() {
    let Some(place) = Place::new() else { return };
    suite(&place).await.unwrap();
}
