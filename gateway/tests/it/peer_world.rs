//! Nodes that call each other over real sockets, with a relay in front of each that can fall silent or be cut.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use compute::model::NodeIncarnation;
use compute::port::Clock;
use compute::port::clock::SystemClock;
use compute::port::peers::Host;
use compute::testing::peers::suite::{Member, Site};
use compute::testing::peers::{Inbox, InboxHost};
use gateway::listen::{self, Listener, Tls};
use gateway::peer::{Config, Door, GrpcPeers, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

pub(crate) const SECRET: &str = "what only these nodes know";

pub(crate) fn config() -> Config {
    Config::new(Secret::new(SECRET).expect("long enough"))
}

/// A door that is served until it is dropped, or stopped.
pub(crate) struct Serving {
    pub(crate) addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Serving {
    pub(crate) async fn start(host: Arc<dyn Host>, config: Config, tls: &Tls) -> Self {
        let clock: Arc<dyn Clock> = SystemClock::new();
        let listening = Door::listening(listen::Config::default(), &config);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(Door::NAMED, loopback, tls, listening, Arc::clone(&clock)).await;
        let listener = listener.expect("a free port");
        let addr = listener.local_addr();
        let (stop, stopped) = oneshot::channel();
        let answers = Door::new(host, config, clock).answers();
        let task = tokio::spawn(listener.serve(answers, async move { drop(stopped.await) }));
        Self { addr, stop: Some(stop), task }
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        crate::grpc_world::soon(&mut self.task).await.expect("the listener ends by itself");
    }
}

/// What a relay does with what comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Passing {
    Through,
    /// Nothing passes, and nobody is told.
    Silent,
    /// All connections are closed, and new ones at once.
    Cut,
}

pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    passing: watch::Sender<Passing>,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    pub(crate) async fn before(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let (passing, told) = watch::channel(Passing::Through);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let told = told.clone();
                tokio::spawn(async move { connection(client, to, told).await });
            }
        });
        Self { addr, passing, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn set(&self, passing: Passing) {
        self.passing.send_replace(passing);
    }
}

async fn connection(client: TcpStream, to: SocketAddr, mut told: watch::Receiver<Passing>) {
    if *told.borrow() == Passing::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(to).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (up, down) = (told.clone(), told.clone());
    tokio::select! {
        () = pass(&mut from_client, &mut to_server, up) => {}
        () = pass(&mut from_server, &mut to_client, down) => {}
        _ = told.wait_for(|passing| *passing == Passing::Cut) => {}
    }
}

async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut told: watch::Receiver<Passing>,
) {
    let mut piece = vec![0; 64 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut piece).await else { return };
        if told.wait_for(|passing| *passing == Passing::Through).await.is_err() {
            return;
        }
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}

/// A node with a relay in front of it.
pub(crate) struct Node {
    pub(crate) node: NodeIncarnation,
    pub(crate) host: Arc<InboxHost>,
    pub(crate) inbox: Inbox,
    pub(crate) relay: Relay,
    pub(crate) peers: Arc<GrpcPeers>,
    pub(crate) serving: Serving,
}

impl Node {
    pub(crate) async fn start(node: u64, config: Config, tls: &Tls) -> Self {
        let node = NodeIncarnation(node);
        let (host, inbox) = InboxHost::new(node);
        let serving = Serving::start(host.clone(), config.clone(), tls).await;
        let relay = Relay::before(serving.addr).await;
        let peers = GrpcPeers::new(config, SystemClock::new());
        Self { node, host, inbox, relay, peers, serving }
    }

    /// By name, as certificates have it.
    pub(crate) fn address(&self) -> Arc<str> {
        format!("localhost:{}", self.relay.addr.port()).into()
    }
}

/// Two nodes, of which the first knows the second.
pub(crate) async fn two(config: Config) -> [Node; 2] {
    use compute::port::Peers as _;
    let one = Node::start(0xa1, config.clone(), &Tls::Off).await;
    let two = Node::start(0xa2, config, &Tls::Off).await;
    one.peers.know(one.node, &[(two.node, two.address())]);
    [one, two]
}

/// By the address of the relay in front.
type Doors = BTreeMap<Arc<str>, (Relay, Option<Serving>)>;

/// Where the suite gets its nodes.
pub(crate) struct Sockets {
    config: Config,
    tls: Tls,
    last: Mutex<Doors>,
}

impl Sockets {
    pub(crate) fn new(config: Config, tls: Tls) -> Self {
        Self { config, tls, last: Mutex::default() }
    }
}

#[async_trait]
impl Site for Sockets {
    async fn three(&self) -> [Member; 3] {
        self.last.lock().expect("nobody panicked").clear();
        let mut members = Vec::new();
        for n in [0x11, 0x22, 0x44] {
            let node = Node::start(n, self.config.clone(), &self.tls).await;
            let address = node.address();
            let Node { node, host, inbox, relay, peers, serving } = node;
            self.last.lock().expect("nobody panicked").insert(Arc::clone(&address), (relay, Some(serving)));
            members.push(Member { node, address, peers, host, inbox });
        }
        members.try_into().unwrap_or_else(|_| unreachable!("there are three"))
    }

    async fn end(&self, address: &str) {
        let serving = {
            let mut last = self.last.lock().expect("nobody panicked");
            let (relay, serving) = last.get_mut(address).expect("one of the last three");
            relay.set(Passing::Cut);
            serving.take().expect("it has not ended before")
        };
        serving.stop().await;
    }

    async fn silence(&self, address: &str) {
        self.last.lock().expect("nobody panicked")[address].0.set(Passing::Silent);
    }
}
