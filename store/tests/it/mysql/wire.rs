//! A way to the server that can be cut, or held up, at the commit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What happens to the next commit that a client sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum AtCommit {
    Pass,
    /// The server never hears of it.
    CutBefore,
    /// The server answers, and the client does not hear it.
    CutBehind,
    /// The client hears nothing; the server hears it when [`Wire::deliver`] says so, long after the client has gone.
    HoldUp,
}

const ALL: [AtCommit; 4] = [AtCommit::Pass, AtCommit::CutBefore, AtCommit::CutBehind, AtCommit::HoldUp];
/// A packet of the protocol: its length, its number, the command to run a text, the text.
const COMMIT: &[u8] = b"\x07\0\0\0\x03COMMIT";

pub(crate) struct Wire {
    way: Arc<Way>,
    port: u16,
    listening: JoinHandle<()>,
}

struct Way {
    server: SocketAddr,
    at_commit: AtomicU8,
    held: Notify,
    deliver: Notify,
}

impl Wire {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let way = Arc::new(Way {
            server: SocketAddr::from(([127, 0, 0, 1], port)),
            at_commit: AtomicU8::new(0),
            held: Notify::new(),
            deliver: Notify::new(),
        });
        let port = listener.local_addr().unwrap().port();
        let through = way.clone();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(through.clone().lead(client));
            }
        });
        Self { way, port, listening }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn next_commit(&self, what: AtCommit) {
        self.way.at_commit.store(what as u8, Ordering::SeqCst);
    }

    /// Until a commit is held up.
    pub(crate) async fn held(&self) {
        self.way.held.notified().await;
    }

    pub(crate) fn deliver(&self) {
        self.way.deliver.notify_one();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Way {
    async fn lead(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server).await else { return };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let answers = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            let said = &buffer[..count];
            if said == COMMIT {
                match ALL[usize::from(self.at_commit.swap(AtCommit::Pass as u8, Ordering::SeqCst))] {
                    AtCommit::Pass => (),
                    AtCommit::CutBefore => break,
                    AtCommit::CutBehind => {
                        // Both ends of the way back go with its task: the client sees the end before the answer.
                        answers.abort();
                        let _ = answers.await;
                        let _ = to_server.write_all(said).await;
                        return;
                    }
                    AtCommit::HoldUp => {
                        self.held.notify_one();
                        self.deliver.notified().await;
                    }
                }
            }
            if to_server.write_all(said).await.is_err() {
                break;
            }
        }
        answers.abort();
    }
}
