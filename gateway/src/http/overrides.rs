//! Operators' words that outlived their instances, or come before them.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use compute::command::{Answer, Command, KeptOverride};
use compute::model::Process;
use http::{Request, StatusCode};

use super::answer::Basis;
use super::condition::{Expected, Reading};
use super::encode::{self, Json};
use super::gate::Call;
use super::instances::{Asked, operator_patch};
use super::json::Object;
use super::namespaces::{Shown, list};
use super::outcome::Verdict;
use super::path::Place;
use super::query::Query;
use super::schema::{self, InInstance, InService, ReadRefusals, WriteRefusals};
use super::selection::Page;
use super::{App, outcome, rfc3339};
use crate::admission::Verb;
use crate::error::Problem;
use crate::listing;

/// The kept overrides of a service
#[utoipa::path(
    get, path = "/v1/namespaces/{ns}/services/{service}/overrides", operation_id = "list_overrides", tag = "overrides",
    params(InService, schema::Paging, schema::AtOnce),
    responses((status = 200, description = "A page, by id", body = schema::Overrides), schema::NotModified, ReadRefusals)
)]
pub(super) async fn list_overrides(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let service = Place::of(&mut parts).await?.service()?;
    let mut query = Query::read(parts.uri.query())?;
    let page = Page::of(&mut query)?;
    let reading = Reading::at_once(&mut query, &parts.headers)?;
    query.finish()?;
    call.may(Verb::Read, &service.namespace)?;
    reading.reach(&app, &mut call).await?;
    match listing::overrides(&app.registry, &service, page.after.as_deref(), page.limit) {
        Ok((kept, next)) => {
            let shown = Shown { items: &kept, overlay: 0, next: next.as_deref() };
            Ok(list(&app, &reading, shown, encode::kept_override))
        }
        Err(error) => Ok(Basis::of_view(&app.registry.view(&service)).absent(error)),
    }
}

/// One kept override
#[utoipa::path(
    get, path = "/v1/namespaces/{ns}/services/{service}/overrides/{id}", operation_id = "get_override",
    tag = "overrides", params(InInstance, schema::AtOnce),
    responses((status = 200, description = "What is kept", body = schema::Override), schema::NotModified, ReadRefusals)
)]
pub(super) async fn get_override(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let key = Place::of(&mut parts).await?.instance()?;
    let mut query = Query::read(parts.uri.query())?;
    let reading = Reading::at_once(&mut query, &parts.headers)?;
    query.finish()?;
    call.may(Verb::Read, &key.service.namespace)?;
    reading.reach(&app, &mut call).await?;
    let kept = match listing::kept_override(&app.registry, &key) {
        Ok(kept) => kept,
        Err(error) => return Ok(Basis::of_view(&app.registry.view(&key.service)).absent(error)),
    };
    let basis = Basis::of_revision(kept.row.operator.revision, 0);
    if reading.has(&basis) {
        return Ok(basis.not_modified());
    }
    Ok(basis.json(StatusCode::OK, shown(&kept)))
}

fn shown(kept: &KeptOverride) -> bytes::Bytes {
    let mut json = Json::with_capacity(256);
    encode::kept_override(&mut json, kept);
    json.into_bytes()
}

/// Set what an operator sets where nobody is registered, for whoever comes
///
/// Whole: it takes the place of what is kept there. It is kept until `kept_until`, or else for `keep_ms`; with
/// `incarnation` only the process of that name gets it. 409 where somebody is registered: that is `operate`'s.
#[utoipa::path(
    put, path = "/v1/namespaces/{ns}/services/{service}/overrides/{id}", operation_id = "put_override",
    tag = "overrides", params(InInstance, schema::Acknowledged), request_body = schema::KeptWord,
    responses(
        (status = 200, description = "Replaced, or the same as before", body = schema::Override),
        (status = 201, description = "There was none before", body = schema::Override),
        (status = 202, description = "Taken, but less was reached than asked", body = schema::Accepted),
        WriteRefusals)
)]
pub(super) async fn put_override(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let asked = Asked::read(request).await?;
    let instance = asked.place.instance()?;
    let mut query = Query::read(asked.parts.uri.query())?;
    let ack = outcome::ack(&mut query)?;
    query.finish()?;
    Expected::refuse(&asked.parts.headers)?;
    let mut object = Object::of_body(&asked.body)?;
    let word = operator_patch(&mut object)?;
    let until_ms = object.nullable_text("kept_until")?.map(|at| rfc3339::parse("kept_until", &at)).transpose()?;
    let only_for = object.nullable_text("incarnation")?.map(|name| Process::named(&name)).transpose()?;
    object.finish()?;
    asked.call.may(Verb::Operate, &instance.service.namespace)?;
    let command = Command::KeepOverride { instance, word, until_ms, only_for };
    let done = app.registry.submit_one(&asked.call.caller(&app), ack, command).await?;
    let Answer::Override { kept, created } = &done.answer else { return Err(outcome::unexpected()) };
    let verdict = Verdict::of(&done, ack, outcome::done(*created));
    if verdict.short.is_some() {
        return Ok(outcome::accepted(&app, &done, verdict));
    }
    let basis = outcome::settings_basis(&app, &done, kept.row.operator.revision);
    Ok(basis.json(verdict.status, shown(kept)))
}

/// Forget a kept override
#[utoipa::path(
    delete, path = "/v1/namespaces/{ns}/services/{service}/overrides/{id}", operation_id = "delete_override",
    tag = "overrides", params(InInstance, schema::Acknowledged),
    responses(
        (status = 202, description = "Taken, but less was reached than asked", body = schema::Accepted),
        (status = 204, description = "Forgotten"), WriteRefusals)
)]
pub(super) async fn delete_override(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let asked = Asked::read(request).await?;
    asked.has_no_body()?;
    let instance = asked.place.instance()?;
    let mut query = Query::read(asked.parts.uri.query())?;
    let ack = outcome::ack(&mut query)?;
    query.finish()?;
    Expected::refuse(&asked.parts.headers)?;
    asked.call.may(Verb::Operate, &instance.service.namespace)?;
    let done = app.registry.submit_one(&asked.call.caller(&app), ack, Command::DropOverride { instance }).await?;
    Ok(outcome::of_removal(&app, &done, ack))
}
