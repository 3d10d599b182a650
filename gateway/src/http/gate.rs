//! What happens to each request before and after its handler: who is it, is there room, how long did it take.
//!
//! A layer of each route, made once with the route's name: no look-up of a metric or a right is left for the request.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use compute::command::Caller;
use compute::model::Namespace;
use compute::node::Readiness;
use compute::watch::Subscriber;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request};
use tower::{Layer, Service};

use super::answer::{CLIENT, STALE};
use super::browser::Head;
use super::observe::Route;
use super::{App, body};
use crate::admission::{BodyBytes, Identity, Lane, Permit, Verb};
use crate::error::{Code, Problem};
use crate::listen::Arrival;
use crate::session;

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

impl Operation {
    /// Whether it is answered once, from what is there.
    fn is_read(self) -> bool {
        self.method == "GET" && !self.path.ends_with("/watch")
    }
}

/// A request that was let in, with its room.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) identity: Identity,
    permit: Option<Permit>,
    arrival: Option<Arrival>,
    /// What its body holds.
    _body: Option<Arc<BodyBytes>>,
}

impl Call {
    /// The call of a request that came through its route's gate.
    pub(super) fn of(parts: &mut Parts) -> Result<Self, Problem> {
        let missing = || Problem::new(Code::Internal, "the request did not come through its gate");
        parts.extensions.remove::<Self>().ok_or_else(missing)
    }

    /// Takes the room of a request: once it is here whole, so that nobody holds it who does not send.
    fn take_room(&mut self, app: &App, operation: Operation) -> Result<(), Problem> {
        if operation.needs != Needs::Nothing {
            self.permit = Some(app.admission.enter(&self.identity, operation.lane)?);
        }
        Ok(())
    }

    /// Gives back the room of a request and takes that of one who waits, or of a stream.
    pub(super) fn wait(&mut self, app: &App) -> Result<(), Problem> {
        if let Some(held) = self.permit.take() {
            self.permit = Some(app.admission.wait(held)?);
        }
        Ok(())
    }

    /// The same of one whose answer is gathered from all nodes.
    pub(super) fn wait_for_others(&mut self, app: &App) -> Result<(), Problem> {
        if app.registry.has_others() { self.wait(app) } else { Ok(()) }
    }

    pub(super) fn caller(&self, app: &App) -> Caller {
        self.identity.caller(&app.door)
    }

    pub(super) fn may(&self, verb: Verb, namespace: &Namespace) -> Result<(), Problem> {
        self.identity.may(verb, namespace)
    }

    /// How a watcher is shown among a service's subscribers.
    pub(super) fn subscriber(&self, app: &App, headers: &HeaderMap) -> Result<Subscriber, Problem> {
        self.subscriber_called(app, headers.get(CLIENT))
    }

    pub(super) fn subscriber_called(&self, app: &App, name: Option<&HeaderValue>) -> Result<Subscriber, Problem> {
        let name = match name {
            None => self.identity.name().into(),
            Some(given) => session::client_of("x-thuban-client", given.as_bytes())?.into(),
        };
        let address = self.arrival.as_ref().map(|arrival| arrival.peer);
        Ok(Subscriber { name, address, door: Arc::clone(&app.door) })
    }
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
        let entered = enter(&self.app, self.operation, Head::of_parts(&parts), Some(arrival));
        let response = match self.admit(entered, &parts.headers, body).await {
            Ok((call, body)) => handler(call, parts, body).await,
            Err(refusal) => refusal,
        };
        let response = self.marked(response);
        self.route.note(&self.app, started_us, asked.as_ref(), &response);
        response
    }

    /// Whatever comes from a state that is stale says so.
    fn marked(&self, mut response: Response) -> Response {
        if self.app.registry.is_stale() && self.operation.needs != Needs::Nothing {
            response.headers_mut().insert(STALE, HeaderValue::from_static("true"));
        }
        response
    }

    /// Reads the body, where there is one to read, and then makes room.
    async fn admit(
        &self,
        entered: Result<Call, Problem>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Call, Body), Response> {
        let mut call = match entered {
            Ok(call) => call,
            Err(problem) => return Err(refuse(problem, headers, body).await),
        };
        // Boxed: most requests have no body, and their futures are not to be as large as if they had.
        let body = match self.reads(&body) {
            true => Box::pin(self.read(&mut call, headers, body)).await.map_err(IntoResponse::into_response)?,
            false => body,
        };
        match self.check_and_make_room(&mut call, headers, &body) {
            Ok(()) => Ok((call, body)),
            Err(problem) => Err(refuse(problem, headers, body).await),
        }
    }

    /// Whether there is a body, and somebody looks at it.
    fn reads(&self, body: &Body) -> bool {
        self.operation.method != "GET" && !body.is_end_stream()
    }

    async fn read(&self, call: &mut Call, headers: &HeaderMap, body: Body) -> Result<Body, Problem> {
        let app = &self.app;
        let limits = if self.operation.path.starts_with("/v1/batch/") { app.batch_body } else { app.body };
        let shares = call.arrival.as_ref().map(|arrival| &arrival.shares);
        let room = body::Room { admission: &app.admission, shares };
        let received = body::receive(room, headers, body, limits).await?;
        call._body = received.held.map(Arc::new);
        Ok(Body::from(received.whole))
    }

    fn check_and_make_room(&self, call: &mut Call, headers: &HeaderMap, body: &Body) -> Result<(), Problem> {
        if self.operation.method != "GET" && body.is_end_stream() {
            body::check_empty(headers)?;
        }
        call.take_room(&self.app, self.operation)
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let gate = self.gate.clone();
        let started_us = gate.app.clock.mono_us();
        let asked = gate.app.log_requests().then(|| request.uri().clone());
        let arrival = request.extensions().get::<Arrival>().cloned();
        let entered = enter(&gate.app, gate.operation, Head::of(&request), arrival);
        // The one that was asked whether it is ready.
        let another = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, another);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let response = match gate.admit(entered, &parts.headers, body).await {
                Ok((call, body)) => {
                    let mut request = Request::from_parts(parts, body);
                    request.extensions_mut().insert(call);
                    inner.call(request).await?
                }
                Err(refusal) => refusal,
            };
            let response = gate.marked(response);
            gate.route.note(&gate.app, started_us, asked.as_ref(), &response);
            Ok(response)
        })
    }
}

fn enter(app: &App, operation: Operation, head: Head<'_>, arrival: Option<Arrival>) -> Result<Call, Problem> {
    let shows_nothing = operation.needs == Needs::Nothing || app.admission.asks_for_tokens();
    head.check(operation.method != "GET", (!shows_nothing).then_some(&app.hosts))?;
    let verbs = match operation.needs {
        Needs::Nothing => {
            let identity = app.admission.nobody();
            return Ok(Call { identity, permit: None, arrival, _body: None });
        }
        Needs::Token(verbs) | Needs::State(verbs) => verbs,
    };
    let authorization = head.headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let identity = app.admission.identify(authorization)?;
    identity.may_any(verbs)?;
    if let Needs::State(_) = operation.needs
        && let Readiness::NotReady(why) = app.registry.readiness()
        && !(app.registry.is_stale() && operation.is_read())
    {
        return Err(compute::Error::NotReady(why).into());
    }
    Ok(Call { identity, permit: None, arrival, _body: None })
}

async fn refuse(problem: Problem, headers: &HeaderMap, unread: Body) -> Response {
    body::discard(headers, unread).await;
    problem.into_response()
}
