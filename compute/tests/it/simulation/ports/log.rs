use std::sync::Arc;

use async_trait::async_trait;
use compute::model::{Entry, Frame, LogIdentity, Position};
use compute::port::ChangeLog;
use compute::port::change_log::{AppendError, Bounds, Found, Life, LogReadError};
use compute::testing::change_log::MemoryLog;

use super::super::level::Level;
use super::{Fate, Way};

/// The log that all nodes share.
pub(crate) struct Topic {
    memory: Arc<MemoryLog>,
    /// When each frame was appended, by offset.
    appended: Level<Vec<u64>>,
}

impl Topic {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { memory: MemoryLog::new(LogIdentity([9; 16])), appended: Level::default() })
    }

    async fn append(&self, way: &Way, frame: Arc<Frame>) -> Result<Position, AppendError> {
        let position = self.memory.append(frame.clone()).await?;
        way.sim.storm().frame(frame.changes.len());
        self.appended.change(|appended| appended.push(way.sim.now_ms()));
        way.sim.note("append", &way.life.name, position.offset());
        way.sim.tell(|| frame.changes.iter().map(|c| format!("\n             {:?}", c)).collect());
        Ok(position)
    }

    /// How many frames there were by then.
    pub(crate) fn appended_before(&self, ms: u64) -> u64 {
        self.appended.is(|appended| appended.partition_point(|at| *at < ms) as u64)
    }

    /// When the frame at an offset was appended.
    pub(crate) fn appended_ms(&self) -> Vec<u64> {
        self.appended.is(Vec::clone)
    }
}

/// One node's way to it.
pub(crate) struct SimLog {
    pub(crate) way: Way,
    pub(crate) topic: Arc<Topic>,
}

/// An append is given up after this time.
const PATIENCE_MS: u64 = 1_500;
/// What was given up may still come after this time.
const LATE_MS_MAX: u64 = 4_000;

impl SimLog {
    fn is_reached(way: &Way) -> bool {
        way.weather.is(|sky| !sky.cut_from_log.contains(&way.life.name))
    }

    async fn until_reached(way: &Way) {
        way.weather.until(|sky| !sky.cut_from_log.contains(&way.life.name)).await;
    }

    async fn carry(way: Way, topic: Arc<Topic>, frame: Arc<Frame>) -> Result<Position, AppendError> {
        let patience = way.sim.between(PATIENCE_MS / 2, PATIENCE_MS);
        tokio::select! {
            biased;
            () = Self::until_reached(&way) => {}
            () = way.sim.pause(patience) => {
                if way.sim.percent(50) {
                    return Err(AppendError::Refused("the log does not answer".into()));
                }
                return Self::leave(way, topic, frame, 50).await;
            }
        }
        let slow = way.weather.is(|sky| sky.writes_late_ms.get(&way.life.name).copied().unwrap_or(2));
        way.sim.pause(way.sim.between(0, slow)).await;
        if !way.is_sent() {
            return Err(AppendError::Unknown("its writer is dead".into()));
        }
        let faults = way.weather.is(|sky| sky.log_faults);
        match Fate::of(&way.sim, faults) {
            Fate::Well => {
                let position = topic.append(&way, frame).await?;
                way.sim.pause(way.sim.between(0, slow)).await;
                if Self::is_reached(&way) { Ok(position) } else { Err(AppendError::Unknown("no answer".into())) }
            }
            Fate::Refused => Err(AppendError::Refused("the log is full".into())),
            Fate::Lost => Self::leave(way, topic, frame, 0).await,
            Fate::Late => Self::leave(way, topic, frame, 100).await,
            Fate::Done => {
                topic.append(&way, frame).await?;
                Err(AppendError::Unknown("the answer was lost".into()))
            }
        }
    }

    /// Gives an append up whose frame may come later.
    async fn leave(way: Way, topic: Arc<Topic>, frame: Arc<Frame>, percent: u64) -> Result<Position, AppendError> {
        if way.sim.percent(percent) {
            let under_way = way.sim.calm().under_way();
            tokio::spawn(async move {
                way.sim.pause(way.sim.below(LATE_MS_MAX)).await;
                Self::until_reached(&way).await;
                let _ = topic.append(&way, frame).await;
                drop(under_way);
            });
        }
        Err(AppendError::Unknown("given up".into()))
    }
}

#[async_trait]
impl ChangeLog for SimLog {
    async fn bounds(&self) -> Result<Bounds, LogReadError> {
        self.way.life.awake().await;
        self.way.sim.pause(1).await;
        if !Self::is_reached(&self.way) {
            return Err(LogReadError::Away("cut off".into()));
        }
        self.topic.memory.bounds().await
    }

    async fn append(&self, frame: Arc<Frame>) -> Result<Position, AppendError> {
        let carried = self.way.call(Self::carry(self.way.clone(), self.topic.clone(), frame)).await;
        carried.unwrap_or_else(|| Err(AppendError::Unknown("no answer".into())))
    }

    async fn read(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError> {
        let way = &self.way;
        way.life.awake().await;
        Self::until_reached(way).await;
        self.topic.appended.until(|appended| appended.len() as u64 > after.offset()).await;
        let entries = self.topic.memory.read(after, max).await?;
        let late = way.weather.is(|sky| sky.reads_late_ms.get(&way.life.name).copied().unwrap_or(2));
        way.sim.pause(way.sim.between(late / 2, late)).await;
        Self::until_reached(way).await;
        way.life.awake().await;
        Ok(entries)
    }

    async fn look(&self) -> Result<Found, LogReadError> {
        self.bounds().await?;
        self.topic.memory.look().await
    }

    async fn follow(&self, life: Life) -> Result<(), LogReadError> {
        self.topic.memory.follow(life).await
    }

    async fn trim(&self, upto: Position) -> Result<(), AppendError> {
        self.topic.memory.trim(upto).await
    }
}
