use compute::command::{Ack, Answer, Command, Reached};
use compute::error::{Error, What};
use compute::model::{InstanceKey, Lease, RemovalReason, Revision};

use super::super::history::{Fate, Heard, Wrote};
use super::{Answered, Client, Failed, Phase};
use crate::world::somebody;

/// How a provider lives.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulation) struct Trade {
    pub(in crate::simulation) ttl_ms: u64,
    pub(in crate::simulation) remove_after_ms: u64,
    /// Of 100 renewals, after so many it falls silent, for a while or for ever,
    pub(in crate::simulation) falls_silent: u64,
    /// or until about when it is removed,
    pub(in crate::simulation) comes_back: bool,
    /// says goodbye and comes again as another process,
    pub(in crate::simulation) leaves: u64,
    /// or says something else of itself.
    pub(in crate::simulation) changes: u64,
    /// It dies at this time at the latest.
    pub(in crate::simulation) dies_ms: Option<u64>,
    /// So long it waits until it asks another node to register it.
    pub(in crate::simulation) patience_ms: u64,
}

/// One that renews a TTL lease.
pub(in crate::simulation) struct Provider {
    client: Client,
    key: InstanceKey,
    trade: Trade,
    process: u64,
    weight: u64,
    generation: Option<Revision>,
    seat: usize,
}

impl Provider {
    pub(in crate::simulation) fn new(client: Client, key: InstanceKey, trade: Trade) -> Self {
        let seat = client.any_seat();
        Self { client, key, trade, process: 1, weight: 1, generation: None, seat }
    }

    pub(in crate::simulation) async fn run(mut self) {
        self.fate(Fate::Lives { since_ms: self.client.sim.now_ms() });
        loop {
            match self.turn().await {
                Some(after_ms) => {
                    if !self.client.rest(after_ms, Phase::Over).await {
                        return;
                    }
                }
                None => return,
            }
            if self.client.phase() == Phase::Over {
                return;
            }
        }
    }

    /// One heartbeat, or what comes in its place; when the next is due. `None`: it is dead.
    async fn turn(&mut self) -> Option<u64> {
        let sim = self.client.sim.clone();
        let now = sim.now_ms();
        if self.client.phase() < Phase::Healing {
            if self.trade.dies_ms.is_some_and(|at| now >= at) || sim.percent(self.trade.falls_silent) {
                return self.fall_silent().await;
            }
            if sim.percent(self.trade.leaves) && self.generation.is_some() {
                return self.leave().await;
            }
            if sim.percent(self.trade.changes) {
                self.weight += 1;
                self.register().await;
                return Some(self.interval());
            }
        }
        if self.generation.is_none() {
            self.register().await
        } else {
            self.renew().await
        }
        Some(self.interval())
    }

    fn interval(&self) -> u64 {
        if self.generation.is_none() { 50 } else { self.trade.ttl_ms / 3 }
    }

    async fn fall_silent(&mut self) -> Option<u64> {
        let sim = self.client.sim.clone();
        self.fate(Fate::Silent { since_ms: sim.now_ms() });
        let Trade { ttl_ms, remove_after_ms, comes_back, dies_ms, .. } = self.trade;
        let is_dead = dies_ms.is_some() || (!comes_back && sim.percent(40));
        sim.note("silent", &self.key, u64::from(is_dead));
        if is_dead {
            return None;
        }
        let removed_ms = ttl_ms / 3 * 2 + remove_after_ms;
        let shortest = if comes_back { removed_ms } else { ttl_ms / 2 };
        let longest = removed_ms + if comes_back { 1_000 } else { 2_500 };
        let silent_ms = sim.between(shortest, longest);
        if !self.client.rest(silent_ms, Phase::Over).await {
            return None;
        }
        self.fate(Fate::Lives { since_ms: self.client.sim.now_ms() });
        Some(0)
    }

    /// Says goodbye for this life, until somebody has heard it, and begins another.
    async fn leave(&mut self) -> Option<u64> {
        let asked = self.generation;
        for _ in 0..6 {
            let key = self.key.clone();
            let command = Command::Deregister { instance: key, generation: asked, reason: RemovalReason::Deregistered };
            let answered = self.client.ask(self.seat, 800, |registry| async move {
                registry.submit_one(&somebody(), Ack::Log, command).await
            });
            match answered.await {
                Ok(Answered { value, .. }) => {
                    self.wrote("deregister", &value, value.revision);
                    break;
                }
                Err(Failed::Refused(Error::NotFound { .. } | Error::GenerationMismatch { .. })) => break,
                Err(_) => self.seat = self.client.any_seat(),
            }
        }
        self.generation = None;
        self.process += 1;
        let gone_ms = self.client.sim.below(1_000);
        self.fate(Fate::Left);
        if !self.client.rest(gone_ms, Phase::Over).await {
            return None;
        }
        self.fate(Fate::Lives { since_ms: self.client.sim.now_ms() });
        Some(0)
    }

    async fn register(&mut self) {
        let lease = Lease::ttl(self.trade.ttl_ms, self.trade.remove_after_ms).expect("a good lease");
        let provider = people_of(self.weight, self.process, lease);
        let ack = if self.client.sim.percent(10) { Ack::Store } else { Ack::Log };
        for _ in 0..6 {
            let instance = self.key.clone();
            let provider = Box::new(provider.clone());
            let command = Command::Register { instance, provider, epoch: None, generation: None };
            let patience = if ack == Ack::Store { 6_000 } else { self.trade.patience_ms };
            let asked = self.client.ask(self.seat, patience, |registry| async move {
                registry.submit_one(&somebody(), ack, command).await
            });
            match asked.await {
                Ok(answered) => {
                    let Answer::Instance { instance, .. } = &answered.value.answer else { continue };
                    self.client.sim.note("registered", &self.key, answered.value.revision);
                    if answered.value.reached >= Reached::Log {
                        self.generation = Some(instance.generation);
                        self.wrote("register", &answered.value, instance.revision);
                        self.heard(&answered);
                    }
                    return;
                }
                Err(failed) => {
                    self.client.sim.tell(|| format!("register {} failed: {failed:?}", self.key));
                    self.seat = self.client.any_seat();
                }
            }
        }
    }

    /// A heartbeat, at another node when one does not answer in time.
    async fn renew(&mut self) {
        if self.client.sim.percent(30) {
            self.seat = self.client.any_seat();
        }
        for _ in 0..4 {
            let (key, generation) = (self.key.clone(), self.generation);
            let asked = self.client.ask(self.seat, self.trade.ttl_ms / 6, |registry| async move {
                registry.renew(&somebody(), &key, generation).await
            });
            match asked.await {
                Ok(answered) => {
                    self.client.sim.note("renewed", &self.key, &answered.live.life.name);
                    return self.heard(&answered);
                }
                Err(Failed::Refused(
                    Error::NotFound { what: What::Instance, .. } | Error::GenerationMismatch { .. },
                )) => {
                    self.client.sim.note("unknown", &self.key, self.seat);
                    self.generation = None;
                    return self.register().await;
                }
                Err(failed) => {
                    self.client.sim.tell(|| format!("renew {} failed: {failed:?}", self.key));
                    self.seat = self.client.any_seat();
                }
            }
        }
    }

    fn heard<T>(&self, answered: &Answered<T>) {
        let Answered { node, began_ms, ended_ms, .. } = *answered;
        let is_away = answered.live.registry.status().log_away_ms.is_some();
        let heard = Heard { key: self.key.clone(), node, is_away, began_ms, ended_ms };
        self.client.history.told().heard.push(heard);
    }

    fn wrote(&self, what: &'static str, outcome: &compute::command::Outcome, revision: Revision) {
        if outcome.reached < Reached::Log {
            return;
        }
        let is_landed = outcome.reached == Reached::Store;
        let wrote = Wrote { key: self.key.clone(), what, revision, is_landed };
        self.client.history.told().wrote.push(wrote);
    }

    fn fate(&self, fate: Fate) {
        self.client.history.told().fates.insert(self.key.clone(), fate);
    }
}

/// What a process says of itself.
pub(super) fn people_of(weight: u64, process: u64, lease: Lease) -> compute::model::Provider {
    use compute::model::ProviderSpec;
    let spec =
        ProviderSpec { lease, weight, incarnation: Some(format!("p{process}")), ..ProviderSpec::at("10.0.0.1", 80) };
    compute::model::Provider::new(&spec).expect("a good provider")
}
