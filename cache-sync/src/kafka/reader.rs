//! A consumer of the one partition, by offsets: what the follower and the readers of old frames have in common.
//!
//! It is told once where to begin. Another place takes another consumer: in the client library, a second assignment
//! whose first one is still being taken back ends the process with a failed assertion (librdkafka 5573).

use std::sync::Arc;
use std::time::Duration;

use compute::port::Clock;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::config::Config;
use super::context::Context;
use super::error::code;
use super::record::{PARTITION, Record};
use super::settings;
use super::writer::retire;

/// What a poll gave.
pub(super) enum Polled {
    Nothing,
    /// A record, or why it is none that can be used.
    Record(Box<Record>),
    /// A record at this offset that is no frame.
    Damaged(u64, String),
    /// There is no more.
    End,
    /// The offset asked for is before the first record or behind the last.
    OutOfRange,
    /// The consumer is of no more use.
    Broken(String),
    /// It goes on by itself when it can.
    Away(String),
}

pub(super) struct Reader {
    topic: String,
    consumer: BaseConsumer<Context>,
    pub(super) context: Context,
}

impl Reader {
    pub(super) fn new(role: &'static str, config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, KafkaError> {
        let context = Context::new(role, Arc::clone(clock));
        let consumer = settings::consumer(config).create_with_context(context.clone())?;
        Ok(Self { topic: config.topic().to_owned(), consumer, context })
    }

    /// One that reads from this offset on.
    pub(super) fn at(
        offset: u64,
        role: &'static str,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, KafkaError> {
        let reader = Self::new(role, config, clock)?;
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&reader.topic, PARTITION, Offset::Offset(offset))?;
        reader.consumer.assign(&list)?;
        Ok(reader)
    }

    /// Ends it on a thread of its own, for it waits for its brokers.
    pub(super) fn retire(self) {
        retire(self);
    }

    pub(super) fn watermarks(&self, wait: Duration) -> Result<(u64, u64), KafkaError> {
        watermarks(self.consumer.client(), &self.topic, wait)
    }

    pub(super) fn poll(&self, wait: Duration) -> Polled {
        let message = match self.consumer.poll(wait) {
            None => return Polled::Nothing,
            Some(Err(error)) => return self.error(&error),
            Some(Ok(message)) => message,
        };
        match Record::of(&message) {
            Ok(record) => Polled::Record(Box::new(record)),
            Err(why) => Polled::Damaged(rdkafka::Message::offset(&message).max(0).unsigned_abs(), why),
        }
    }

    pub(super) fn inner(&self) -> &BaseConsumer<Context> {
        &self.consumer
    }

    fn error(&self, error: &KafkaError) -> Polled {
        let why = self.context.explain(error);
        match (error, code(error)) {
            (KafkaError::PartitionEOF(_), _) => Polled::End,
            (_, Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)) => Polled::OutOfRange,
            (KafkaError::MessageConsumptionFatal(_), _) | (_, Some(RDKafkaErrorCode::PollExceeded)) => {
                Polled::Broken(why)
            }
            _ => Polled::Away(why),
        }
    }
}

/// Where the first record is, and where the next one will be.
pub(super) fn watermarks<C: rdkafka::ClientContext>(
    client: &rdkafka::client::Client<C>,
    topic: &str,
    wait: Duration,
) -> Result<(u64, u64), KafkaError> {
    let (low, high) = client.fetch_watermarks(topic, PARTITION, wait)?;
    match (u64::try_from(low), u64::try_from(high)) {
        (Ok(low), Ok(high)) => Ok((low, high)),
        _ => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OffsetNotAvailable)),
    }
}
