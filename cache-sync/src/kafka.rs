//! The log that many nodes share: a topic of Kafka with one partition.
//!
//! One append is one frame, one record and one position; Kafka's offset `o` is offset `o + 1` of the log. A record's
//! value is the frame as [`codec`] writes it, its key the frame's checksum.
//!
//! - [`Config`] holds the address and the settings that go to librdkafka, but for those that the log rests on.
//! - [`KafkaLog::connect`] makes the topic or checks it ([`topic`]) and tells which log is in it; [`Connected::bind`]
//!   binds to one identity and generation. A log of another is an error that names both.
//! - [`KafkaTopic`] is the topic over all lives of its log: what a node holds.
//! - [`writer`]: one producer, idempotent, acknowledged by every replica in sync. What it does not know to be written
//!   or refused is unknown. When it gives up another takes its place.
//! - [`follower`]: one thread follows the end and keeps recent frames in memory; [`older`]: another one reads what is
//!   no longer there, so that a node that rebuilds aside does not hold up the one that serves.
//! - [`keeper`]: one thread asks where the topic begins and ends, for [`ChangeLog::bounds`] and each second.
//!
//! Invariants. No consumer group, no stored offset, no reset: a reader that is lost says so. Positions have no gap. A
//! frame of another identity or of a later generation, a topic that was deleted and made anew, an end that went back, an own
//! append that is not where the broker said: each makes the log unusable for good, and nothing behind it is shown. A
//! frame of an earlier generation is shown without its changes: who wrote it did not know of this one. A record that no
//! node has written is shown as a frame without changes ([`record`]): nothing was ever acknowledged with it.
//! Deleting and making anew is noticed in three ways, for none is enough alone: the ends go back, each second; behind
//! every interruption the last frame is read again and must be the one that it was; and every 5 s one is that was last
//! before, because the client library goes on with a new topic of the same name and says nothing. Frames of such a topic
//! may have been shown until then: the rolling hash in beacons covers them.
//!
//! Rejected: sending an empty frame to warm the producer (a new log must be empty; its statistics tell when it has its
//! id); one consumer that seeks back for old frames (live readers would wait behind a rebuild); asking for the ends on
//! the consumer's connection (an answer waits there behind a long poll); transactions (their markers take offsets); the
//! library's debug lines, which name a topic's new id (they are written under locks, and stop it for ever).

mod config;
mod connect;
mod context;
mod error;
mod follower;
mod keeper;
mod lives;
mod older;
mod passed;
mod reader;
mod record;
mod settings;
mod shown;
mod topic;
mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use compute::model::{Entry, Frame, LogGeneration, Position};
use compute::port::Clock;
use compute::port::change_log::{AppendError, Bounds, ChangeLog, LogReadError};
use rdkafka::producer::Producer as _;
use tokio::sync::oneshot;

use crate::codec;

pub use config::Config;
pub use connect::Connected;
pub use error::{ConfigError, OpenError};
use follower::Follower;
use keeper::{Ask, Keeper};
pub use lives::KafkaTopic;
use older::{Older, Read};
pub use settings::is_secret;
use shown::{Look, Shown};
use topic::Admin;
use writer::Writer;

/// The log in one topic. Closed by [`KafkaLog::close`], or, without waiting for it, when it is dropped.
pub struct KafkaLog {
    config: Config,
    shown: Arc<Shown>,
    writer: Arc<Writer>,
    admin: Arc<Admin>,
    asks: SyncSender<Ask>,
    reads: SyncSender<Read>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl KafkaLog {
    /// Connects, makes the topic or checks it, and looks at what is in it.
    pub async fn connect(config: &Config, clock: Arc<dyn Clock>) -> Result<Connected, OpenError> {
        Connected::to(config, &clock).await
    }

    /// Of which life it is.
    pub fn generation(&self) -> LogGeneration {
        self.shown.generation
    }

    async fn start(
        connected: Connected,
        (identity, generation): connect::Life,
        ends: (u64, u64),
    ) -> Result<Arc<Self>, OpenError> {
        let Connected { config, clock, admin, .. } = connected;
        let failed = |why: String| topic::away(&config, why);
        let writer = Arc::new(Writer::new(config.clone(), Arc::clone(&clock)).map_err(|e| failed(error::why(&e)))?);
        let shown = Arc::new(Shown::new(identity, generation, ends, config.tail_bytes_max));
        let stop = Arc::new(AtomicBool::new(false));
        let follower =
            Follower::new(&config, &clock, &shown, &stop, ends).map_err(|error| failed(error::why(&error)))?;
        let (older, reads) = Older::new(&config, &clock, &shown, &stop);
        let (keeper, asks) = Keeper::new(&config, &clock, &shown, &writer, &admin, &stop, reads.clone());
        let log = Self { config, shown, writer, admin, asks, reads, stop, threads: Mutex::default() };
        log.spawn("thuban-log-follower", move || follower.run())?;
        log.spawn("thuban-log-keeper", move || keeper.run())?;
        log.spawn("thuban-log-older", move || older.run())?;
        log.ready().await?;
        Ok(Arc::new(log))
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let spawned = std::thread::Builder::new().name(name.into()).spawn(run);
        let thread = spawned.map_err(|error| topic::away(&self.config, format!("no thread for {name}: {error}")))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Until the producer sends at once and the follower has come to the end.
    async fn ready(&self) -> Result<(), OpenError> {
        let live = self.writer.current();
        let both = async { tokio::join!(live.context.ready(), self.shown.caught_up()) };
        if tokio::time::timeout(self.config.connect_wait_max, both).await.is_err() {
            let why = live.context.last_error().unwrap_or_else(|| "the producer got no id in time".into());
            return Err(topic::away(&self.config, why));
        }
        match self.shown.refusal() {
            None => Ok(()),
            Some(why) => Err(OpenError::Unusable { topic: self.config.topic().into(), why }),
        }
    }

    /// Waits for the outcome of what was handed over, as long as the producer does, and ends. Whoever still uses the log
    /// is told that it is closed.
    pub async fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let (live, shown, stop) = (self.writer.current(), Arc::clone(&self.shown), Arc::clone(&self.stop));
        let (wait, reads, asks) = (self.config.connect_wait_max, self.reads.clone(), self.asks.clone());
        let ended = tokio::task::spawn_blocking(move || {
            if let Err(error) = live.producer.flush(wait) {
                tracing::warn!(why = error::why(&error), "the outcome of some appends is not known at the end");
            }
            shown.set_closed();
            stop.store(true, Ordering::Release);
            // Who waits for something to do is woken by these, whose answers nobody hears.
            let _ = reads.try_send(Read { after: 0, max: 0, is_check: true, reply: oneshot::channel().0 });
            let _ = asks.try_send(oneshot::channel().0);
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the change log panicked");
                }
            }
        });
        if ended.await.is_err() {
            tracing::error!("closing the change log panicked");
        }
    }

    /// Frames that are no longer in memory.
    async fn read_older(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        let (reply, answer) = oneshot::channel();
        self.reads
            .try_send(Read { after: after.offset(), max, is_check: false, reply })
            .map_err(|error| busy(&error))?;
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    fn ended(&self) -> LogReadError {
        self.shown.trouble().map_or_else(|| LogReadError::Away("the log is closed".into()), |trouble| trouble.error())
    }
}

fn busy<T>(error: &TrySendError<T>) -> LogReadError {
    LogReadError::Away(match error {
        TrySendError::Full(_) => "too many wait for it".into(),
        TrySendError::Disconnected(_) => "the log is closed".into(),
    })
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.shown.set_closed();
        self.stop.store(true, Ordering::Release);
        writer::retire(Arc::clone(&self.writer));
    }
}

#[async_trait]
impl ChangeLog for KafkaLog {
    async fn bounds(&self) -> Result<Bounds, LogReadError> {
        if let Some(trouble) = self.shown.trouble() {
            return Err(trouble.error());
        }
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(reply).map_err(|error| busy(&error))?;
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    async fn append(&self, frame: Arc<Frame>) -> Result<Position, AppendError> {
        let refused = |why: String| Err(AppendError::Refused(why));
        let identity = self.shown.identity;
        if frame.identity != identity {
            return refused(format!("this log is {identity}, the frame is of log {}", frame.identity));
        }
        if let Some(why) = self.shown.refusal() {
            return refused(why);
        }
        let body = match codec::encode(&frame, self.shown.generation) {
            Ok(body) => body,
            Err(error) => return refused(error.to_string()),
        };
        self.writer.append(&self.shown, &body, codec::checksum(&body)).await
    }

    async fn read(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        let mut changes = self.shown.subscribe();
        loop {
            match changes.look(&self.shown, after, max.max(1))? {
                Look::Entries(entries) => return Ok(entries),
                Look::Older => return self.read_older(after, max.max(1)).await,
                // Another node may have been told of it before this one: the broker knows.
                Look::Beyond => {
                    self.bounds().await?.has_behind(after)?;
                }
                Look::Nothing => changes.changed().await?,
            }
        }
    }

    async fn trim(&self, upto: Position) -> Result<(), AppendError> {
        let away = |error: LogReadError| AppendError::Refused(error.to_string());
        let bounds = self.bounds().await.map_err(away)?;
        let upto = if upto.generation() > self.shown.generation { u64::MAX } else { upto.offset() };
        let upto = upto.min(bounds.last.offset().saturating_sub(1));
        if upto <= bounds.trimmed.offset() {
            return Ok(());
        }
        match self.admin.trim(upto).await {
            Ok(()) => {
                let noted = self.shown.observe((upto.max(self.shown.trimmed()), self.shown.known()), 0);
                noted.map(|_| ()).map_err(AppendError::Unknown)
            }
            Err(error) => Err(AppendError::Unknown(error::why(&error))),
        }
    }
}
