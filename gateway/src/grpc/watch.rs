//! `Watch`: one watch, told on a stream of its own.
//!
//! The stream is driven by whoever writes it out: while the client does not read, it is not polled, the next event is
//! not asked for, and the hub keeps one slot a service for it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compute::Error;
use compute::model::Namespace;
use compute::watch::{Scope, Watch, WatchSpec};
use futures::stream;
use http::Response;
use schemas::thuban::v1 as pb;
use tonic::Status;

use super::call::Call;
use super::events::Outgoing;
use super::wire::{Frames, Reply};
use super::{MOVE_SPREAD, Shared, convert, status};
use crate::admission::{Held, Identity, Verb};
use crate::error::{Code, Problem};
use crate::etag;

/// What is asked, checked; `identity` may see it.
pub(super) fn spec(
    request: pb::WatchRequest,
    identity: &Identity,
    subscriber: compute::watch::Subscriber,
) -> Result<(Namespace, WatchSpec), Problem> {
    let namespace = convert::namespace(&request.namespace)?;
    identity.may(Verb::Read, &namespace)?;
    let scope = convert::scope(&request.namespace, &request.services)?;
    let selector = convert::selector(request.filter)?;
    let from = request.from_revision.as_deref().map(|from| etag::revision_of("from_revision", from)).transpose()?;
    Ok((namespace, WatchSpec { scope, selector, from, subscriber }))
}

/// A namespace that is watched as a whole must exist; a service need not yet.
pub(super) fn check_scope(shared: &Shared, spec: &WatchSpec) -> Result<(), Problem> {
    match &spec.scope {
        Scope::Namespace(namespace) => Ok(shared.registry.namespace(namespace).map(drop)?),
        Scope::Services(_) => Ok(()),
    }
}

/// Room for the names in a watch.
pub(super) fn take_names(shared: &Shared, call: &Call, scope: &Scope) -> Result<Held, Problem> {
    let names = match scope {
        Scope::Services(services) => services.len(),
        Scope::Namespace(_) => 1,
    };
    shared.admission.watch_names(call.shares.as_ref(), names)
}

struct Watching {
    shared: Arc<Shared>,
    call: Call,
    _names: Held,
    namespace: Namespace,
    watch: Watch,
    outgoing: Outgoing,
    ready: VecDeque<Bytes>,
    end: Option<Status>,
    leaving: Leaving,
}

/// Resolves at this watcher's turn to go.
type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) fn watch(shared: &Arc<Shared>, call: Call, request: pb::WatchRequest) -> Result<Response<Reply>, Problem> {
    let (namespace, spec) = spec(request, &call.identity, call.subscriber(&shared.door))?;
    check_scope(shared, &spec)?;
    let names = take_names(shared, &call, &spec.scope)?;
    let watch = shared.registry.watch(spec)?;
    let watching = Watching {
        shared: Arc::clone(shared),
        call,
        _names: names,
        namespace,
        watch,
        outgoing: Outgoing::default(),
        ready: VecDeque::new(),
        end: None,
        leaving: Box::pin(leaving(Arc::clone(shared))),
    };
    let frames: Frames = Box::pin(stream::unfold(watching, |mut watching| async move {
        let told = watching.next().await?;
        Some((told, watching))
    }));
    Ok(Reply::stream(frames))
}

impl Watching {
    /// The next piece of the stream; after an error, nothing.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(Ok(chunk));
            }
            if self.end.is_some() {
                // Taken once: what is asked for behind it finds a watch that is over.
                let end = self.end.replace(Status::ok(""))?;
                return (end.code() != tonic::Code::Ok).then_some(Err(end));
            }
            self.gather().await;
        }
    }

    async fn gather(&mut self) {
        let event = tokio::select! {
            event = self.watch.next() => event,
            () = &mut self.leaving => {
                self.end = Some(status::status(&moved()));
                return;
            }
        };
        let Some(event) = event else {
            let why = self.watch.refused().cloned().unwrap_or_else(|| Error::NotReady("the node stops".to_owned()));
            self.end = Some(status::status(&why.into()));
            return;
        };
        if !self.shared.admission.is_current(&self.call.identity) {
            self.end = Some(status::status(&revoked()));
            return;
        }
        self.outgoing.put_event(&self.namespace, &event, self.watch.position());
        self.ready.extend(self.outgoing.take());
    }
}

/// Once the node drains all are to go, but not at the same moment.
async fn leaving(shared: Arc<Shared>) {
    shared.registry.draining().await;
    shared.clock.sleep(spread(&shared)).await;
}

/// A part of the time within which everybody is asked to go.
pub(super) fn spread(shared: &Shared) -> Duration {
    let spread_ms = MOVE_SPREAD.as_millis() as u64;
    Duration::from_millis(shared.chance.below(spread_ms + 1))
}

fn moved() -> Problem {
    Error::NotReady("it drains; watch another node".to_owned()).into()
}

/// The token of a stream that is open was taken away, or its rights were.
pub(super) fn revoked() -> Problem {
    let detail = "the token does not hold any more, or allows something else now; call again";
    Problem::new(Code::Unauthenticated, detail).about("authorization")
}
