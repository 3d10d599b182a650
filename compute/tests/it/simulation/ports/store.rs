use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use compute::model::{LogIdentity, LogState, Position, Rows};
use compute::port::PresenceStore;
use compute::port::store::{Epoch, LandError, Loaded, ReadError};
use compute::testing::store::MemoryStore;

use super::{Fate, Way};

/// What the store held after a landing, and who had landed.
pub(crate) struct Landed {
    pub(crate) epoch: Epoch,
    /// The highest that anybody had taken by then.
    pub(crate) highest: Epoch,
    pub(crate) held: Loaded,
}

/// The store that all nodes share: what holds the rows, and how that is reached, which may be a store with a bug.
pub(crate) struct Database {
    rows: Arc<MemoryStore>,
    reached: Arc<dyn PresenceStore>,
    highest: Mutex<Epoch>,
    landed: Mutex<Vec<Landed>>,
}

impl Database {
    pub(crate) fn new(over: impl FnOnce(Arc<MemoryStore>) -> Arc<dyn PresenceStore>) -> Arc<Self> {
        let rows = MemoryStore::new();
        let (highest, landed) = (Mutex::new(Epoch(0)), Mutex::default());
        Arc::new(Self { reached: over(rows.clone()), rows, highest, landed })
    }

    /// All landings, in order.
    pub(crate) fn landed(&self) -> Vec<Landed> {
        std::mem::take(&mut *self.landed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn held(&self) -> Loaded {
        self.rows.load().await.expect("memory answers")
    }

    async fn lead(&self, way: &Way, identity: LogIdentity) -> Result<Epoch, LandError> {
        let epoch = self.reached.lead(identity).await?;
        *self.highest.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
        way.sim.note("lead", &way.life.name, epoch.0);
        Ok(epoch)
    }

    async fn land(&self, way: &Way, batch: (Epoch, Rows, Position, LogState)) -> Result<(), LandError> {
        let (epoch, rows, from, upto) = batch;
        self.reached.land(epoch, rows, from, upto).await?;
        way.sim.note("land", &way.life.name, upto.watermark.offset());
        let highest = *self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        let landed = Landed { epoch, highest, held: self.held().await };
        self.landed.lock().unwrap_or_else(PoisonError::into_inner).push(landed);
        Ok(())
    }
}

/// One node's way to it.
#[derive(Clone)]
pub(crate) struct SimStore {
    pub(crate) way: Way,
    pub(crate) database: Arc<Database>,
}

/// A call is given up after this time.
const PATIENCE_MS: u64 = 1_000;
/// A transaction whose connection was lost may still commit within this time.
const LATE_MS_MAX: u64 = 3_000;

impl SimStore {
    /// Gets through to the store, or gives up.
    async fn reach(&self) -> bool {
        let way = &self.way;
        let reached = way.weather.until(|sky| !sky.cut_from_store.contains(&way.life.name));
        if tokio::time::timeout(std::time::Duration::from_millis(PATIENCE_MS), reached).await.is_err() {
            return false;
        }
        let slow = way.weather.is(|sky| sky.store_late_ms.max(2));
        way.sim.pause(way.sim.between(slow / 2, slow)).await;
        true
    }

    async fn read<T>(&self, read: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
        self.way.life.awake().await;
        let is_bad = self.way.sim.percent(self.way.weather.is(|sky| sky.store_faults));
        if !self.reach().await || is_bad {
            return Err(ReadError::Away("the store does not answer".into()));
        }
        let read = read.await;
        self.way.life.awake().await;
        read
    }

    async fn carry(self, batch: (Epoch, Rows, Position, LogState)) -> Result<(), LandError> {
        if !self.reach().await || !self.way.is_sent() {
            return Err(LandError::Unknown("the store does not answer".into()));
        }
        match Fate::of(&self.way.sim, self.way.weather.is(|sky| sky.store_faults)) {
            Fate::Well => self.database.land(&self.way, batch).await,
            Fate::Refused => Err(LandError::Rejected("the disk is full".into())),
            Fate::Lost => Err(LandError::Unknown("the connection was lost".into())),
            Fate::Done => {
                self.database.land(&self.way, batch).await?;
                Err(LandError::Unknown("the answer was lost".into()))
            }
            Fate::Late => {
                let late = self.clone();
                let under_way = late.way.sim.calm().under_way();
                tokio::spawn(async move {
                    late.way.sim.pause(late.way.sim.below(LATE_MS_MAX)).await;
                    let _ = late.database.land(&late.way, batch).await;
                    drop(under_way);
                });
                Err(LandError::Unknown("given up".into()))
            }
        }
    }

    async fn carry_lead(self, identity: LogIdentity) -> Result<Epoch, LandError> {
        if !self.reach().await || !self.way.is_sent() {
            return Err(LandError::Unknown("the store does not answer".into()));
        }
        match Fate::of(&self.way.sim, self.way.weather.is(|sky| sky.store_faults)) {
            Fate::Well => self.database.lead(&self.way, identity).await,
            Fate::Refused => Err(LandError::Rejected("the disk is full".into())),
            Fate::Lost | Fate::Late => Err(LandError::Unknown("the connection was lost".into())),
            Fate::Done => {
                self.database.lead(&self.way, identity).await?;
                Err(LandError::Unknown("the answer was lost".into()))
            }
        }
    }
}

#[async_trait]
impl PresenceStore for SimStore {
    async fn load(&self) -> Result<Loaded, ReadError> {
        self.read(self.database.reached.load()).await
    }

    async fn lead(&self, identity: LogIdentity) -> Result<Epoch, LandError> {
        let carried = self.way.call(self.clone().carry_lead(identity)).await;
        carried.unwrap_or_else(|| Err(LandError::Unknown("no answer".into())))
    }

    async fn land(&self, epoch: Epoch, rows: Rows, from: Position, upto: LogState) -> Result<(), LandError> {
        let carried = self.way.call(self.clone().carry((epoch, rows, from, upto))).await;
        carried.unwrap_or_else(|| Err(LandError::Unknown("no answer".into())))
    }

    async fn replace(&self, epoch: Epoch, rows: Rows, upto: LogState) -> Result<(), LandError> {
        self.database.reached.replace(epoch, rows, upto).await
    }

    async fn mark(&self) -> Result<Option<(Epoch, LogState)>, ReadError> {
        self.read(self.database.reached.mark()).await
    }
}
