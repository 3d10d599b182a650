//! Topics of one test, on some broker.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_sync::kafka::{Config, KafkaLog, OpenError};
use compute::model::LogIdentity;
use compute::port::ChangeLog;
use compute::port::clock::SystemClock;
use compute::testing::change_log::suite::{Site, frame};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::place::until;

pub(crate) struct Place {
    pub(crate) brokers: String,
    prefix: String,
    settings: BTreeMap<String, String>,
    edit: fn(&mut Config),
    open: Mutex<HashMap<String, Arc<KafkaLog>>>,
}

impl Place {
    /// On the broker that all share; `None`: there is none.
    pub(crate) fn new() -> Option<Self> {
        Some(Self::on(&super::broker::shared()?))
    }

    pub(crate) fn on(brokers: &str) -> Self {
        static PLACES: AtomicU64 = AtomicU64::new(0);
        // On a broker that outlives this process there may be topics of earlier ones.
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        let prefix = format!("test-{random:016x}-{}", PLACES.fetch_add(1, Ordering::Relaxed));
        let (settings, open) = (BTreeMap::new(), Mutex::default());
        Self { brokers: brokers.to_owned(), prefix, settings, edit: |_| {}, open }
    }

    pub(crate) fn with(mut self, edit: fn(&mut Config)) -> Self {
        self.edit = edit;
        self
    }

    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    pub(crate) fn config(&self, name: &str) -> Config {
        let address = format!("kafka://{}/{}", self.brokers, self.topic(name));
        let mut config = Config::parse(&address, &self.settings).unwrap();
        config.connect_wait_max = Duration::from_secs(60);
        config.answer_wait_max = Duration::from_secs(10);
        (self.edit)(&mut config);
        config
    }

    /// The log that is there, or a new one of this identity.
    pub(crate) async fn log(&self, name: &str, identity: LogIdentity) -> Result<Arc<KafkaLog>, OpenError> {
        let connected = KafkaLog::connect(&self.config(name), SystemClock::new()).await?;
        let (identity, generation) = connected.found().unwrap_or((identity, 1));
        connected.bind(identity, generation).await
    }

    pub(crate) async fn refused(&self, name: &str) -> OpenError {
        self.log(name, LogIdentity([1; 16])).await.map(|_| ()).expect_err("it was opened")
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers).set("allow.auto.create.topics", "false");
        client
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// Makes a topic as an operator might.
    pub(crate) async fn make(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let topic = self.topic(name);
        let mut new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        for (name, value) in FIT.iter().filter(|(name, _)| settings.iter().all(|(other, _)| other != name)) {
            new = new.set(name, value);
        }
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let admin = self.admin();
        // A topic that was just deleted may be there for a moment yet.
        until("the topic is made", async || admin.create_topics([&new], &options()).await.unwrap()[0].is_ok()).await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.admin().delete_topics(&[&self.topic(name)], &options()).await.unwrap()[0].as_ref().unwrap();
    }

    /// Forgets what is before Kafka's offset, as an operator might.
    pub(crate) async fn trim(&self, name: &str, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic(name), 0, Offset::Offset(before)).unwrap();
        self.admin().delete_records(&list, &options()).await.unwrap();
    }

    /// Writes records as a stranger might.
    pub(crate) fn write(&self, name: &str, records: &[(Vec<u8>, Vec<u8>)]) {
        let producer: BaseProducer = self.client().set("message.max.bytes", "9000000").create().unwrap();
        let topic = self.topic(name);
        for (key, value) in records {
            producer.send(BaseRecord::to(&topic).partition(0).key(key).payload(value)).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(Duration::from_secs(60)).unwrap();
        assert_eq!(producer.in_flight_count(), 0);
    }

    /// Writes frames of these seeds as another node of the same log would.
    pub(crate) fn write_frames(&self, name: &str, identity: LogIdentity, generation: u8, seeds: std::ops::Range<u64>) {
        let record = |seed| {
            let value = cache_sync::codec::encode(&frame(identity, seed), generation).unwrap();
            (cache_sync::codec::checksum(&value).to_be_bytes().to_vec(), value)
        };
        self.write(name, &seeds.map(record).collect::<Vec<_>>());
    }
}

/// What the log wants of a topic.
const FIT: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("message.timestamp.type", "LogAppendTime"),
    ("max.message.bytes", "9000000"),
];

fn options() -> AdminOptions {
    let wait = Some(Duration::from_secs(30));
    AdminOptions::new().operation_timeout(wait).request_timeout(wait)
}

#[async_trait]
impl Site for Place {
    async fn open(&self, name: &str) -> Arc<dyn ChangeLog> {
        let mut bytes = [7; 16];
        bytes[..name.len().min(16)].copy_from_slice(&name.as_bytes()[..name.len().min(16)]);
        let log = self.log(name, LogIdentity(bytes)).await.unwrap();
        self.open.lock().unwrap().insert(name.to_owned(), Arc::clone(&log));
        log
    }

    async fn close(&self, name: &str) {
        let log = self.open.lock().unwrap().remove(name).unwrap();
        log.close().await;
    }
}
