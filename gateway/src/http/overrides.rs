//! Operators' words that outlived their instances.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use compute::command::{Command, KeptOverride};
use compute::error::What;
use compute::model::InstanceKey;
use http::{Request, StatusCode};

use super::answer::Basis;
use super::condition::{Expected, Reading};
use super::encode::{self, Json};
use super::gate::Call;
use super::instances::Asked;
use super::namespaces::list;
use super::path::Place;
use super::query::Query;
use super::schema::{self, InInstance, InService, ReadRefusals, WriteRefusals};
use super::selection::Page;
use super::{App, outcome};
use crate::admission::Verb;
use crate::error::Problem;
use crate::etag::Etag;

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
    let mut kept = app.registry.kept_overrides(&service).to_vec();
    if kept.is_empty() && !app.registry.view(&service).exists() {
        return Ok(Problem::from(compute::Error::not_found(What::Service, &service)).into_response());
    }
    if let Some(after) = &page.after {
        kept.retain(|one| one.instance.id.as_str() > after.as_str());
    }
    let has_more = kept.len() > page.limit;
    kept.truncate(page.limit);
    let next = kept.last().filter(|_| has_more).map(|one| one.instance.id.as_str());
    Ok(list(&app, &reading, &kept, next, encode::kept_override))
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
    let kept = find(&app, &key)?;
    let basis = Basis { etag: Etag::of_revision(kept.row.operator.revision), overlay: 0 };
    if reading.has(&basis) {
        return Ok(basis.not_modified());
    }
    let mut json = Json::with_capacity(256);
    encode::kept_override(&mut json, &kept);
    Ok(basis.json(StatusCode::OK, json.into_bytes()))
}

fn find(app: &App, key: &InstanceKey) -> Result<KeptOverride, Problem> {
    let kept = app.registry.kept_overrides(&key.service);
    let found = kept.binary_search_by(|one| one.instance.cmp(key)).ok().map(|at| kept[at].clone());
    found.ok_or_else(|| compute::Error::not_found(What::Override, key).into())
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
    let asked = Asked::read(&app, request).await?;
    asked.has_no_body()?;
    let instance = asked.place.instance()?;
    let mut query = Query::read(asked.parts.uri.query())?;
    let ack = outcome::ack(&mut query)?;
    query.finish()?;
    Expected::refuse(&asked.parts.headers)?;
    asked.call.may(Verb::Operate, &instance.service.namespace)?;
    let done = app.registry.submit_one(&asked.call.caller(&app), ack, Command::DropOverride { instance }).await?;
    Ok(outcome::of_removal(&done, ack))
}
