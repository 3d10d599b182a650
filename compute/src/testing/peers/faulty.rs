//! Peers that fail as their test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::{NodeIncarnation, ServiceKey};
use crate::node::Report;
use crate::port::Chance;
use crate::port::peers::{Age, PeerError, Peers, Reply};
use crate::watch::Subscription;

/// How a call goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallFault {
    /// Not delivered, and the caller knows that there is no answer.
    Lost,
    /// Delivered, and the caller hears nothing of it.
    Unanswered,
    /// Delivered twice.
    Twice,
}

/// How often what goes wrong, per thousand calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerRates {
    pub lost: u64,
    pub unanswered: u64,
    pub twice: u64,
}

/// What lies between a node and its peers.
pub struct FaultyPeers {
    inner: Arc<dyn Peers>,
    plan: Mutex<Plan>,
    stalled: watch::Sender<bool>,
}

#[derive(Default)]
struct Plan {
    script: VecDeque<Option<CallFault>>,
    chance: Option<(Arc<dyn Chance>, PeerRates)>,
}

impl FaultyPeers {
    /// Faithful to `inner` until it is told otherwise.
    pub fn over(inner: Arc<dyn Peers>) -> Arc<Self> {
        Arc::new(Self { inner, plan: Mutex::default(), stalled: watch::Sender::new(false) })
    }

    /// What the next calls meet, one each, behind what was scripted before.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<CallFault>>) {
        self.plan().script.extend(faults);
    }

    /// Faults by chance from now on: the same chance and the same calls give the same faults.
    pub fn by_chance(&self, chance: Arc<dyn Chance>, rates: PeerRates) {
        self.plan().chance = Some((chance, rates));
    }

    /// While stalled, calls wait before they are delivered, longer than the port allows, and nobody is reachable.
    pub fn set_stalled(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fault(&self) -> Option<CallFault> {
        // The sender lives as long as self, so the only way out is the end of the stall.
        let _ = self.stalled.subscribe().wait_for(|stalled| !stalled).await;
        self.plan().next_fault()
    }
}

impl Plan {
    fn next_fault(&mut self) -> Option<CallFault> {
        if let Some(scripted) = self.script.pop_front() {
            return scripted;
        }
        let (chance, rates) = self.chance.as_ref()?;
        let mut drawn = chance.below(1_000);
        let faults =
            [(CallFault::Lost, rates.lost), (CallFault::Unanswered, rates.unanswered), (CallFault::Twice, rates.twice)];
        for (fault, rate) in faults {
            if drawn < rate {
                return Some(fault);
            }
            drawn -= rate;
        }
        None
    }
}

fn away() -> PeerError {
    PeerError::Away("as the test says".into())
}

/// Makes a call as the plan says.
macro_rules! call {
    ($self:ident, $made:expr) => {
        match $self.fault().await {
            None => $made.await,
            Some(CallFault::Lost) => Err(away()),
            Some(CallFault::Unanswered) => {
                $made.await?;
                Err(away())
            }
            Some(CallFault::Twice) => {
                $made.await?;
                $made.await
            }
        }
    };
}

#[async_trait]
impl Peers for FaultyPeers {
    fn know(&self, me: NodeIncarnation, members: &[(NodeIncarnation, Arc<str>)]) {
        self.inner.know(me, members);
    }

    fn reachable(&self) -> Vec<NodeIncarnation> {
        if *self.stalled.borrow() { Vec::new() } else { self.inner.reachable() }
    }

    async fn ask(&self, node: NodeIncarnation) -> Result<Reply, PeerError> {
        call!(self, self.inner.ask(node))
    }

    async fn report(&self, node: NodeIncarnation) -> Result<Report, PeerError> {
        call!(self, self.inner.report(node))
    }

    async fn subscribers(&self, node: NodeIncarnation, service: &ServiceKey) -> Result<Vec<Subscription>, PeerError> {
        call!(self, self.inner.subscribers(node, service))
    }

    async fn drain(&self, node: NodeIncarnation) -> Result<(), PeerError> {
        call!(self, self.inner.drain(node))
    }

    async fn heartbeats(&self, node: NodeIncarnation, heard: Vec<Age>) -> Result<(), PeerError> {
        call!(self, self.inner.heartbeats(node, heard.clone()))
    }

    async fn hand_over(&self, node: NodeIncarnation, ages: Vec<Age>) -> Result<(), PeerError> {
        call!(self, self.inner.hand_over(node, ages.clone()))
    }
}
