//! Operators' words that outlived their instances.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use compute::command::Command;
use http::{Request, StatusCode};

use super::answer::Basis;
use super::condition::{Expected, Reading};
use super::encode::{self, Json};
use super::gate::Call;
use super::instances::Asked;
use super::namespaces::{Shown, list};
use super::path::Place;
use super::query::Query;
use super::schema::{self, InInstance, InService, ReadRefusals, WriteRefusals};
use super::selection::Page;
use super::{App, outcome};
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
    let mut json = Json::with_capacity(256);
    encode::kept_override(&mut json, &kept);
    Ok(basis.json(StatusCode::OK, json.into_bytes()))
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
