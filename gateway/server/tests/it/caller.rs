//! One HTTP connection, kept open from request to request.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) struct Caller {
    sender: SendRequest<Full<Bytes>>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Null where the answer has no body, a string where it is no JSON.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// A request and its answer; an error means that nobody knows what came of it.
    pub(crate) async fn call(&mut self, method: Method, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("content-type", "application/json").body(Full::new(body));
        let (head, body) = self.send(request.map_err(io::Error::other)?).await?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let text = || Value::from(String::from_utf8_lossy(&body));
        let value =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or_else(|_| text()) };
        Ok(Answer { status: head.status, headers: head.headers, body: value })
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> io::Result<http::Response<Incoming>> {
        self.sender.ready().await.map_err(io::Error::other)?;
        self.sender.send_request(request).await.map_err(io::Error::other)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await.expect("an answer")
    }

    pub(crate) async fn put(&mut self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await.expect("an answer")
    }
}

/// The place of an instance.
pub(crate) fn instance(service: &str, id: &str) -> String {
    format!("/v1/namespaces/default/services/{service}/instances/{id}")
}
