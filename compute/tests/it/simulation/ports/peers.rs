use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use compute::model::{NodeIncarnation, ServiceKey};
use compute::port::Peers;
use compute::port::peers::{Age, Host, PeerError, Reply};
use compute::watch::Subscription;

use super::super::life::Life;
use super::Way;

/// Who answers at which address.
#[derive(Default)]
pub(crate) struct Doors(Mutex<BTreeMap<Arc<str>, Door>>);

type Door = (Arc<Life>, Arc<dyn Host>);

impl Doors {
    pub(crate) fn open(&self, life: &Arc<Life>, host: Arc<dyn Host>) {
        self.doors().insert(life.name.clone(), (life.clone(), host));
    }

    pub(crate) fn close(&self, life: &Life) {
        self.doors().remove(&life.name);
    }

    fn at(&self, address: &str) -> Option<Door> {
        self.doors().get(address).cloned()
    }

    fn doors(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Door>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One node's way to the others.
pub(crate) struct SimPeers {
    way: Way,
    doors: Arc<Doors>,
    known: Mutex<Known>,
}

/// What it is called itself, and the others with their addresses.
type Known = (Option<NodeIncarnation>, BTreeMap<NodeIncarnation, Arc<str>>);

/// No call takes longer, whatever the other node does.
const PATIENCE_MS: u64 = 1_000;

impl SimPeers {
    pub(crate) fn new(way: &Way, doors: &Arc<Doors>) -> Arc<Self> {
        Arc::new(Self { way: way.clone(), doors: doors.clone(), known: Mutex::default() })
    }

    fn is_cut(&self, from: &Arc<str>, to: &Arc<str>) -> bool {
        self.way.weather.is(|sky| sky.cut.contains(&(from.clone(), to.clone())))
    }

    /// What a call says is done at the other end, though its answer may be lost. One that finds the other end standing
    /// still is taken when that goes on.
    async fn call<T: Send + 'static>(
        &self,
        node: NodeIncarnation,
        ask: impl FnOnce(NodeIncarnation, &dyn Host) -> T + Send + 'static,
    ) -> Result<T, PeerError> {
        let away = |why: &str| PeerError::Away(why.to_owned());
        self.way.life.awake().await;
        let (me, address) = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let address = known.1.get(&node).cloned();
            known.0.zip(address).ok_or(PeerError::Unknown(node))?
        };
        let sim = self.way.sim.clone();
        sim.pause(sim.between(0, 2)).await;
        let is_lost = self.is_cut(&self.way.life.name, &address) || sim.percent(self.way.weather.is(|s| s.peers_lost));
        let there = self.doors.at(&address).filter(|_| !is_lost);
        let Some((life, host)) = there else {
            sim.pause(sim.between(0, PATIENCE_MS)).await;
            return Err(away("nobody answers"));
        };
        let taken = self.way.call(async move {
            life.awake().await;
            (host.reply().node == node).then(|| ask(me, host.as_ref()))
        });
        let taken = tokio::time::timeout(std::time::Duration::from_millis(PATIENCE_MS), taken).await;
        if self.is_cut(&address, &self.way.life.name) {
            return Err(away("the answer was lost"));
        }
        taken.ok().flatten().flatten().ok_or_else(|| away("it is another one, or stands still"))
    }
}

#[async_trait]
impl Peers for SimPeers {
    fn know(&self, me: NodeIncarnation, members: &[(NodeIncarnation, Arc<str>)]) {
        let others = members.iter().filter(|(node, _)| *node != me).cloned().collect();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = (Some(me), others);
    }

    /// As gossip has it: sometimes it has not heard of one that is there.
    fn reachable(&self) -> Vec<NodeIncarnation> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = self.way.weather.is(|sky| sky.peers_lost);
        let is_heard = |address: &Arc<str>| {
            self.doors.at(address).is_some()
                && !self.is_cut(&self.way.life.name, address)
                && !self.way.sim.percent(lost)
        };
        known.1.iter().filter(|(_, address)| is_heard(address)).map(|(node, _)| *node).collect()
    }

    async fn ask(&self, node: NodeIncarnation) -> Result<Reply, PeerError> {
        self.call(node, |_, host| host.reply()).await
    }

    async fn report(&self, node: NodeIncarnation) -> Result<compute::node::Report, PeerError> {
        self.call(node, |_, host| host.report()).await
    }

    async fn subscribers(&self, node: NodeIncarnation, service: &ServiceKey) -> Result<Vec<Subscription>, PeerError> {
        let service = service.clone();
        self.call(node, move |_, host| host.subscribers(&service)).await
    }

    async fn drain(&self, node: NodeIncarnation) -> Result<(), PeerError> {
        self.call(node, |_, host| host.drain()).await
    }

    async fn heartbeats(&self, node: NodeIncarnation, heard: Vec<Age>) -> Result<(), PeerError> {
        self.call(node, move |me, host| host.heartbeats(me, heard)).await
    }

    async fn hand_over(&self, node: NodeIncarnation, ages: Vec<Age>) -> Result<(), PeerError> {
        self.call(node, move |me, host| host.hand_over(me, ages)).await
    }
}
