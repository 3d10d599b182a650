//! The topic, over all lives of its log.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use compute::model::{Entry, Frame, Position};
use compute::port::Clock;
use compute::port::change_log::{AppendError, Bounds, ChangeLog, Found, Life, LogReadError};

use super::{Config, Connected, KafkaLog, OpenError};

/// A topic, in which a log has one life after the other: the one that it follows has a [`KafkaLog`] of its own. Closed
/// by [`KafkaTopic::close`].
pub struct KafkaTopic {
    config: Config,
    clock: Arc<dyn Clock>,
    current: RwLock<Option<Arc<KafkaLog>>>,
}

impl KafkaTopic {
    /// Follows nothing yet, and does not connect.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { config, clock, current: RwLock::new(None) })
    }

    /// Connects, makes the topic or checks it, and looks at what is in it.
    pub async fn connect(&self) -> Result<Connected, OpenError> {
        KafkaLog::connect(&self.config, Arc::clone(&self.clock)).await
    }

    /// Forgets every record of the topic, whatever it is: what a lost log leaves behind, or somebody else, before the
    /// next life is begun. Offsets go on. Nobody may write to it meanwhile.
    pub async fn empty(&self) -> Result<(), OpenError> {
        super::connect::empty(&self.config, &self.clock).await
    }

    /// See [`KafkaLog::close`].
    pub async fn close(&self) {
        let current = self.replace(None);
        if let Some(log) = current {
            log.close().await;
        }
    }

    fn replace(&self, log: Option<Arc<KafkaLog>>) -> Option<Arc<KafkaLog>> {
        std::mem::replace(&mut *self.current.write().unwrap_or_else(PoisonError::into_inner), log)
    }

    fn current(&self) -> Option<Arc<KafkaLog>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read_from(&self) -> Result<Arc<KafkaLog>, LogReadError> {
        self.current().ok_or_else(|| LogReadError::Away(NONE.into()))
    }

    fn write_to(&self) -> Result<Arc<KafkaLog>, AppendError> {
        self.current().ok_or_else(|| AppendError::Refused(NONE.into()))
    }
}

const NONE: &str = "no life of the log is followed";

/// What may pass by waiting: a topic that is just being deleted can't be made either.
fn failed(error: OpenError) -> LogReadError {
    match error {
        OpenError::Away { .. } | OpenError::NotMade { .. } => LogReadError::Away(error.to_string()),
        other => LogReadError::Unusable(other.to_string()),
    }
}

#[async_trait]
impl ChangeLog for KafkaTopic {
    async fn bounds(&self) -> Result<Bounds, LogReadError> {
        self.read_from()?.bounds().await
    }

    async fn append(&self, frame: Arc<Frame>) -> Result<Position, AppendError> {
        self.write_to()?.append(frame).await
    }

    async fn read(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        self.read_from()?.read(after, max).await
    }

    async fn trim(&self, upto: Position) -> Result<(), AppendError> {
        self.write_to()?.trim(upto).await
    }

    async fn look(&self) -> Result<Found, LogReadError> {
        self.connect().await.map(|connected| connected.all_found()).map_err(failed)
    }

    /// What the producer of the life before still has on its way comes to nothing: it is of that life.
    async fn follow(&self, (identity, generation): Life) -> Result<(), LogReadError> {
        let connected = self.connect().await.map_err(failed)?;
        let log = connected.bind(identity, generation).await.map_err(failed)?;
        drop(self.replace(Some(log)));
        Ok(())
    }
}
