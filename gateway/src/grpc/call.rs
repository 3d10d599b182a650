//! What every call has in common: who asks, what may be read of it and for how long, and how it is answered.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use compute::Error;
use compute::command;
use compute::model::Revision;
use compute::node::Readiness;
use compute::port::Clock;
use compute::watch::Subscriber;
use futures::future::{Either, select};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Response, StatusCode, header};
use prost::Message;

use super::Shared;
use super::method::{Method, Needs, Size};
use super::wire::{Messages, Reply, framed};
use crate::admission::{Identity, Lane, Permit, Shares};
use crate::error::{Code, Problem};
use crate::listen::Arrival;
use crate::session;

/// Metadata in which a caller names itself.
const CLIENT: &str = "thuban-client";
/// Metadata of answers that depend on state.
const REVISION: HeaderName = HeaderName::from_static("thuban-revision");
/// How many changes an answer shows that are not in the log yet.
const OVERLAY: HeaderName = HeaderName::from_static("thuban-overlay");
/// What it shows is stale: the log is away since the node started.
pub(super) const STALE: HeaderName = HeaderName::from_static("thuban-stale");
const TIMEOUT: &str = "grpc-timeout";
const ENCODING: &str = "grpc-encoding";

/// Who asks, and the room that was made for it.
pub(super) struct Call {
    pub(super) identity: Identity,
    pub(super) client: String,
    pub(super) peer: Option<SocketAddr>,
    /// What its connection holds.
    pub(super) shares: Option<Arc<Shares>>,
    pub(super) permit: Permit,
}

/// Who asks, before there is room.
pub(super) struct Caller {
    identity: Identity,
    client: String,
    arrival: Option<Arrival>,
}

impl Caller {
    pub(super) fn of(shared: &Shared, parts: &Parts, method: Method) -> Result<Self, Problem> {
        let authorization = parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let identity = match method.needs() {
            // Probes bring no token.
            Needs::Nothing => shared.admission.nobody(),
            Needs::Token => shared.admission.identify(authorization)?,
            Needs::State => {
                let identity = shared.admission.identify(authorization)?;
                if !(shared.registry.is_stale() && method.lane() == Lane::Read) {
                    ready(shared)?;
                }
                identity
            }
        };
        let client = client(&parts.headers)?;
        let arrival = parts.extensions.get::<Arrival>().cloned();
        Ok(Self { identity, client, arrival })
    }

    /// Makes room: for what is here whole, so that nobody holds it who does not send.
    pub(super) fn enter(self, shared: &Shared, method: Method) -> Result<Call, Problem> {
        let permit = shared.admission.enter(&self.identity, method.lane())?;
        let Self { identity, client, arrival } = self;
        let (peer, shares) = arrival.map(|arrival| (arrival.peer, arrival.shares)).unzip();
        Ok(Call { identity, client, peer, shares, permit })
    }
}

impl Call {
    pub(super) fn caller(&self, shared: &Shared) -> command::Caller {
        self.identity.caller(&shared.door)
    }

    /// As the list of subscribers shows it; without a name of its own, a client goes by its token's.
    pub(super) fn subscriber(&self, door: &str) -> Subscriber {
        let name = if self.client.is_empty() { self.identity.name() } else { &self.client };
        session::subscriber(name, self.peer, door)
    }
}

/// The name that a caller gave itself; empty when it gave none.
fn client(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(CLIENT) else { return Ok(String::new()) };
    Ok(session::client_of(CLIENT, value.as_bytes())?.to_owned())
}

/// A node that is not ready answers nothing from its state; one that drains still does.
pub(super) fn ready(shared: &Shared) -> Result<(), Problem> {
    match shared.registry.readiness() {
        Readiness::NotReady(why) => Err(Error::NotReady(why).into()),
        Readiness::Ready | Readiness::Draining => Ok(()),
    }
}

/// What is not a gRPC call at all is answered in HTTP's own words.
pub(super) fn not_grpc(parts: &Parts) -> Option<Response<Reply>> {
    let is_grpc = parts.headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let rest = value.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+proto") || rest.starts_with(b";"))
    });
    let status = match (is_grpc, &parts.method) {
        (true, &HttpMethod::POST) => return None,
        (true, _) => StatusCode::METHOD_NOT_ALLOWED,
        (false, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
    };
    let mut response = Response::new(Reply::default());
    *response.status_mut() = status;
    Some(response)
}

/// How long the caller waits, if it said so.
pub(super) fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(value) = headers.get(TIMEOUT) else { return Ok(None) };
    let shown = String::from_utf8_lossy(value.as_bytes());
    let wrong = || Problem::invalid(TIMEOUT, &shown, "1 to 8 digits and a unit: H, M, S, m, u or n");
    let (digits, unit) = shown.split_at_checked(shown.len().saturating_sub(1)).ok_or_else(wrong)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return Err(wrong()),
    }))
}

/// The messages of a request, within the limits of its method.
pub(super) fn messages(shared: &Shared, parts: &Parts, body: Body, method: Method) -> Result<Messages<Body>, Problem> {
    let encoding = parts.headers.get(ENCODING).map(HeaderValue::as_bytes);
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        let shown = String::from_utf8_lossy(encoding);
        let problem =
            Problem::new(Code::UnsupportedMediaType, format!("grpc-encoding is \"{shown}\"; allowed: identity"));
        return Err(problem.about(ENCODING).allowing("identity"));
    }
    let bytes_max = match method.size() {
        Size::Single => shared.config.message_bytes_max,
        Size::Batch => shared.config.batch_bytes_max,
        Size::Names => shared.config.names_bytes_max,
    };
    Ok(Messages::new(body, bytes_max, shared.admission.body_bytes()))
}

/// Reads a request of one message to its end; it must arrive in time. Takes no room but that of unfinished bodies.
pub(super) async fn gather(shared: &Shared, parts: &Parts, messages: &mut Messages<Body>) -> Result<(), Problem> {
    // As a rule it is here already, and nothing is needed.
    if let Poll::Ready(read) = futures::poll!(poll_fn(|cx| messages.poll_gather(cx))) {
        return Ok(read?);
    }
    let shares = parts.extensions.get::<Arrival>().map(|arrival| &arrival.shares);
    let reading = shared.admission.read_body(shares)?;
    reading.came(messages.came());
    let limit = shared.config.read_timeout;
    let mut gathering = poll_fn(|cx| {
        let read = messages.poll_gather(cx);
        reading.came(messages.came());
        read
    });
    tokio::select! {
        biased;
        read = &mut gathering => Ok(read?),
        () = shared.clock.sleep(limit) => {
            let detail = format!("the request did not arrive whole within {} ms", limit.as_millis());
            Err(Problem::new(Code::RequestTimeout, detail))
        }
        problem = reading.too_slow() => Err(problem),
    }
}

/// The one message of a call that was gathered.
pub(super) async fn only<M: Message + Default>(_: &Shared, messages: Messages<Body>) -> Result<M, Problem> {
    Ok(messages.only::<M>().await?)
}

/// What `work` comes to, unless `limit` passes first.
pub(super) async fn within<T>(clock: &dyn Clock, limit: Duration, work: impl Future<Output = T> + Unpin) -> Option<T> {
    match select(work, clock.sleep(limit)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// A good answer, with what it depends on.
pub(super) struct Answered {
    frame: Bytes,
    revision: Option<Revision>,
    overlay: u32,
}

impl Answered {
    pub(super) fn of(message: &impl Message) -> Self {
        Self { frame: framed(message), revision: None, overlay: 0 }
    }

    /// A message that is encoded already, with its header.
    pub(super) fn encoded(frame: Bytes) -> Self {
        Self { frame, revision: None, overlay: 0 }
    }

    /// It shows the state at this revision, and so many changes beyond it.
    pub(super) fn at(self, revision: Revision, overlay: u32) -> Self {
        Self { revision: Some(revision), overlay, ..self }
    }

    pub(super) fn into_response(self) -> Response<Reply> {
        let mut response = Reply::whole(self.frame);
        let headers = response.headers_mut();
        if let Some(revision) = self.revision {
            let text = HeaderValue::from_maybe_shared(Bytes::from(revision.to_string()));
            headers.insert(REVISION, text.expect("digits and dots make a header"));
        }
        if self.overlay > 0 {
            headers.insert(OVERLAY, HeaderValue::from(self.overlay));
        }
        response
    }
}
