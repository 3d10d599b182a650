//! The producer against the client library's own imitation of a broker, which can be told to fail.

use std::collections::BTreeMap;

use compute::model::LogIdentity;
use compute::port::clock::SystemClock;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    writer: Writer,
    shown: Arc<Shown>,
}

impl Bench {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("changes", 1, 1).unwrap();
        let settings: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Config::parse(&format!("kafka://{}/changes", cluster.bootstrap_servers()), &settings).unwrap();
        let writer = Writer::new(config, SystemClock::new()).unwrap();
        writer.current().context.ready().await;
        Self { cluster, writer, shown: Arc::new(Shown::new(LogIdentity([1; 16]), 1, (0, 0), 1_000)) }
    }

    async fn append(&self, body: &[u8]) -> Result<Position, AppendError> {
        self.writer.append(&self.shown, body, 1).await
    }
}

fn at(offset: u64) -> Position {
    Position::new(1, offset).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_gave_up_is_replaced() {
    let bench = Bench::new(&[]).await;
    assert_eq!(bench.append(b"one").await.unwrap(), at(1));
    let first = bench.writer.current();
    bench
        .cluster
        .request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    // The broker lost what it knew of this producer: nobody says what came of earlier tries.
    let error = bench.append(b"two").await.unwrap_err();
    assert!(matches!(error, AppendError::Unknown(_)), "{error}");
    assert_eq!(bench.append(b"two").await.unwrap(), at(2));
    assert!(!Arc::ptr_eq(&first, &bench.writer.current()), "the same producer goes on");
    assert_eq!(bench.append(b"three").await.unwrap(), at(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_waited_for() {
    let bench = Bench::new(&[]).await;
    bench.cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT],
    );
    assert_eq!(bench.append(b"one").await.unwrap(), at(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_comes_in_bounded_time_and_another_producer_goes_on() {
    let bench = Bench::new(&[("message.timeout.ms", "1000")]).await;
    assert_eq!(bench.append(b"one").await.unwrap(), at(1));
    let first = bench.writer.current();
    bench.cluster.broker_down(1).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(20), bench.append(b"two")).await.unwrap().unwrap_err();
    assert!(matches!(error, AppendError::Unknown(_)), "{error}");
    bench.cluster.broker_up(1).unwrap();
    // The next one may find its broker only when its own time is over: it is asked again.
    let goes_on = async {
        loop {
            match bench.append(b"two").await {
                Ok(position) => return position,
                Err(error) => assert!(matches!(error, AppendError::Unknown(_)), "{error}"),
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), goes_on).await.unwrap() > at(1));
    assert!(!Arc::ptr_eq(&first, &bench.writer.current()), "one that may wait for ever for a new epoch goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused() {
    let bench = Bench::new(&[]).await;
    let error = bench.append(&vec![0; settings::RECORD_BYTES_MAX + 1]).await.unwrap_err();
    assert!(matches!(error, AppendError::Refused(_)), "{error}");
    assert_eq!(bench.append(b"one").await.unwrap(), at(1));
}

/// Its queue holds 8 of these: the others wait for a place, and none is lost or taken twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_waited_for() {
    let bench = Bench::new(&[("queue.buffering.max.kbytes", "4096")]).await;
    let body = vec![7; 500_000];
    let appends = (0..40).map(|_| bench.append(&body));
    let mut positions: Vec<Position> =
        futures::future::join_all(appends).await.into_iter().map(|position| position.unwrap()).collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=40).map(at).collect::<Vec<_>>());
}
