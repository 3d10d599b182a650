//! Watching over server-sent events.
//!
//! A change's bytes are made once and shared by all its watchers. A watcher who does not read is sent nothing: its
//! stream is not polled, and what it missed is merged until it reads again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use compute::model::{Namespace, Revision, ServiceKey};
use compute::node::Readiness;
use compute::view::View;
use compute::watch::{Scope, Watch, WatchEvent, WatchSpec};
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::unfold;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};

use super::answer::REVISION;
use super::encode;
use super::gate::Call;
use super::observe::{Streaming, Waited};
use super::path::Place;
use super::query::Query;
use super::schema::{self, InNamespace, InService, ReadRefusals, Selection};
use super::{App, selection};
use crate::admission::Verb;
use crate::error::Problem;
use crate::etag::revision_of;

/// When a client comes back whose stream has ended: from this on, and not all at the same time.
const RETRY_MS: u64 = 500;
const RETRY_SPREAD_MS: u64 = 2_500;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies hold back what they take for a page, unless they are told.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Watch a service
///
/// `snapshot`, then `change`, and `progress` in between; `compacted` before a snapshot that had to be sent again. A
/// service that nobody registered yet may be watched.
#[utoipa::path(
    get, path = "/v1/namespaces/{ns}/services/{service}/watch", operation_id = "watch_service", tag = "watch",
    params(InService, Selection, schema::Resuming),
    responses((status = 200, description = "Events until one side ends it", body = schema::EventStream, content_type = "text/event-stream"), ReadRefusals)
)]
pub(super) async fn watch_service(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let call = Call::of(&mut parts)?;
    let service = Place::of(&mut parts).await?.service()?;
    let query = Query::read(parts.uri.query())?;
    open(&app, call, &parts, query, service.namespace.clone(), Some(service)).await
}

/// Watch all services of a namespace
#[utoipa::path(
    get, path = "/v1/namespaces/{ns}/watch", operation_id = "watch_namespace", tag = "watch",
    params(InNamespace, Selection, schema::Resuming),
    responses((status = 200, description = "Events until one side ends it", body = schema::EventStream, content_type = "text/event-stream"), ReadRefusals)
)]
pub(super) async fn watch_namespace(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let call = Call::of(&mut parts)?;
    let namespace = Place::of(&mut parts).await?.namespace()?;
    let query = Query::read(parts.uri.query())?;
    open(&app, call, &parts, query, namespace, None).await
}

/// Watch, with the names out of the path
///
/// Without `service` it is the whole namespace.
#[utoipa::path(
    get, path = "/v1/watch", operation_id = "watch_by_query", tag = "watch",
    params(schema::OfServices, Selection, schema::Resuming),
    responses((status = 200, description = "Events until one side ends it", body = schema::EventStream, content_type = "text/event-stream"), ReadRefusals)
)]
pub(super) async fn watch_by_query(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let call = Call::of(&mut parts)?;
    let mut query = Query::read(parts.uri.query())?;
    let namespace = selection::namespace(&mut query)?;
    let service = query.text("service").map(|name| ServiceKey::new(namespace.as_str(), &name)).transpose()?;
    open(&app, call, &parts, query, namespace, service).await
}

async fn open(
    app: &App,
    mut call: Call,
    parts: &Parts,
    mut query: Query<'_>,
    namespace: Namespace,
    service: Option<ServiceKey>,
) -> Result<Response, Problem> {
    let selector = selection::selector(&mut query)?;
    let from = from(&mut query, parts)?;
    query.finish()?;
    call.may(Verb::Read, &namespace)?;
    let subscriber = call.subscriber(app, &parts.headers)?;
    if app.registry.readiness() == Readiness::Draining {
        return Err(compute::Error::NotReady("it drains, and opens no streams; use another node".to_owned()).into());
    }
    call.wait(app)?;
    if service.is_none() {
        // A namespace that is watched as a whole must exist, as in gRPC; a service need not yet.
        app.registry.namespace(&namespace)?;
    }
    if let Some(from) = from {
        // Said before the stream begins: inside it there is no word for it.
        app.registry.reach_watcher(from).await?;
    }
    let scope = match service {
        Some(service) => Scope::Services(vec![service]),
        None => Scope::Namespace(namespace.clone()),
    };
    let watch = app.registry.watch(WatchSpec { scope, selector, from, subscriber })?;
    let mut response = Response::new(Body::from_stream(stream(Arc::clone(app), call, namespace, watch)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    let applied = app.registry.progress().applied.last().to_string();
    if let Ok(applied) = HeaderValue::try_from(applied) {
        headers.insert(REVISION, applied);
    }
    response.extensions_mut().insert(Waited);
    Ok(response)
}

/// Where a watcher goes on: what its last event said, before what its address says.
fn from(query: &mut Query<'_>, parts: &Parts) -> Result<Option<Revision>, Problem> {
    let in_query = query.text("from");
    let last = parts.headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty());
    if let Some(last) = last {
        let text = String::from_utf8_lossy(last.as_bytes());
        return Ok(Some(revision_of("last-event-id", &text)?));
    }
    Ok(in_query.map(|text| revision_of("from", &text)).transpose()?)
}

struct Watching {
    app: App,
    call: Call,
    namespace: Namespace,
    watch: Watch,
    draining: BoxFuture<'static, ()>,
    /// Pieces of events that are made and not taken yet.
    ready: VecDeque<Bytes>,
    is_over: bool,
    _open: Streaming,
}

fn stream(
    app: App,
    call: Call,
    namespace: Namespace,
    watch: Watch,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    let registry = app.registry.clone();
    let draining: BoxFuture<'static, ()> = Box::pin(async move { registry.draining().await });
    let _open = app.streams.open();
    // The head of the first event: a block of its own would be taken for an event without data.
    let ready = VecDeque::from([retry(&app, "")]);
    let watching = Watching { app, call, namespace, watch, draining, ready, is_over: false, _open };
    unfold(watching, |mut watching| async move { watching.next().await.map(|piece| (Ok(piece), watching)) })
}

impl Watching {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            if self.is_over {
                return None;
            }
            tokio::select! {
                event = self.watch.next() => match event {
                    // One whose token was taken away sees nothing more.
                    Some(_) if !self.app.admission.is_current(&self.call.identity) => self.end(),
                    Some(event) => self.write(event),
                    None => self.end(),
                },
                () = &mut self.draining => self.end(),
            }
        }
    }

    fn write(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Snapshot { view, revision, complete } => self.snapshot(view.as_deref(), revision, complete),
            WatchEvent::Change(delta) => self.ready.push_back(encode::delta_event(&delta)),
            WatchEvent::Progress(revision) => {
                let text = format!("event: progress\nid: {revision}\ndata: {{\"revision\":\"{revision}\"}}\n\n");
                self.ready.push_back(text.into());
            }
            // Without an id: one who comes back right after it must not skip what it is about to get.
            WatchEvent::Compacted(revision) => {
                let text = format!("event: compacted\ndata: {{\"revision\":\"{revision}\"}}\n\n");
                self.ready.push_back(text.into());
            }
        }
    }

    /// Only what completes a snapshot has an id: from a part of it nobody can go on.
    fn snapshot(&mut self, view: Option<&View>, revision: Revision, complete: bool) {
        let mut head = String::from("event: snapshot\n");
        if complete {
            head.push_str(&format!("id: {revision}\n"));
        }
        head.push_str("data: ");
        let [start, rest] = encode::snapshot_data(&self.namespace, view, revision, complete);
        self.ready.extend([head.into(), start, rest, Bytes::from_static(b"\n\n")]);
    }

    /// The last word: come back, elsewhere if you can, and not all at once.
    fn end(&mut self) {
        self.is_over = true;
        let retry = retry(&self.app, "\n");
        self.ready.push_back(retry);
    }
}

fn retry(app: &App, rest: &str) -> Bytes {
    let wait = Duration::from_millis(RETRY_MS + app.chance.below(RETRY_SPREAD_MS));
    format!("retry: {}\n{rest}", wait.as_millis()).into()
}
