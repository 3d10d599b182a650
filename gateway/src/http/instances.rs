//! One instance: register, look, renew, deregister, and what operators set on it.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use compute::command::Command;
use compute::error::What;
use compute::model::{InstanceKey, OperatorPatch, RemovalReason, Revision, Set};
use http::request::Parts;
use http::{Request, StatusCode};

use super::answer::Basis;
use super::condition::{Expected, Found, Reading, generation};
use super::gate::Call;
use super::json::{self, Object};
use super::observe::Waited;
use super::path::Place;
use super::query::Query;
use super::schema::{self, InInstance, ReadRefusals, WriteRefusals};
use super::{App, body, outcome, registration, rfc3339};
use crate::admission::Verb;
use crate::error::Problem;

/// A request that has been read to its end.
pub(super) struct Asked {
    pub(super) call: Call,
    pub(super) parts: Parts,
    pub(super) place: Place,
    pub(super) body: Bytes,
}

impl Asked {
    pub(super) async fn read(request: Request<Body>) -> Result<Self, Problem> {
        let (mut parts, unread) = request.into_parts();
        let body = body::whole(unread).await?;
        let call = Call::of(&mut parts)?;
        let place = Place::of(&mut parts).await?;
        Ok(Self { call, parts, place, body })
    }

    /// For requests that have nothing to say in a body.
    pub(super) fn has_no_body(&self) -> Result<(), Problem> {
        if self.body.trim_ascii().is_empty() {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(256)]).into_owned();
        Err(Problem::invalid("body", shown, "nothing: this request takes no body"))
    }
}

/// Register an instance, or replace what its provider owns
///
/// The namespace must exist; the service is made by its first register. The same again on a live instance is a
/// renewal: the same generation and revision, no event.
#[utoipa::path(
    put, path = "/v1/namespaces/{ns}/services/{service}/instances/{id}", operation_id = "register", tag = "instances",
    params(InInstance, schema::Acknowledged, schema::Generation), request_body = schema::Registration,
    responses(
        (status = 200, description = "Replaced, by a new generation too, or renewed", body = schema::Instance),
        (status = 201, description = "A new instance", body = schema::Instance),
        (status = 202, description = "Taken, but less was reached than asked", body = schema::Instance),
        WriteRefusals)
)]
pub(super) async fn register(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let asked = Asked::read(request).await?;
    let instance = asked.place.instance()?;
    register_at(&app, &asked.call, &asked.parts, &asked.body, instance).await
}

pub(super) async fn register_at(
    app: &App,
    call: &Call,
    parts: &Parts,
    body: &[u8],
    instance: InstanceKey,
) -> Result<Response, Problem> {
    let mut query = Query::read(parts.uri.query())?;
    let ack = outcome::ack(&mut query)?;
    let generation = generation(query.text("generation").as_deref(), None)?;
    query.finish()?;
    Expected::refuse(&parts.headers)?;
    let mut object = Object::of_body(body)?;
    let provider = registration::provider(&mut object)?;
    object.finish()?;
    call.may(Verb::Register, &instance.service.namespace)?;
    let command = Command::Register { instance, provider: Box::new(provider), epoch: None, generation };
    let done = app.registry.submit_one(&call.caller(app), ack, command).await?;
    outcome::of_instance(app, &done, ack)
}

/// One instance
#[utoipa::path(
    get, path = "/v1/namespaces/{ns}/services/{service}/instances/{id}", operation_id = "get_instance", tag = "instances",
    params(InInstance, schema::Waiting),
    responses((status = 200, description = "The instance", body = schema::Instance), schema::NotModified, ReadRefusals)
)]
pub(super) async fn get_instance(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let key = Place::of(&mut parts).await?.instance()?;
    let mut query = Query::read(parts.uri.query())?;
    let reading = Reading::of(&mut query, &parts.headers)?;
    query.finish()?;
    call.may(Verb::Read, &key.service.namespace)?;
    let look = || look_at(&app, &key);
    let Found { what, has_waited } = reading.run(&app, &mut call, &key.service, look).await?;
    let mut response = match what {
        Ok((Some(body), basis)) => basis.json(StatusCode::OK, body),
        Ok((None, basis)) => basis.absent(absent(&app, &key)),
        Err(basis) => basis.not_modified(),
    };
    if has_waited {
        response.extensions_mut().insert(Waited);
    }
    Ok(response)
}

fn look_at(app: &App, key: &InstanceKey) -> (Option<bytes::Bytes>, Basis) {
    let view = app.registry.view(&key.service);
    match view.get(&key.id) {
        None => (None, Basis::of_view(&view)),
        Some(instance) => {
            let body = outcome::shown(key, instance);
            let is_logged = instance.revision != Revision::ZERO;
            let overlay = if is_logged { 0 } else { app.registry.status().counted.overlay };
            let basis = outcome::instance_basis(app, instance, overlay, &body);
            (Some(body), basis)
        }
    }
}

fn absent(app: &App, key: &InstanceKey) -> compute::Error {
    if app.registry.view(&key.service).exists() {
        compute::Error::not_found(What::Instance, key)
    } else {
        compute::Error::not_found(What::Service, &key.service)
    }
}

/// Deregister an instance
///
/// With `generation` only if it is still that one, so that an old process's shutdown never removes its successor.
#[utoipa::path(
    delete, path = "/v1/namespaces/{ns}/services/{service}/instances/{id}", operation_id = "deregister", tag = "instances",
    params(InInstance, schema::Acknowledged, schema::Generation),
    responses(
        (status = 202, description = "Taken, but less was reached than asked", body = schema::Accepted),
        (status = 204, description = "Removed"), WriteRefusals)
)]
pub(super) async fn deregister(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let asked = Asked::read(request).await?;
    let instance = asked.place.instance()?;
    let mut query = Query::read(asked.parts.uri.query())?;
    let ack = outcome::ack(&mut query)?;
    let generation = condition_of(&mut query, &asked.body)?;
    query.finish()?;
    Expected::refuse(&asked.parts.headers)?;
    asked.call.identity.may_deregister(&instance.service.namespace)?;
    let reason = removal_reason(&asked.call);
    let command = Command::Deregister { instance, generation, reason };
    let done = app.registry.submit_one(&asked.call.caller(&app), ack, command).await?;
    Ok(outcome::of_removal(&app, &done, ack))
}

/// Why what this caller removes is gone.
pub(super) fn removal_reason(call: &Call) -> RemovalReason {
    if call.identity.speaks_as_operator() { RemovalReason::Operator } else { RemovalReason::Deregistered }
}

/// `generation`, from the query or from a body that has nothing else.
fn condition_of(query: &mut Query<'_>, body: &[u8]) -> Result<Option<Revision>, Problem> {
    let mut object = Object::of_optional_body(body)?;
    let from_body = object.nullable_text("generation")?;
    object.finish()?;
    generation(query.text("generation").as_deref(), from_body.as_deref())
}

/// Renew the TTL lease of an instance
///
/// 404 tells to register again. Only a lease of kind `ttl` is renewed.
#[utoipa::path(
    post, path = "/v1/namespaces/{ns}/services/{service}/instances/{id}/renew", operation_id = "renew", tag = "instances",
    params(InInstance, schema::Generation), request_body(content = Option<schema::Condition>),
    responses((status = 204, description = "Renewed"), WriteRefusals)
)]
pub(super) async fn renew(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let asked = Asked::read(request).await?;
    let instance = asked.place.instance()?;
    renew_at(&app, &asked.call, &asked.parts, &asked.body, instance).await
}

pub(super) async fn renew_at(
    app: &App,
    call: &Call,
    parts: &Parts,
    body: &[u8],
    instance: InstanceKey,
) -> Result<Response, Problem> {
    let mut query = Query::read(parts.uri.query())?;
    let generation = condition_of(&mut query, body)?;
    query.finish()?;
    Expected::refuse(&parts.headers)?;
    call.may(Verb::Register, &instance.service.namespace)?;
    app.registry.renew(&call.caller(app), &instance, generation).await?;
    Ok(Basis::of_state(app, 0).no_content())
}

/// Set what an operator sets on an instance
///
/// Survives a re-register; ends when the instance is removed, unless `keep_ms` says how long it outlives it. `null`
/// clears a field, a field that is not named stays.
#[utoipa::path(
    patch, path = "/v1/namespaces/{ns}/services/{service}/instances/{id}/operator", operation_id = "operate",
    tag = "instances", params(InInstance, schema::Acknowledged, schema::Generation),
    request_body = schema::OperatorPatch,
    responses(
        (status = 200, description = "The instance", body = schema::Instance),
        (status = 202, description = "Taken, but less was reached than asked", body = schema::Instance),
        WriteRefusals)
)]
pub(super) async fn operate(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let asked = Asked::read(request).await?;
    let instance = asked.place.instance()?;
    let mut query = Query::read(asked.parts.uri.query())?;
    let ack = outcome::ack(&mut query)?;
    let mut object = Object::of_body(&asked.body)?;
    let patch = operator_patch(&mut object)?;
    let from_body = object.nullable_text("generation")?;
    object.finish()?;
    let generation = generation(query.text("generation").as_deref(), from_body.as_deref())?;
    query.finish()?;
    Expected::refuse(&asked.parts.headers)?;
    asked.call.may(Verb::Operate, &instance.service.namespace)?;
    let command = Command::Operate { instance, generation, patch };
    let done = app.registry.submit_one(&asked.call.caller(&app), ack, command).await?;
    outcome::of_instance(&app, &done, ack)
}

pub(super) fn operator_patch(object: &mut Object<'_>) -> Result<OperatorPatch, Problem> {
    let expires_at = object.settable("expires_at", "an RFC 3339 time or null", json::text)?;
    let expires_at_ms = match expires_at {
        None => Set::Leave,
        Some(None) => Set::Clear,
        Some(Some(text)) => Set::To(rfc3339::parse("expires_at", &text)?),
    };
    let patch = OperatorPatch {
        isolated: set(object.settable("isolated", "true, false or null", json::flag)?),
        weight: set(object.settable("weight", "a whole number, 0 to 10000, or null", json::whole)?),
        note: set(object.settable("note", "a string or null", json::text)?),
        expires_at_ms,
        keep_ms: set(object.settable("keep_ms", "a whole number, 0 to 604800000, or null", json::whole)?),
    };
    patch.check()?;
    Ok(patch)
}

fn set<T>(given: Option<Option<T>>) -> Set<T> {
    match given {
        None => Set::Leave,
        Some(None) => Set::Clear,
        Some(Some(value)) => Set::To(value),
    }
}
