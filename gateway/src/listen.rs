//! Listeners, for every door that speaks HTTP/1.1 or HTTP/2: bind, accept, serve, drain.
//!
//! What a peer may cost is bounded here before anything of it is understood: connections, headers, and the time in
//! which a handshake, a request head or anything at all must arrive. One sweeper watches over all connections of a
//! listener, so that none of this costs a request a timer.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use compute::port::Clock;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpSocket};

use crate::admission::{Budget, Shares};
use crate::error::Problem;

mod accept;
mod activity;
mod io_stream;
mod opening;
mod sending;
mod serving;
#[cfg(test)]
mod tests;
mod tls;
mod told;
mod unproven;
mod unread;

pub use opening::Opening;
pub use tls::Tls;
pub(crate) use unproven::Caller;
pub use unproven::Unproven;

/// Connections of one listener; beyond it new ones are told that it is full.
pub const CONNECTIONS_MAX_DEFAULT: usize = 16_384;
/// All headers of a request together, in bytes.
pub const HEADER_BYTES_MAX_DEFAULT: usize = 64 << 10;
/// Headers of a request.
pub const HEADERS_MAX_DEFAULT: usize = 100;
/// From a request's first byte to the end of its head; from a connection's start to its first byte; a TLS handshake.
pub const HEAD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Without a byte in either direction.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// HTTP/2 streams of one connection.
pub const STREAMS_MAX_DEFAULT: u32 = 1_024;
/// Between HTTP/2 pings, and until an unanswered one means that the peer is dead.
pub const PING_INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
pub const PING_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// For requests under way when the process is asked to stop.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Without progress of an answer that its reader could take.
pub const UNREAD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// What answers that were made for one reader each may hold until they are sent, and those of one connection.
pub const UNSENT_BYTES_MAX_DEFAULT: usize = 256 << 20;
pub const CONNECTION_UNSENT_BYTES_MAX_DEFAULT: usize = 32 << 20;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;

/// What a listener may be told.
#[derive(Clone, Debug)]
pub struct Config {
    pub connections_max: usize,
    pub header_bytes_max: usize,
    pub headers_max: usize,
    pub head_timeout: Duration,
    pub idle_timeout: Duration,
    pub streams_max: u32,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub drain_timeout: Duration,
    pub unread_timeout: Duration,
    /// What answers to one reader each may hold until they are sent; one for all listeners of a process.
    pub unsent: Budget,
    /// How often certificate files are looked at.
    pub reread: Duration,
    /// Whether HTTP/1.1 is not spoken.
    pub is_h2_only: bool,
    /// For a door whose callers must show who they are; `None`: nobody must.
    pub unproven: Option<Unproven>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX_DEFAULT,
            header_bytes_max: HEADER_BYTES_MAX_DEFAULT,
            headers_max: HEADERS_MAX_DEFAULT,
            head_timeout: HEAD_TIMEOUT_DEFAULT,
            idle_timeout: IDLE_TIMEOUT_DEFAULT,
            streams_max: STREAMS_MAX_DEFAULT,
            ping_interval: PING_INTERVAL_DEFAULT,
            ping_timeout: PING_TIMEOUT_DEFAULT,
            drain_timeout: DRAIN_TIMEOUT_DEFAULT,
            unread_timeout: UNREAD_TIMEOUT_DEFAULT,
            unsent: Budget::of_unsent_bytes(UNSENT_BYTES_MAX_DEFAULT, CONNECTION_UNSENT_BYTES_MAX_DEFAULT),
            reread: crate::admission::REREAD_DEFAULT,
            is_h2_only: false,
            unproven: None,
        }
    }
}

/// Which door a listener is of, for messages and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// `http`, `grpc`.
    pub door: &'static str,
    /// The option that moves it: `--http`.
    pub option: &'static str,
}

/// Why a door can't open.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("the {} door can't listen on {addr}: {source}; {} moves it", named.door, named.option)]
    Address { named: Named, addr: SocketAddr, source: io::Error },
    #[error("the {} door can't use the certificate in {}: {wrong}", named.door, path.display())]
    Certificate { named: Named, path: PathBuf, wrong: String },
}

impl BindError {
    /// True when something else listens there.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Address { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

/// What answers the requests of a listener.
#[derive(Clone)]
pub struct Answers {
    pub router: Router,
    /// Asked first.
    pub express: Option<Arc<dyn Express>>,
    /// What a connection beyond the limit is answered, whatever it asks.
    pub full: Router,
    /// What is said in place of an answer for which there is no room.
    pub refuse: Refuse,
}

/// A problem in the words of a door.
pub type Refuse = fn(&Problem) -> Response<Body>;

/// In the extensions of a response: its bytes may be shared now, but not for long, as those of a view with a rare filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfOneReader;

/// Answers some requests, the most frequent, without the router.
pub trait Express: Send + Sync {
    /// `Err`: the request is the router's.
    #[expect(clippy::result_large_err, reason = "what comes back is the request itself, moved on at once")]
    fn answer(&self, request: Request<Incoming>, arrival: Arrival) -> Result<Answer, Request<Incoming>>;
}

/// What a request will be answered.
pub type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// Says of a request where it came from; in the extensions of each.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub peer: SocketAddr,
    pub is_encrypted: bool,
    /// What its connection holds.
    pub shares: Arc<Shares>,
}

/// A bound port that nobody serves yet.
pub struct Listener {
    named: Named,
    listener: TcpListener,
    local: SocketAddr,
    tls: Option<tls::Acceptor>,
    config: Config,
    clock: Arc<dyn Clock>,
}

impl Listener {
    /// Opens the port and reads the certificate, if there is one.
    pub async fn bind(
        named: Named,
        addr: SocketAddr,
        tls: &Tls,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BindError> {
        let tls = tls::Acceptor::open(named, tls, &config, &clock).await?;
        let refused = |source| BindError::Address { named, addr, source };
        let listener = open(addr).map_err(refused)?;
        let local = listener.local_addr().map_err(refused)?;
        Ok(Self { named, listener, local, tls, config, clock })
    }

    /// Where it really listens: port 0 has become a port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves until `shutdown` resolves, then drains: no new connection, what is under way is finished, and after the
    /// drain timeout what is left is cut.
    pub async fn serve(self, answers: impl Into<Opening>, shutdown: impl Future<Output = ()> + Send) {
        accept::run(self, answers.into(), shutdown).await;
    }
}

fn open(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}
