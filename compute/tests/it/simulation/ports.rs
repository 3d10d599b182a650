//! The ports of a node in a run: each call asks chance and the weather when and how it ends.

mod clock;
mod log;
mod peers;
mod store;

pub(super) use clock::SimClock;
pub(super) use log::{SimLog, Topic};
pub(super) use peers::{Doors, SimPeers};
pub(super) use store::{Database, Landed, SimStore};

use std::sync::Arc;

use super::life::Life;
use super::sim::Sim;
use super::weather::Weather;

/// How one life of a node reaches the rest of the world.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) sim: Sim,
    pub(super) weather: Arc<Weather>,
    pub(super) life: Arc<Life>,
}

impl Way {
    /// What the other end does goes on without the caller, who may die or stop waiting; it learns of it when it runs.
    async fn call<T: Send + 'static>(&self, there: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.life.awake().await;
        let (told, answer) = tokio::sync::oneshot::channel();
        tokio::spawn(async move { drop(told.send(there.await)) });
        let answer = answer.await.ok();
        self.life.awake().await;
        answer
    }

    /// Whether a call that was under way when its caller died is taken all the same.
    fn is_sent(&self) -> bool {
        !self.life.is_dead() || self.sim.percent(50)
    }
}

/// How a call ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Well,
    /// It had no effect, and the caller knows.
    Refused,
    /// The caller does not know: it had none,
    Lost,
    /// it had its effect,
    Done,
    /// or will have it later.
    Late,
}

impl Fate {
    fn of(sim: &Sim, faults: u64) -> Self {
        if !sim.percent(faults) {
            return Self::Well;
        }
        match sim.below(4) {
            0 => Self::Refused,
            1 => Self::Lost,
            2 => Self::Done,
            _ => Self::Late,
        }
    }
}
