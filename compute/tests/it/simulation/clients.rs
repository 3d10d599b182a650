//! Those who use the registry: honest ones, who give up an attempt soon and ask another node.

mod people;
mod provider;
mod reader;
mod session;
mod watcher;

pub(super) use people::operator;
pub(super) use provider::{Provider, Trade};
pub(super) use reader::reader;
pub(super) use session::{Habit, Streamer};
pub(super) use watcher::watcher;

use std::sync::Arc;
use std::time::Duration;

use compute::Registry;
use compute::error::Error;
use compute::model::NodeIncarnation;
use compute::node::Readiness;

use super::fleet::{Live, Seat};
use super::history::History;
use super::level::Level;
use super::sim::Sim;

/// What every client has.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) seats: Arc<Vec<Seat>>,
    pub(super) history: Arc<History>,
    /// How far the run is.
    pub(super) phase: Arc<Level<Phase>>,
    /// Its own: in which order clients are woken at one moment must not matter.
    pub(super) sim: Sim,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    Faults,
    /// Nothing more goes wrong.
    Healing,
    /// Nobody writes any more,
    Over,
    /// nor reads.
    Closed,
}

/// Why a call came to nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failed {
    /// Nobody there, or no answer in time. What was asked may be done all the same.
    Silence,
    Refused(Error),
}

/// An answer, the incarnation that gave it, and the time it took.
pub(super) struct Answered<T> {
    pub(super) value: T,
    pub(super) node: NodeIncarnation,
    pub(super) live: Live,
    pub(super) began_ms: u64,
    pub(super) ended_ms: u64,
}

impl Client {
    /// Another one.
    pub(super) fn apart(&self) -> Self {
        Self { sim: self.sim.apart(), ..self.clone() }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.is(|phase| *phase)
    }

    /// Waits; false: the run is at `end`.
    pub(super) async fn rest(&self, ms: u64, end: Phase) -> bool {
        let ended = self.phase.until(|phase| *phase >= end);
        tokio::time::timeout(Duration::from_millis(ms), ended).await.is_err()
    }

    pub(super) fn any_seat(&self) -> usize {
        self.sim.below(self.seats.len() as u64) as usize
    }

    /// Asks the node of a seat, as a door does.
    pub(super) async fn ask<T, F>(
        &self,
        seat: usize,
        patience_ms: u64,
        ask: impl FnOnce(Registry) -> F,
    ) -> Result<Answered<T>, Failed>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let sim = &self.sim;
        let live = self.seats[seat].live();
        let Some(live) = live else {
            sim.pause(sim.between(0, 2)).await;
            return Err(Failed::Silence);
        };
        let began_ms = sim.now_ms();
        let answered = async {
            sim.pause(sim.between(0, 2)).await;
            live.life.awake().await;
            if let Readiness::NotReady(why) = live.registry.readiness() {
                return Err(Failed::Refused(Error::NotReady(why)));
            }
            let node = live.registry.status().node;
            let value = ask(live.registry.clone()).await.map_err(Failed::Refused)?;
            live.life.awake().await;
            if live.registry.status().node != node {
                // Who answered can't be told.
                return Err(Failed::Silence);
            }
            sim.pause(sim.between(0, 2)).await;
            Ok((value, node))
        };
        let answered = tokio::time::timeout(Duration::from_millis(patience_ms), answered).await;
        let (value, node) = answered.unwrap_or(Err(Failed::Silence))?;
        Ok(Answered { value, node, live, began_ms, ended_ms: sim.now_ms() })
    }
}
