//! What happens to each request before and after its handler: who is it, is there room, how long did it take.
//!
//! A layer of each route, made once with the route's name: no look-up of a metric or a right is left for the request.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use compute::command::Caller;
use compute::model::Namespace;
use compute::node::Readiness;
use compute::watch::Subscriber;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Request};
use tower::{Layer, Service};

use super::answer::CLIENT;
use super::observe::Route;
use super::{App, body};
use crate::admission::{Identity, Lane, Permit, Verb};
use crate::error::{Code, Problem};
use crate::listen::Arrival;

/// What a route asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) lane: Lane,
    pub(super) needs: Needs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    /// Open to everybody, and before the node is ready.
    Nothing,
    /// A token that may do one of these at all, before the node is ready too.
    Token(&'static [Verb]),
    /// The same, and a node that is ready: the answer comes from the state.
    State(&'static [Verb]),
}

/// A request that was let in, with its room.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) identity: Identity,
    permit: Option<Permit>,
    arrival: Option<Arrival>,
}

impl Call {
    /// The call of a request that came through its route's gate.
    pub(super) fn of(parts: &mut Parts) -> Result<Self, Problem> {
        let missing = || Problem::new(Code::Internal, "the request did not come through its gate");
        parts.extensions.remove::<Self>().ok_or_else(missing)
    }

    /// Gives back the room of a request and takes that of one who waits, or of a stream.
    pub(super) fn wait(&mut self, app: &App) -> Result<(), Problem> {
        if let Some(held) = self.permit.take() {
            self.permit = Some(app.admission.wait(held)?);
        }
        Ok(())
    }

    pub(super) fn caller(&self, app: &App) -> Caller {
        self.identity.caller(&app.door)
    }

    pub(super) fn may(&self, verb: Verb, namespace: &Namespace) -> Result<(), Problem> {
        self.identity.may(verb, namespace)
    }

    /// How a watcher is shown among a service's subscribers.
    pub(super) fn subscriber(&self, app: &App, headers: &HeaderMap) -> Result<Subscriber, Problem> {
        let name = match headers.get(CLIENT) {
            None => self.identity.name().into(),
            Some(given) => client_name(given.as_bytes())?.into(),
        };
        let address = self.arrival.map(|arrival| arrival.peer);
        Ok(Subscriber { name, address, door: Arc::clone(&app.door) })
    }
}

fn client_name(given: &[u8]) -> Result<&str, Problem> {
    const MAX: usize = compute::model::limits::CLIENT_NAME_BYTES_MAX;
    let name = std::str::from_utf8(given).ok().map(str::trim);
    let name = name.filter(|name| (1..=MAX).contains(&name.len()) && !name.chars().any(char::is_control));
    name.ok_or_else(|| {
        let allowed = "1 to 255 bytes of UTF-8 without control characters";
        Problem::invalid("x-thuban-client", String::from_utf8_lossy(given), allowed)
    })
}

/// Makes a route's gate.
#[derive(Clone)]
pub(super) struct GateLayer {
    app: App,
    operation: Operation,
    route: Arc<Route>,
}

impl GateLayer {
    pub(super) fn new(app: App, operation: Operation) -> Self {
        let route = Arc::new(Route::new(operation.method, operation.path));
        Self { app, operation, route }
    }

    /// Lets a request in to `handler`, which is not behind a router.
    pub(super) async fn through<F>(
        &self,
        parts: Parts,
        body: Body,
        arrival: Arrival,
        handler: impl FnOnce(Call, Parts, Body) -> F,
    ) -> Response
    where
        F: Future<Output = Response>,
    {
        let started_us = self.app.clock.mono_us();
        let asked = self.app.log_requests().then(|| parts.uri.clone());
        let response = match enter(&self.app, self.operation, &parts.headers, Some(arrival)) {
            Ok(call) => handler(call, parts, body).await,
            Err(problem) => refuse(problem, &parts.headers, body).await,
        };
        self.route.note(&self.app, started_us, asked.as_ref(), &response);
        response
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, gate: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Gate<S> {
    inner: S,
    gate: GateLayer,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let GateLayer { app, operation, route } = self.gate.clone();
        let started_us = app.clock.mono_us();
        let asked = app.log_requests().then(|| request.uri().clone());
        let arrival = request.extensions().get::<Arrival>().copied();
        let answer = match enter(&app, operation, request.headers(), arrival) {
            Ok(call) => {
                request.extensions_mut().insert(call);
                Ok(self.inner.call(request))
            }
            Err(problem) => Err((problem, request.into_parts())),
        };
        Box::pin(async move {
            let response = match answer {
                Ok(answer) => answer.await?,
                Err((problem, (parts, unread))) => refuse(problem, &parts.headers, unread).await,
            };
            route.note(&app, started_us, asked.as_ref(), &response);
            Ok(response)
        })
    }
}

fn enter(app: &App, operation: Operation, headers: &HeaderMap, arrival: Option<Arrival>) -> Result<Call, Problem> {
    let verbs = match operation.needs {
        Needs::Nothing => {
            let identity = app.admission.nobody();
            return Ok(Call { identity, permit: None, arrival });
        }
        Needs::Token(verbs) | Needs::State(verbs) => verbs,
    };
    let authorization = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let identity = app.admission.identify(authorization)?;
    identity.may_any(verbs)?;
    if let Needs::State(_) = operation.needs
        && let Readiness::NotReady(why) = app.registry.readiness()
    {
        return Err(compute::Error::NotReady(why).into());
    }
    let permit = app.admission.enter(&identity, operation.lane)?;
    Ok(Call { identity, permit: Some(permit), arrival })
}

async fn refuse(problem: Problem, headers: &HeaderMap, unread: Body) -> Response {
    body::discard(headers, unread).await;
    problem.into_response()
}
