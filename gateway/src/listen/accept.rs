//! Accepting, serving, draining.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use compute::port::Clock;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use metrics::{Counter, Gauge};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::activity::{Activity, Watchman, Word};
use super::io_stream::{Bytes, IoStream};
use super::serving::Serving;
use super::told::Told;
use super::{Arrival, Config, Listener, Opening};

/// Connections beyond the limit that are told so; more are closed without a word.
const FULL_TOLD_MAX: usize = 64;
/// How long one of those may take.
const FULL_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed accept, which as a rule means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a peer may send ahead on one HTTP/2 stream, and on a connection. A stream that is not read, because too much of
/// what it asked is unanswered, leaves room for the others: if one could fill the connection, all would wait for it.
const STREAM_AHEAD_BYTES: u32 = 256 << 10;
const CONNECTION_AHEAD_BYTES: u32 = 1 << 20;
/// When the kernel asks a silent peer whether it is there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

struct Shared {
    answers: Opening,
    builder: Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    watchman: Arc<Watchman>,
    clock: Arc<dyn Clock>,
    config: Config,
    door: &'static str,
    open: AtomicUsize,
    counted: Counted,
}

struct Counted {
    open: Gauge,
    accepted: Counter,
    full: Counter,
    handshakes_failed: Counter,
    accept_failures: Counter,
}

impl Counted {
    fn new(door: &'static str) -> Self {
        Self {
            open: metrics::gauge!("thuban_connections", "door" => door),
            accepted: metrics::counter!("thuban_connections_accepted_total", "door" => door),
            full: metrics::counter!("thuban_connections_full_total", "door" => door),
            handshakes_failed: metrics::counter!("thuban_tls_handshake_failures_total", "door" => door),
            accept_failures: metrics::counter!("thuban_accept_failures_total", "door" => door),
        }
    }
}

pub(super) async fn run(listener: Listener, answers: Opening, shutdown: impl Future<Output = ()> + Send) {
    let Listener { named, listener, tls, config, clock, .. } = listener;
    let watchman = Watchman::new(&config, clock.mono_ms() + 1);
    config.unsent.show();
    let sweeper = tokio::spawn(Arc::clone(&watchman).sweep(Arc::clone(&clock), named.door));
    let _sweeper = AbortOnDropHandle::new(sweeper);
    let shared = Arc::new(Shared {
        answers,
        builder: builder(&config),
        tls: tls.as_ref().map(|tls| tls.inner.clone()),
        watchman,
        clock,
        config,
        door: named.door,
        open: AtomicUsize::new(0),
        counted: Counted::new(named.door),
    });
    let tasks = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let shared = Arc::clone(&shared);
                    tasks.spawn(async move { connection(&shared, stream, peer).await });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    shared.counted.accept_failures.increment(1);
                    tracing::warn!(door = named.door, %error, "accept failed");
                    shared.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    shared.watchman.tell(Word::Drain);
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = shared.clock.sleep(shared.config.drain_timeout) => {
            tracing::info!(door = named.door, connections = tasks.len(), "drain timeout, the rest is cut");
            shared.watchman.tell(Word::Cut);
            tasks.wait().await;
        }
    }
}

/// The peer has gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn builder(config: &Config) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The sweeper sees to slow heads: hyper would set a timer for each request, and close idle connections by it.
        .header_read_timeout(None)
        .max_buf_size(config.header_bytes_max.max(8 << 10))
        .max_headers(config.headers_max)
        // Off, which is the default: with it hyper takes a body's pieces without bound while the client does not read.
        .pipeline_flush(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams_max)
        .initial_stream_window_size(STREAM_AHEAD_BYTES)
        .initial_connection_window_size(CONNECTION_AHEAD_BYTES)
        .max_header_list_size(u32::try_from(config.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(config.ping_interval)
        .keep_alive_timeout(config.ping_timeout);
    if config.is_h2_only { builder.http2_only() } else { builder }
}

async fn connection(shared: &Shared, stream: TcpStream, peer: SocketAddr) {
    let _open = Open::enter(shared);
    let before = shared.open.load(Ordering::Relaxed) - 1;
    let activity = shared.watchman.enter(peer.ip(), before, shared.door);
    let _entered = Entered { shared, activity: &activity };
    if activity.is_beyond() {
        shared.counted.full.increment(1);
        if before >= shared.config.connections_max + FULL_TOLD_MAX {
            return;
        }
    }
    let served = serve(shared, stream, peer, &activity);
    tokio::select! {
        () = served => {}
        () = activity.told(Word::Cut) => {}
    }
}

async fn serve(shared: &Shared, stream: TcpStream, peer: SocketAddr, activity: &Arc<Activity>) {
    prepare(&stream);
    let arrival = Arrival { peer, is_encrypted: shared.tls.is_some(), shares: Arc::clone(activity.shares()) };
    let Some(bytes) = encrypt(shared, stream, activity).await else {
        shared.counted.handshakes_failed.increment(1);
        return;
    };
    let (answers, is_full) = (shared.answers.now(), activity.is_beyond());
    let (router, express) = if is_full { (&answers.full, None) } else { (&answers.router, answers.express.clone()) };
    let (router, refuse, activity) = (router.clone(), answers.refuse, Arc::clone(activity));
    let serving = Serving { router, express, refuse, arrival, activity: Arc::clone(&activity) };
    let io = TokioIo::new(Told::new(IoStream::new(bytes, Arc::clone(&activity)), &shared.config));
    let mut served = Box::pin(shared.builder.serve_connection(io, serving));
    // An early close, a reset, nonsense instead of HTTP: the peer's affair, and it has been told what there was to tell.
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = activity.told(Word::Drain) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        () = shared.clock.sleep(FULL_TIMEOUT), if is_full => Ok(()),
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, error, "connection ended");
    }
}

/// Without `TCP_NODELAY` an answer of two writes waits for the peer's delayed acknowledgement of the first.
fn prepare(stream: &TcpStream) {
    let keepalive = socket2::TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE);
    let set = stream.set_nodelay(true).and_then(|()| socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = set {
        tracing::debug!(%error, "socket options not set");
    }
}

async fn encrypt(shared: &Shared, stream: TcpStream, activity: &Activity) -> Option<Bytes> {
    let Some(tls) = &shared.tls else { return Some(Bytes::Plain(stream)) };
    let encrypted = tls.accept(stream).await.inspect_err(|error| tracing::debug!(%error, "handshake failed")).ok()?;
    activity.moved();
    Some(Bytes::Encrypted(Box::new(encrypted)))
}

struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn enter(shared: &'a Shared) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.counted.accepted.increment(1);
        shared.counted.open.increment(1);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.counted.open.decrement(1);
    }
}

struct Entered<'a> {
    shared: &'a Shared,
    activity: &'a Activity,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.shared.watchman.leave(self.activity);
    }
}
