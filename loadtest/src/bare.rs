//! Nothing but axum, nothing but tonic: servers that answer each kind of request with bytes that a node once answered.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, Request as HttpRequest, Response, StatusCode, header};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use schemas::Prepared;
use schemas::thuban::v1::registry_server::{Registry, RegistryServer};
use schemas::thuban::v1::{
    DeregisterReply, DeregisterRequest, DiscoverReply, DiscoverRequest, RegisterReply, RegisterRequest, RenewReply,
    RenewRequest, SessionReply, SessionRequest, WatchEvent, WatchRequest,
};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tonic::{Request, Response as Reply, Status, Streaming};

/// Largest body of a request; far more than any that is sent.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Changes that a slow watcher may be behind.
const BEHIND_MAX: usize = 1_024;

/// What a node answered, one file each in a folder.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// The body of a discover by HTTP, the headers that came with it, a line each, and the reply by gRPC.
    pub discovered: Bytes,
    pub discovered_headers: Bytes,
    pub discovered_reply: Bytes,
    /// The body of a register.
    pub registered: Bytes,
    /// Replies on a Session: to the first request, and to every other.
    pub opened_reply: Bytes,
    pub registered_reply: Bytes,
    /// Events of a watch: the first, and that of a change.
    pub snapshot: Bytes,
    pub change: Bytes,
}

impl Recorded {
    fn files(&mut self) -> [(&'static str, &mut Bytes); 8] {
        [
            ("discovered", &mut self.discovered),
            ("discovered-headers", &mut self.discovered_headers),
            ("discovered-reply", &mut self.discovered_reply),
            ("registered", &mut self.registered),
            ("opened-reply", &mut self.opened_reply),
            ("registered-reply", &mut self.registered_reply),
            ("snapshot", &mut self.snapshot),
            ("change", &mut self.change),
        ]
    }

    pub fn write(&mut self, folder: &Path) -> Result<()> {
        for (name, content) in self.files() {
            std::fs::write(folder.join(name), content)?;
        }
        Ok(())
    }

    pub fn read(folder: &Path) -> Result<Self> {
        let mut recorded = Self::default();
        for (name, content) in recorded.files() {
            let path = folder.join(name);
            *content = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?.into();
        }
        Ok(recorded)
    }
}

#[derive(Clone)]
struct Same {
    recorded: Arc<Recorded>,
    headers: Arc<Vec<(HeaderName, HeaderValue)>>,
    changes: broadcast::Sender<Bytes>,
}

/// Serves what was recorded on ports of its own, until it is killed.
pub async fn serve(recorded: Recorded) -> Result<()> {
    let web = TcpListener::bind("127.0.0.1:0").await?;
    let rpc = TcpListener::bind("127.0.0.1:0").await?;
    println!("ready http={} grpc={}", web.local_addr()?, rpc.local_addr()?);
    let headers = Arc::new(headers(&recorded.discovered_headers)?);
    let same = Same { recorded: Arc::new(recorded), headers, changes: broadcast::channel(BEHIND_MAX).0 };
    let routes = axum::Router::new().fallback(answer).with_state(same.clone());
    let web = axum::serve(axum::serve::ListenerExt::tap_io(web, |stream| drop(stream.set_nodelay(true))), routes);
    let connections = TcpListenerStream::new(rpc).map(|stream| stream.inspect(|stream| drop(stream.set_nodelay(true))));
    let rpc =
        tonic::transport::Server::builder().add_service(RegistryServer::new(same)).serve_with_incoming(connections);
    tokio::select! {
        done = async { web.await } => done?,
        done = rpc => done?,
    }
    Ok(())
}

fn headers(lines: &[u8]) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').context("a header")?;
        Ok((name.parse()?, value.trim().parse()?))
    };
    std::str::from_utf8(lines)?.lines().map(pair).collect()
}

async fn answer(State(same): State<Same>, request: HttpRequest<Body>) -> Response<Body> {
    let is_read = request.method() == Method::GET && !request.uri().path().ends_with("/watch");
    let (status, kind, body) = if request.method() == Method::PUT {
        // A body is read to its end, as every server must.
        let _ = to_bytes(request.into_body(), BODY_BYTES_MAX).await;
        // Nobody watches, as a rule.
        let _ = same.changes.send(same.recorded.change.clone());
        (StatusCode::CREATED, "application/json", Body::from(same.recorded.registered.clone()))
    } else if request.uri().path().ends_with("/watch") {
        let changes = BroadcastStream::new(same.changes.subscribe());
        let first = futures::stream::iter([Ok::<_, Infallible>(same.recorded.snapshot.clone())]);
        let events = first.chain(changes.filter_map(|change| futures::future::ready(change.ok().map(Ok))));
        (StatusCode::OK, "text/event-stream", Body::from_stream(events))
    } else {
        (StatusCode::OK, "application/json", Body::from(same.recorded.discovered.clone()))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if is_read {
        for (name, value) in same.headers.iter() {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response
}

type Answer<T> = Result<Reply<T>, Status>;
type Events<T> = Pin<Box<dyn Stream<Item = Result<Prepared<T>, Status>> + Send>>;

fn not_recorded<T>() -> Answer<T> {
    Err(Status::unimplemented("the bare server answers Discover and Session"))
}

#[tonic::async_trait]
impl Registry for Same {
    type WatchStream = Events<WatchEvent>;
    type SessionStream = Events<SessionReply>;

    async fn discover(&self, _: Request<DiscoverRequest>) -> Answer<Prepared<DiscoverReply>> {
        Ok(Reply::new(Prepared::shared(self.recorded.discovered_reply.clone())))
    }

    async fn session(&self, requests: Request<Streaming<SessionRequest>>) -> Answer<Self::SessionStream> {
        let recorded = Arc::clone(&self.recorded);
        let replies = requests.into_inner().enumerate().map(move |(place, request)| {
            let reply = if place == 0 { &recorded.opened_reply } else { &recorded.registered_reply };
            request.map(|_| Prepared::shared(reply.clone()))
        });
        Ok(Reply::new(Box::pin(replies)))
    }

    async fn register(&self, _: Request<RegisterRequest>) -> Answer<RegisterReply> {
        not_recorded()
    }

    async fn deregister(&self, _: Request<DeregisterRequest>) -> Answer<DeregisterReply> {
        not_recorded()
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Answer<RenewReply> {
        not_recorded()
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        not_recorded()
    }
}
