//! Nothing but axum, nothing but tonic: servers that answer every request with the same bytes.

use std::pin::Pin;

use anyhow::Result;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use futures::Stream;
use schemas::Prepared;
use schemas::thuban::v1::registry_server::{Registry, RegistryServer};
use schemas::thuban::v1::{
    DeregisterReply, DeregisterRequest, DiscoverReply, DiscoverRequest, RegisterReply, RegisterRequest, RenewReply,
    RenewRequest, SessionReply, SessionRequest, WatchEvent, WatchRequest,
};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response as Reply, Status, Streaming};

/// Serves `http` to every HTTP request and `grpc` to every Discover, on ports of its own, until it is killed.
pub async fn serve(http: Bytes, grpc: Bytes) -> Result<()> {
    let web = TcpListener::bind("127.0.0.1:0").await?;
    let rpc = TcpListener::bind("127.0.0.1:0").await?;
    println!("ready http={} grpc={}", web.local_addr()?, rpc.local_addr()?);
    let routes = axum::Router::new().fallback(answer).with_state(http);
    let web = axum::serve(axum::serve::ListenerExt::tap_io(web, |stream| drop(stream.set_nodelay(true))), routes);
    let connections = TcpListenerStream::new(rpc).map(|stream| stream.inspect(|stream| drop(stream.set_nodelay(true))));
    let rpc = tonic::transport::Server::builder()
        .add_service(RegistryServer::new(Same(grpc)))
        .serve_with_incoming(connections);
    tokio::select! {
        done = async { web.await } => done?,
        done = rpc => done?,
    }
    Ok(())
}

async fn answer(State(body): State<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

struct Same(Bytes);

type Answer<T> = Result<Reply<T>, Status>;
type Events<T> = Pin<Box<dyn Stream<Item = Result<Prepared<T>, Status>> + Send>>;

fn only_discover<T>() -> Answer<T> {
    Err(Status::unimplemented("the bare server answers Discover"))
}

#[tonic::async_trait]
impl Registry for Same {
    type WatchStream = Events<WatchEvent>;
    type SessionStream = Events<SessionReply>;

    async fn discover(&self, _: Request<DiscoverRequest>) -> Answer<Prepared<DiscoverReply>> {
        Ok(Reply::new(Prepared::shared(self.0.clone())))
    }

    async fn register(&self, _: Request<RegisterRequest>) -> Answer<RegisterReply> {
        only_discover()
    }

    async fn deregister(&self, _: Request<DeregisterRequest>) -> Answer<DeregisterReply> {
        only_discover()
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Answer<RenewReply> {
        only_discover()
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        only_discover()
    }

    async fn session(&self, _: Request<Streaming<SessionRequest>>) -> Answer<Self::SessionStream> {
        only_discover()
    }
}
