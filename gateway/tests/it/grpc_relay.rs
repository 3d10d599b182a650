//! What stands between a client and the door, and stops passing bytes on when it is told to: a peer that has vanished,
//! or one that does not read its socket. Nothing is closed by it, so neither side hears of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schemas::thuban::v1::registry_client::RegistryClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

use crate::grpc_world::World;

/// What the relay keeps of what nobody takes; small, so that the door's own bounds are what is seen.
const KEPT_BYTES: u32 = 8 << 10;

/// Which way bytes are passed on.
#[derive(Clone, Copy)]
struct Passing {
    up: bool,
    down: bool,
}

pub(crate) struct Relay {
    addr: SocketAddr,
    passing: watch::Sender<Passing>,
    down_pieces: Arc<AtomicU64>,
}

impl Relay {
    pub(crate) async fn before(world: &World) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let (passing, told) = watch::channel(Passing { up: true, down: true });
        let down_pieces = Arc::default();
        tokio::spawn(relay(listener, world.addr, told, Arc::clone(&down_pieces)));
        Self { addr, passing, down_pieces }
    }

    /// A client behind the relay, which lets the door send it as much as it likes.
    pub(crate) async fn client(&self) -> RegistryClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.addr)).unwrap();
        let endpoint = endpoint.initial_stream_window_size(1 << 30).initial_connection_window_size(1 << 30);
        let client = RegistryClient::new(endpoint.connect().await.expect("it listens"));
        client.max_decoding_message_size(64 << 20)
    }

    /// From now on nothing passes in either direction.
    pub(crate) fn vanish(&self) {
        self.passing.send_replace(Passing { up: false, down: false });
    }

    /// From now on nothing that the door sends is read.
    pub(crate) fn stop_reading(&self) {
        self.passing.send_replace(Passing { up: true, down: false });
    }

    pub(crate) fn read_again(&self) {
        self.passing.send_replace(Passing { up: true, down: true });
    }

    /// Pieces that the door has sent so far.
    pub(crate) fn down_pieces(&self) -> u64 {
        self.down_pieces.load(Ordering::SeqCst)
    }
}

async fn relay(listener: TcpListener, to: SocketAddr, told: watch::Receiver<Passing>, pieces: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(KEPT_BYTES).expect("a small buffer");
        let Ok(door) = socket.connect(to).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_door, to_door) = door.into_split();
        tokio::spawn(pass(from_client, to_door, told.clone(), |passing| passing.up, Arc::default()));
        tokio::spawn(pass(from_door, to_client, told.clone(), |passing| passing.down, Arc::clone(&pieces)));
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut told: watch::Receiver<Passing>,
    may: fn(&Passing) -> bool,
    pieces: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 16 << 10];
    // The relay that is gone passes nothing and closes what it held.
    while told.wait_for(may).await.is_ok() {
        let stopped = async {
            if told.wait_for(|passing| !may(passing)).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = stopped => {}
            read = from.read(&mut buffer) => match read {
                Ok(count) if count > 0 => {
                    pieces.fetch_add(1, Ordering::SeqCst);
                    if to.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
