//! Services: their settings, and who watches them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use compute::command::{Answer, Command, ServicePatch};
use compute::error::What;
use compute::model::{Metadata, Namespace, Revision, ServiceKey, ServiceName, ServiceSettings};
use compute::registry::Watching;
use compute::view::View;
use http::{Request, StatusCode};

use super::answer::Basis;
use super::condition::{Expected, Found, Reading};
use super::encode::{self, Json};
use super::gate::Call;
use super::instances::Asked;
use super::json::{self, Object};
use super::namespaces::{Shown, list, spread};
use super::observe::Waited;
use super::outcome::{self, Verdict};
use super::path::Place;
use super::query::Query;
use super::schema::{self, InNamespace, InService, ReadRefusals, WriteRefusals};
use super::selection::Page;
use super::{App, discover};
use crate::admission::Verb;
use crate::error::Problem;
use crate::listing;
use crate::precondition::Conditional;

/// The services of a namespace
#[utoipa::path(
    get, path = "/v1/namespaces/{ns}/services", operation_id = "list_services", tag = "services",
    params(InNamespace, schema::Prefix, schema::Paging, schema::AtOnce),
    responses((status = 200, description = "A page, in order", body = schema::Services), schema::NotModified, ReadRefusals)
)]
pub(super) async fn list_services(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let namespace = Place::of(&mut parts).await?.namespace()?;
    let mut query = Query::read(parts.uri.query())?;
    let prefix = query.text("prefix").unwrap_or_default().into_owned();
    listing::check_prefix(&prefix)?;
    let page = Page::of(&mut query)?;
    let reading = Reading::at_once(&mut query, &parts.headers)?;
    query.finish()?;
    call.may(Verb::Read, &namespace)?;
    reading.reach(&app, &mut call).await?;
    let names = match app.registry.services(&namespace, &prefix, page.after.as_deref(), page.limit + 1) {
        Ok(names) => names,
        Err(error) => return Ok(Basis::nothing().absent(error)),
    };
    let (names, next) = listing::page(names, page.limit, ServiceName::clone);
    let views: Vec<Arc<View>> = names.iter().map(|name| view_of(&app, &namespace, name)).collect();
    let overlay = views.iter().map(|view| view.overlay as usize).sum();
    let shown = Shown { items: &views, overlay, next: next.as_ref().map(ServiceName::as_str) };
    Ok(list(&app, &reading, shown, |json, view| service(json, view)))
}

fn view_of(app: &App, namespace: &Namespace, service: &ServiceName) -> Arc<View> {
    app.registry.view(&ServiceKey { namespace: namespace.clone(), service: service.clone() })
}

fn service(json: &mut Json, view: &View) {
    encode::service(json, &view.service, view.row.as_deref(), Some(view.counts));
}

/// One service
///
/// The ETag is that of its settings, for `If-Match`; the counts of instances have no part in it.
#[utoipa::path(
    get, path = "/v1/namespaces/{ns}/services/{service}", operation_id = "get_service", tag = "services",
    params(InService, schema::Waiting),
    responses((status = 200, description = "The service", body = schema::Service), schema::NotModified, ReadRefusals)
)]
pub(super) async fn get_service(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let key = Place::of(&mut parts).await?.service()?;
    let mut query = Query::read(parts.uri.query())?;
    let reading = Reading::of(&mut query, &parts.headers)?;
    query.finish()?;
    call.may(Verb::Read, &key.namespace)?;
    let look = || {
        let view = app.registry.view(&key);
        let basis = settings_basis(&view);
        (view, basis)
    };
    let Found { what, has_waited } = reading.run(&app, &mut call, &key, look).await?;
    let mut response = match what {
        Ok((view, basis)) if !view.exists() => discover::unknown(&key, &basis),
        Ok((view, basis)) => {
            let mut json = Json::with_capacity(512);
            service(&mut json, &view);
            basis.json(StatusCode::OK, json.into_bytes())
        }
        Err(basis) => basis.not_modified(),
    };
    if has_waited {
        response.extensions_mut().insert(Waited);
    }
    Ok(response)
}

fn settings_basis(view: &View) -> Basis {
    let revision = view.row.as_ref().map_or(Revision::ZERO, |row| row.settings_revision);
    Basis::of_revision(revision, view.overlay as usize)
}

/// Describe a service, making it if it is not there
///
/// What is not named is set to its default.
#[utoipa::path(
    put, path = "/v1/namespaces/{ns}/services/{service}", operation_id = "put_service", tag = "services",
    params(InService, schema::Acknowledged, schema::IfMatch), request_body(content = Option<schema::ServiceSettings>),
    responses(
        (status = 200, description = "Replaced", body = schema::Service),
        (status = 201, description = "Made", body = schema::Service),
        (status = 202, description = "Taken, but less was reached than asked", body = schema::Accepted),
        WriteRefusals)
)]
pub(super) async fn put_service(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    write(app, request, true).await
}

/// Change some settings of a service
///
/// What is not named stays; `null` sets a field to its default.
#[utoipa::path(
    patch, path = "/v1/namespaces/{ns}/services/{service}", operation_id = "patch_service", tag = "services",
    params(InService, schema::Acknowledged, schema::IfMatch), request_body = schema::ServicePatch,
    responses(
        (status = 200, description = "Changed", body = schema::Service),
        (status = 202, description = "Taken, but less was reached than asked", body = schema::Accepted),
        WriteRefusals)
)]
pub(super) async fn patch_service(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    write(app, request, false).await
}

async fn write(app: App, request: Request<Body>, whole: bool) -> Result<Response, Problem> {
    let asked = Asked::read(request).await?;
    let service = asked.place.service()?;
    let mut query = Query::read(asked.parts.uri.query())?;
    let ack = outcome::ack(&mut query)?;
    query.finish()?;
    let expected = Expected::of(&asked.parts.headers)?;
    let mut object = if whole { Object::of_optional_body(&asked.body)? } else { Object::of_body(&asked.body)? };
    let patch = if whole { settings(&mut object)? } else { some_settings(&mut object)? };
    object.finish()?;
    patch.over(&ServiceSettings::default()).check()?;
    asked.call.may(Verb::Operate, &service.namespace)?;
    if !whole && !app.registry.view(&service).exists() {
        return Err(compute::Error::not_found(What::Service, &service).into());
    }
    let command = |expected| Command::PutService { service: service.clone(), patch: patch.clone(), expected };
    let conditional = Conditional { registry: &app.registry, service: &service, expected, field: "if-match" };
    let done = conditional.submit(&asked.call.caller(&app), ack, command).await?;
    let Answer::Service { service, row, created } = &done.answer else { return Err(outcome::unexpected()) };
    let verdict = Verdict::of(&done, ack, outcome::done(*created));
    if verdict.short.is_some() {
        return Ok(outcome::accepted(&app, &done, verdict));
    }
    let basis = outcome::settings_basis(&app, &done, row.settings_revision);
    let mut json = Json::with_capacity(512);
    encode::service(&mut json, service, Some(row), Some(app.registry.view(service).counts));
    Ok(basis.json(verdict.status, json.into_bytes()))
}

fn settings(object: &mut Object<'_>) -> Result<ServicePatch, Problem> {
    let metadata = super::registration::metadata(object)?.unwrap_or_default();
    Ok(ServicePatch {
        whole: true,
        description: object.text("description")?.map(Into::into),
        owner: object.text("owner")?.map(Into::into),
        metadata: Some(Metadata::new(&metadata)?),
        protect_threshold: object.number("protect_threshold")?,
    })
}

/// As [`settings`], but what is not named stays, and `null` is the default.
fn some_settings(object: &mut Object<'_>) -> Result<ServicePatch, Problem> {
    let metadata = match object.nullable_object("metadata")? {
        None => None,
        Some(None) => Some(Metadata::default()),
        Some(Some(pairs)) => Some(Metadata::new(&pairs.every("a string", json::text)?)?),
    };
    let text = |given: Option<Option<String>>| given.map(|text| text.unwrap_or_default().into());
    Ok(ServicePatch {
        whole: false,
        description: text(object.settable("description", "a string or null", json::text)?),
        owner: text(object.settable("owner", "a string or null", json::text)?),
        metadata,
        protect_threshold: object
            .settable("protect_threshold", "a number, 0 to 1, or null", json::number)?
            .map(|threshold| threshold.unwrap_or(0.0)),
    })
}

/// Delete a service that has no instances
#[utoipa::path(
    delete, path = "/v1/namespaces/{ns}/services/{service}", operation_id = "delete_service", tag = "services",
    params(InService, schema::Acknowledged, schema::IfMatch),
    responses(
        (status = 202, description = "Taken, but less was reached than asked", body = schema::Accepted),
        (status = 204, description = "Deleted"), WriteRefusals)
)]
pub(super) async fn delete_service(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let asked = Asked::read(request).await?;
    asked.has_no_body()?;
    let service = asked.place.service()?;
    let mut query = Query::read(asked.parts.uri.query())?;
    let ack = outcome::ack(&mut query)?;
    query.finish()?;
    let expected = Expected::of(&asked.parts.headers)?;
    asked.call.may(Verb::Operate, &service.namespace)?;
    let command = |expected| Command::DeleteService { service: service.clone(), expected };
    let conditional = Conditional { registry: &app.registry, service: &service, expected, field: "if-match" };
    let done = conditional.submit(&asked.call.caller(&app), ack, command).await?;
    Ok(outcome::of_removal(&app, &done, ack))
}

/// Who watches a service now, through any node
///
/// The other nodes are asked, and have 500 ms to answer.
#[utoipa::path(
    get, path = "/v1/namespaces/{ns}/services/{service}/subscribers", operation_id = "list_subscribers",
    tag = "services", params(InService, schema::PagingByCount, schema::AtOnce),
    responses((status = 200, description = "A page", body = schema::Subscribers), schema::NotModified, ReadRefusals)
)]
pub(super) async fn list_subscribers(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let key = Place::of(&mut parts).await?.service()?;
    let mut query = Query::read(parts.uri.query())?;
    let page = Page::of(&mut query)?;
    let reading = Reading::at_once(&mut query, &parts.headers)?;
    query.finish()?;
    call.may(Verb::Read, &key.namespace)?;
    reading.reach(&app, &mut call).await?;
    call.wait_for_others(&app)?;
    match listing::subscribers(&app.registry, &key, page.after.as_deref(), page.limit).await {
        Ok(found) => Ok(spread(&app, &reading, &found, subscriber)),
        Err(error @ compute::Error::NotFound { .. }) => Ok(Basis::of_view(&app.registry.view(&key)).absent(error)),
        Err(error) => Err(error.into()),
    }
}

fn subscriber(json: &mut Json, Watching { node, subscription }: &Watching) {
    let who = &subscription.subscriber;
    json.object(|json| {
        json.text("client", &who.name);
        json.text("door", &who.door);
        json.nullable("address", who.address.map(|address| address.to_string()).as_deref());
        json.text("node", node);
        json.revision("sent_revision", subscription.sent);
        json.revision("acknowledged_revision", subscription.acknowledged.unwrap_or(Revision::ZERO));
    });
}
