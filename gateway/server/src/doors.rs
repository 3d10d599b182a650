//! The listeners: open from the start, so that a port in use is known before a store is loaded, and whoever asks learns
//! how far the boot is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use compute::port::Clock;
use gateway::booting::{self, Progress};
use gateway::http::DoorReport;
use gateway::listen::{Answers, BindError, Listener, Named, Opening};
use gateway::{grpc, http, peer};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// What the node is at, before it is ready.
#[derive(Clone)]
pub(crate) struct Stage {
    now: Arc<Mutex<(&'static str, u64)>>,
    clock: Arc<dyn Clock>,
}

impl Stage {
    pub(crate) fn new(clock: Arc<dyn Clock>, first: &'static str) -> Self {
        let now = Arc::new(Mutex::new((first, clock.mono_ms())));
        Self { now, clock }
    }

    pub(crate) fn enter(&self, stage: &'static str) {
        tracing::info!("{stage}");
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = (stage, self.clock.mono_ms());
    }

    fn words(&self) -> String {
        let (stage, since) = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        format!("it boots: {stage}, for {} ms now", self.clock.mono_ms().saturating_sub(since))
    }

    fn progress(&self) -> Progress {
        let stage = self.clone();
        Arc::new(move || stage.words())
    }
}

pub(crate) struct Doors {
    http: Served,
    grpc: Served,
    /// For the other nodes of a cluster.
    peer: Option<Served>,
    stop: CancellationToken,
}

struct Served {
    named: Named,
    address: SocketAddr,
    is_encrypted: bool,
    opening: Opening,
    task: JoinHandle<()>,
}

impl Doors {
    /// Binds all of them, and says on each that the node is not ready yet.
    pub(crate) async fn bind(config: &Config, clock: &Arc<dyn Clock>, stage: &Stage) -> Result<Self, BindError> {
        let bind = |named, address, listen| Listener::bind(named, address, &config.tls, listen, Arc::clone(clock));
        let http = bind(http::Door::NAMED, config.http, config.listen.clone()).await?;
        let grpc_listen = grpc::Door::listening(config.listen.clone());
        let grpc = bind(grpc::Door::NAMED, config.grpc, grpc_listen).await?;
        let peer = match &config.cluster {
            Some(cluster) => {
                let listening = peer::Door::listening(config.listen.clone(), &cluster.peers);
                Some(bind(peer::Door::NAMED, cluster.peer, listening).await?)
            }
            None => None,
        };
        let stop = CancellationToken::new();
        let http = Served::start(http::Door::NAMED, http, booting::http(stage.progress()), &stop);
        let grpc = Served::start(grpc::Door::NAMED, grpc, booting::grpc(stage.progress()), &stop);
        let peer = peer.map(|peer| Served::start(peer::Door::NAMED, peer, booting::grpc(stage.progress()), &stop));
        Ok(Self { http, grpc, peer, stop })
    }

    /// From now on they answer.
    pub(crate) fn open(&self, http: Answers, grpc: Answers, peer: Option<Answers>) {
        if let Some((served, peer)) = self.peer.as_ref().zip(peer) {
            served.opening.open(peer);
        }
        self.grpc.opening.open(grpc);
        self.http.opening.open(http);
    }

    /// They answer like that until they open.
    pub(crate) fn open_meanwhile(&self, http: &Answers, grpc: &Answers) {
        self.grpc.opening.open_meanwhile(grpc);
        self.http.opening.open_meanwhile(http);
    }

    /// The line that a start-up script waits for.
    pub(crate) fn ready_line(&self) -> String {
        let peer = self.peer_address().map(|address| format!(" peer={address}")).unwrap_or_default();
        format!("ready http={} grpc={}{peer}", self.http.address, self.grpc.address)
    }

    /// Of HTTP and of gRPC.
    pub(crate) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.http.address, self.grpc.address)
    }

    /// Where the other nodes reach this one.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        self.peer.as_ref().map(|peer| peer.address)
    }

    pub(crate) fn reports(&self) -> Vec<DoorReport> {
        let report = |served: &Served| DoorReport {
            name: served.named.door.to_owned(),
            address: Some(served.address),
            is_encrypted: served.is_encrypted,
            problem: None,
        };
        [Some(&self.http), Some(&self.grpc), self.peer.as_ref()].into_iter().flatten().map(report).collect()
    }

    /// Takes no new connection, finishes what is under way, and cuts what is left after the drain timeout.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        for served in [self.http, self.grpc].into_iter().chain(self.peer) {
            if let Err(error) = served.task.await {
                tracing::error!(door = served.named.door, %error, "the door's task ended badly");
            }
        }
    }
}

impl Served {
    fn start(named: Named, listener: Listener, meanwhile: Answers, stop: &CancellationToken) -> Self {
        let (address, is_encrypted) = (listener.local_addr(), listener.is_encrypted());
        let opening = Opening::closed(meanwhile);
        let task = tokio::spawn(listener.serve(opening.clone(), stop.clone().cancelled_owned()));
        tracing::info!(door = named.door, %address, encrypted = is_encrypted, "listening");
        Self { named, address, is_encrypted, opening, task }
    }
}
