//! The topic: made or checked when the log is opened, trimmed later.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use compute::port::Clock;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::config::Config;
use super::context::Context;
use super::error::{OpenError, code, why};
use super::record::PARTITION;
use super::settings::{self, RECORD_BYTES_MAX};

/// How long the client is kept for the next trim.
const IDLE_MAX_MS: u64 = 10_000;

/// What the topic must be: setting, the value it is made with, and why.
const FOREVER: &str = "what is trimmed is decided by the nodes";
const TOPIC_SETTINGS: &[(&str, &str, &str)] = &[
    ("cleanup.policy", "delete", "compaction takes frames out of the middle"),
    ("retention.ms", "-1", FOREVER),
    ("retention.bytes", "-1", FOREVER),
    ("message.timestamp.type", "LogAppendTime", "with another a broker refuses a node whose clock is wrong"),
];

/// The client for what is seldom done; there only while it is used.
pub(super) struct Admin {
    config: Config,
    clock: Arc<dyn Clock>,
    client: Mutex<Option<(Arc<AdminClient<Context>>, u64)>>,
}

impl Admin {
    pub(super) fn new(config: &Config, clock: &Arc<dyn Clock>) -> Self {
        Self { config: config.clone(), clock: Arc::clone(clock), client: Mutex::default() }
    }

    /// Forgets all that is before Kafka's offset `before`.
    pub(super) async fn trim(&self, before: u64) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(1);
        let offset = i64::try_from(before).unwrap_or(i64::MAX);
        list.add_partition_offset(self.config.topic(), PARTITION, Offset::Offset(offset))?;
        let client = self.client()?;
        let options = self.options();
        let done = client.delete_records(&list, &options).await?;
        done.elements().iter().try_for_each(|element| element.error())
    }

    /// Lets the client go when nobody used it for a while. It ends a thread, so not on one of the runtime.
    pub(super) fn drop_idle(&self) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = |used_ms: u64| self.clock.mono_ms().saturating_sub(used_ms) > IDLE_MAX_MS;
        let idle = client.take_if(|(client, used_ms)| is_idle(*used_ms) && Arc::strong_count(client) == 1);
        drop(client);
        drop(idle);
    }

    fn client(&self) -> Result<Arc<AdminClient<Context>>, KafkaError> {
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match kept.take() {
            Some((client, _)) => client,
            None => {
                let context = Context::new("admin", Arc::clone(&self.clock));
                Arc::new(settings::admin(&self.config).create_with_context(context)?)
            }
        };
        *kept = Some((Arc::clone(&client), self.clock.mono_ms()));
        Ok(client)
    }

    fn options(&self) -> AdminOptions {
        let wait = self.config.answer_wait_max;
        AdminOptions::new().request_timeout(Some(wait)).operation_timeout(Some(wait))
    }

    async fn make(&self) -> Result<(), OpenError> {
        let replicas = self.config.replication_factor.map_or(-1, i32::from);
        let bytes = RECORD_BYTES_MAX.to_string();
        let mut topic = NewTopic::new(self.config.topic(), 1, TopicReplication::Fixed(replicas));
        for (name, value, _) in TOPIC_SETTINGS {
            topic = topic.set(name, value);
        }
        topic = topic.set("max.message.bytes", &bytes);
        let not_made = |why: String| OpenError::NotMade {
            topic: self.config.topic().into(),
            why,
            command: make_command(&self.config),
        };
        let client = self.client().map_err(|error| not_made(why(&error)))?;
        let made = client.create_topics([&topic], &self.options()).await.map_err(|error| not_made(why(&error)))?;
        for outcome in made {
            match outcome {
                // Another node was first.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(not_made(code.to_string())),
            }
        }
        tracing::info!(log = %self.config, replicas, "made the topic of the change log");
        Ok(())
    }

    async fn check_settings(&self) -> Result<(), OpenError> {
        let away = |why: String| away(&self.config, format!("the topic's settings could not be read: {why}"));
        let client = self.client().map_err(|error| away(why(&error)))?;
        let topic = ResourceSpecifier::Topic(self.config.topic());
        let described = client.describe_configs([&topic], &self.options()).await.map_err(|error| away(why(&error)))?;
        for resource in described {
            let resource = resource.map_err(|code| away(code.to_string()))?;
            let found = |name: &str| resource.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
            for (setting, allowed, reason) in TOPIC_SETTINGS {
                let found = found(setting);
                if found != *allowed {
                    return Err(self.refused(setting, found, (*allowed).into(), allowed, reason));
                }
            }
            let found = found("max.message.bytes");
            if found.parse::<usize>().is_ok_and(|bytes| bytes < RECORD_BYTES_MAX) {
                let (setting, least) = ("max.message.bytes", RECORD_BYTES_MAX.to_string());
                let allowed = format!("at least {least}");
                return Err(self.refused(setting, found, allowed, &least, "a frame of the largest size must fit"));
            }
        }
        Ok(())
    }

    fn refused(
        &self,
        setting: &'static str,
        found: String,
        allowed: String,
        value: &str,
        reason: &'static str,
    ) -> OpenError {
        let (brokers, topic) = (self.config.brokers(), self.config.topic());
        let command = format!(
            "kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic} \
             --add-config {setting}={value}"
        );
        OpenError::Setting {
            topic: topic.into(),
            setting,
            found: found.into(),
            allowed: allowed.into(),
            reason,
            command: command.into(),
        }
    }
}

fn make_command(config: &Config) -> String {
    let settings: String = TOPIC_SETTINGS.iter().map(|(name, value, _)| format!(" --config {name}={value}")).collect();
    format!(
        "kafka-topics.sh --bootstrap-server {} --create --topic {} --partitions 1{settings} --config \
         max.message.bytes={RECORD_BYTES_MAX}",
        config.brokers(),
        config.topic()
    )
}

pub(super) fn away(config: &Config, why: String) -> OpenError {
    OpenError::Away { log: config.to_string(), brokers: config.brokers().into(), why }
}

/// Whether a broker answers and knows no such topic.
pub(super) fn is_gone<C: ClientContext>(client: &Client<C>, topic: &str, wait: Duration) -> bool {
    matches!(partitions(client, topic, wait), Ok(None))
}

/// How many partitions the topic has that have a leader, of how many; `None`: there is no such topic.
fn partitions<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    wait: Duration,
) -> Result<Option<(usize, usize)>, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), wait)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let topic = found.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable))?;
    match topic.error().map(RDKafkaErrorCode::from) {
        None => {
            let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
            Ok(Some((led, topic.partitions().len())))
        }
        // From a broker. What the library itself calls unknown may have no leader for a while.
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok(None),
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}

/// Sees to it that the topic is there and is what it must be; whether it had to be made. Blocks.
pub(super) fn ensure(
    client: &Client<Context>,
    admin: &Admin,
    runtime: &Handle,
    until_ms: u64,
) -> Result<bool, OpenError> {
    let config = &admin.config;
    let mut is_made = false;
    loop {
        let left_ms = until_ms.saturating_sub(admin.clock.mono_ms());
        if left_ms == 0 {
            return Err(away(config, "the topic has no leader".into()));
        }
        match partitions(client, config.topic(), Duration::from_millis(left_ms)) {
            Ok(None) if !is_made => {
                runtime.block_on(admin.make())?;
                is_made = true;
            }
            Ok(Some((1, 1))) => break,
            Ok(Some((_, found))) if found > 1 => {
                return Err(OpenError::Partitions { topic: config.topic().into(), found });
            }
            // Made, and not yet known everywhere.
            Ok(_) => runtime.block_on(admin.clock.sleep(Duration::from_millis(20))),
            Err(error) if code(&error) == Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(away(config, "this user may not read the topic".into()));
            }
            Err(error) => return Err(away(config, client.context().explain(&error))),
        }
    }
    runtime.block_on(admin.check_settings())?;
    Ok(is_made)
}
