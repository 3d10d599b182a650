//! Stores with a bug each: the oracle must find them.

use std::sync::Arc;

use async_trait::async_trait;
use compute::model::{LogIdentity, LogState, Position, Rows};
use compute::port::PresenceStore;
use compute::port::store::{Epoch, LandError, Loaded, ReadError};
use compute::testing::store::MemoryStore;

/// What is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    /// Whoever has ever landed still may.
    EpochUnchecked,
    /// The watermark moves first, and the rows follow in a transaction of their own.
    WatermarkOutside,
    /// Some tables are read now, and the others a moment later.
    LoadTorn,
}

struct Broken {
    rows: Arc<MemoryStore>,
    bug: Bug,
}

pub(super) fn epoch_unchecked(rows: Arc<MemoryStore>) -> Arc<dyn PresenceStore> {
    Arc::new(Broken { rows, bug: Bug::EpochUnchecked })
}

pub(super) fn watermark_outside(rows: Arc<MemoryStore>) -> Arc<dyn PresenceStore> {
    Arc::new(Broken { rows, bug: Bug::WatermarkOutside })
}

pub(super) fn load_torn(rows: Arc<MemoryStore>) -> Arc<dyn PresenceStore> {
    Arc::new(Broken { rows, bug: Bug::LoadTorn })
}

/// Between the two halves of what should be one.
async fn moment(ms: u64) {
    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
}

#[async_trait]
impl PresenceStore for Broken {
    async fn load(&self) -> Result<Loaded, ReadError> {
        let first = self.rows.load().await?;
        if self.bug != Bug::LoadTorn {
            return Ok(first);
        }
        moment(400).await;
        let Loaded { log, rows } = self.rows.load().await?;
        // The watermark is read last, and says more than the instances do.
        Ok(Loaded { log, rows: Rows { instances: first.rows.instances, services: first.rows.services, ..rows } })
    }

    async fn lead(&self, identity: LogIdentity) -> Result<Epoch, LandError> {
        self.rows.lead(identity).await
    }

    async fn land(&self, epoch: Epoch, rows: Rows, from: Position, upto: LogState) -> Result<(), LandError> {
        match self.bug {
            Bug::LoadTorn => self.rows.land(epoch, rows, from, upto).await,
            Bug::EpochUnchecked => {
                let newest = self.rows.mark().await.ok().flatten().map_or(epoch, |(newest, _)| newest);
                self.rows.land(newest, rows, from, upto).await
            }
            Bug::WatermarkOutside => {
                self.rows.land(epoch, Rows::default(), from, upto).await?;
                moment(20).await;
                self.rows.land(epoch, rows, upto.watermark, upto).await
            }
        }
    }

    async fn replace(&self, epoch: Epoch, rows: Rows, upto: LogState) -> Result<(), LandError> {
        self.rows.replace(epoch, rows, upto).await
    }

    async fn mark(&self) -> Result<Option<(Epoch, LogState)>, ReadError> {
        self.rows.mark().await
    }
}
