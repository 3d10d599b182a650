//! Appends: one producer, and another in its place when it gave up.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use compute::model::Position;
use compute::port::Clock;
use compute::port::change_log::AppendError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer};
use tokio::sync::oneshot;

use super::config::Config;
use super::context::Context;
use super::error::{code, why};
use super::record::{self, PARTITION};
use super::settings;
use super::shown::Shown;

pub(super) type Producer = ThreadedProducer<Context>;

/// How long an append waits before it tries again for a place in the producer's queue.
const QUEUE_WAIT: Duration = Duration::from_millis(1);
/// Producers that one append tries.
const TRIES_MAX: usize = 3;

/// An append that was handed over; it comes back with its outcome.
pub(super) struct Pending {
    reply: oneshot::Sender<Result<Position, AppendError>>,
    checksum: u64,
    /// The log's end when it was handed over.
    known_before: u64,
    shown: Arc<Shown>,
}

impl Pending {
    pub(super) fn written(self, offset: i64) {
        // A broker that had it already from an earlier try may no longer know where.
        let outcome = match u64::try_from(offset) {
            Err(_) => Err(AppendError::Unknown("it was taken, and the broker does not say where".into())),
            Ok(at) => self.shown.acknowledge(at + 1, self.checksum, self.known_before).map_err(|why| {
                self.shown.set_unusable(why.clone());
                AppendError::Unknown(why)
            }),
        };
        // Nobody hears the outcome of an append that was dropped.
        let _ = self.reply.send(outcome);
    }

    /// Only what is refused for what it is was certainly not written: everything else may come of a second try whose
    /// first one was.
    pub(super) fn failed(self, error: &KafkaError) {
        let outcome = match code(error) {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => AppendError::Refused(why(error)),
            _ => AppendError::Unknown(why(error)),
        };
        let _ = self.reply.send(Err(outcome));
    }
}

pub(super) struct Writer {
    config: Config,
    clock: Arc<dyn Clock>,
    current: RwLock<Arc<Live>>,
}

/// A producer and its context.
pub(super) struct Live {
    pub(super) producer: Producer,
    pub(super) context: Context,
}

impl Live {
    pub(super) fn new(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, KafkaError> {
        let context = Context::new("producer", Arc::clone(clock));
        let producer = settings::producer(config).create_with_context(context.clone())?;
        Ok(Self { producer, context })
    }
}

impl Writer {
    pub(super) fn new(config: Config, clock: Arc<dyn Clock>) -> Result<Self, KafkaError> {
        let current = RwLock::new(Arc::new(Live::new(&config, &clock)?));
        Ok(Self { config, clock, current })
    }

    pub(super) fn current(&self) -> Arc<Live> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn append(&self, shown: &Arc<Shown>, body: &[u8], checksum: u64) -> Result<Position, AppendError> {
        let started_us = self.clock.mono_us();
        let (reply, answer) = oneshot::channel();
        let known_before = shown.known();
        let pending = Box::new(Pending { reply, checksum, known_before, shown: Arc::clone(shown) });
        self.hand_over(body, checksum, pending).await?;
        let gone = || AppendError::Unknown("the producer was closed meanwhile".into());
        let position = answer.await.unwrap_or_else(|_| Err(gone()))?;
        metrics::histogram!("thuban_log_commit_seconds").record((self.clock.mono_us() - started_us) as f64 / 1e6);
        Ok(position)
    }

    /// Hands the frame to the producer. An error here means that it was not taken, and never will be.
    async fn hand_over(&self, body: &[u8], checksum: u64, mut pending: Box<Pending>) -> Result<(), AppendError> {
        let key = record::key(checksum);
        let mut tries = 0;
        loop {
            let live = self.usable()?;
            match send(&live.producer, self.config.topic(), &key, body, pending) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    pending = back;
                    match code(&error) {
                        Some(RDKafkaErrorCode::QueueFull) => {
                            if let Some(why) = pending.shown.refusal() {
                                return Err(AppendError::Refused(why));
                            }
                            self.clock.sleep(QUEUE_WAIT).await;
                            continue;
                        }
                        Some(RDKafkaErrorCode::Fatal) if tries < TRIES_MAX => live.context.set_fatal(),
                        _ => return Err(AppendError::Refused(why(&error))),
                    }
                }
            }
            tries += 1;
        }
    }

    /// The producer, or the next one when it has given up. Whatever the old one still held has an unknown outcome then,
    /// and is not sent any more: nothing of it comes behind what the next one sends but what was on its way already.
    fn usable(&self) -> Result<Arc<Live>, AppendError> {
        let live = self.current();
        if !live.context.is_fatal() {
            return Ok(live);
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !current.context.is_fatal() {
            return Ok(Arc::clone(&current));
        }
        let reason = current.producer.client().fatal_error().map(|(_, reason)| reason).unwrap_or_default();
        tracing::warn!(topic = self.config.topic(), reason, "the producer gave up, another takes its place");
        current.producer.purge(PurgeConfig::default().queue().inflight());
        let next = Live::new(&self.config, &self.clock).map_err(|error| AppendError::Refused(why(&error)))?;
        let old = std::mem::replace(&mut *current, Arc::new(next));
        retire(old);
        Ok(Arc::clone(&current))
    }
}

/// Ends a client on a thread of its own, for it waits for its last outcomes.
pub(super) fn retire<T: Send + 'static>(old: T) {
    let ended = std::thread::Builder::new().name("thuban-log-ending".into()).spawn(move || drop(old));
    if let Err(error) = ended {
        tracing::warn!(%error, "no thread to end a client on");
    }
}

type NotSent = (KafkaError, Box<Pending>);

fn send(producer: &Producer, topic: &str, key: &[u8], body: &[u8], pending: Box<Pending>) -> Result<(), NotSent> {
    let record = BaseRecord::with_opaque_to(topic, pending).partition(PARTITION).key(key).payload(body);
    producer.send(record).map_err(|(error, record)| (error, record.delivery_opaque))
}

#[cfg(test)]
mod tests;
