//! One connection to a node, opened when it is needed and again when it was lost.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::failure::{Failure, Refusal};
use super::target::{Place, Target};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A discover of the largest service there is, and more.
const ANSWER_BYTES_MAX: usize = 1 << 30;

pub(super) struct Node {
    target: Target,
    token: Option<String>,
    tls: Option<TlsConnector>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// What a node answered, whatever it was.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Node {
    pub(super) fn new(target: Target, token: Option<String>, tls: Option<TlsConnector>) -> Self {
        Self { target, token, tls, sender: None }
    }

    pub(super) async fn get(&mut self, place: &Place) -> Result<Value, Failure> {
        self.call(Method::GET, place, None).await
    }

    /// The document of an answer that is none of refusal; null when there is none.
    pub(super) async fn call(&mut self, method: Method, place: &Place, body: Option<&Value>) -> Result<Value, Failure> {
        let answer = self.ask(method, place, body).await?;
        if !answer.status.is_success() {
            return Err(Failure::Refused(Refusal::read(answer.status.as_u16(), &answer.body)));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        let unlike = |error| self.unreachable(format!("its answer is not JSON ({error}); is it a Thuban node?"));
        serde_json::from_slice(&answer.body).map_err(unlike)
    }

    pub(super) async fn ask(&mut self, method: Method, place: &Place, body: Option<&Value>) -> Result<Answer, Failure> {
        let response = self.send(method, place, body, None).await?;
        let status = response.status();
        let collected = timeout(ANSWER_TIMEOUT, Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect()).await;
        let late = |_| self.unreachable("the answer took too long".to_owned());
        let body = collected.map_err(late)?.map_err(|error| self.unreachable(format!("the answer broke off: {error}")));
        Ok(Answer { status, body: body?.to_bytes() })
    }

    /// A stream of events: what comes behind the head is read by the caller.
    pub(super) async fn open(&mut self, place: &Place, last: Option<&str>) -> Result<Incoming, Failure> {
        let response = self.send(Method::GET, place, None, last).await?;
        let status = response.status();
        if status.is_success() {
            // The connection is the stream's from now on.
            self.sender = None;
            return Ok(response.into_body());
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Err(Failure::Refused(Refusal::read(status.as_u16(), &body)))
    }

    async fn send(
        &mut self,
        method: Method,
        place: &Place,
        body: Option<&Value>,
        last: Option<&str>,
    ) -> Result<Response<Incoming>, Failure> {
        let request = self.request(method, place, body, last)?;
        let was_open = self.sender.as_ref().is_some_and(|sender| !sender.is_closed());
        match self.exchange(request.clone()).await {
            // The node may close a connection that has been idle, in the very moment in which it is used again.
            Err(Exchanged::Lost(_)) if was_open => self.exchange(request).await,
            first => first,
        }
        .map_err(|error| match error {
            Exchanged::Lost(why) | Exchanged::Late(why) | Exchanged::NotConnected(why) => self.unreachable(why),
        })
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Exchanged> {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await.map_err(Exchanged::NotConnected)?,
        };
        let answer = timeout(ANSWER_TIMEOUT, async {
            sender.ready().await?;
            sender.send_request(request).await
        });
        match answer.await {
            Ok(Ok(response)) => {
                self.sender = Some(sender);
                Ok(response)
            }
            Ok(Err(error)) => Err(Exchanged::Lost(format!("the connection was lost: {error}"))),
            Err(_) => Err(Exchanged::Late(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect((self.target.host.as_str(), self.target.port)));
        let stream = connected.await.map_err(|_| "no connection in time".to_owned())?;
        let stream = stream.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else { return started(TokioIo::new(stream)).await };
        let name = ServerName::try_from(self.target.host.clone()).map_err(|error| error.to_string())?;
        let encrypted = timeout(CONNECT_TIMEOUT, tls.connect(name, stream)).await;
        let encrypted = encrypted.map_err(|_| "no TLS handshake in time".to_owned())?;
        started(TokioIo::new(encrypted.map_err(|error| format!("TLS: {error}"))?)).await
    }

    fn request(
        &self,
        method: Method,
        place: &Place,
        body: Option<&Value>,
        last: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{}", self.target.base, place.as_str()))
            .header("host", self.target.authority())
            .header("user-agent", concat!("thuban/", env!("CARGO_PKG_VERSION")))
            .header("x-thuban-client", "thuban-cli");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        request.body(Full::new(body)).map_err(|error| Failure::Usage(format!("not a request: {error}")))
    }

    fn unreachable(&self, why: String) -> Failure {
        Failure::Unreachable { server: self.target.to_string(), why }
    }
}

enum Exchanged {
    NotConnected(String),
    Lost(String),
    Late(String),
}

async fn started<I>(io: I) -> Result<SendRequest<Full<Bytes>>, String>
where
    I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(io).await.map_err(|error| error.to_string())?;
    // It ends with its sender or with its stream.
    tokio::spawn(connection);
    Ok(sender)
}
