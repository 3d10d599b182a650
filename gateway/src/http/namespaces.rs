//! Namespaces.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use compute::command::{Answer, Command};
use compute::model::{Metadata, Namespace, NamespaceRow, NamespaceSettings};
use http::{Request, StatusCode};

use super::answer::Basis;
use super::condition::{Expected, Reading};
use super::encode::{self, Json};
use super::gate::Call;
use super::instances::Asked;
use super::json::Object;
use super::outcome::{self, Verdict};
use super::path::Place;
use super::query::Query;
use super::schema::{self, InNamespace, ReadRefusals, WriteRefusals};
use super::selection::Page;
use super::{App, registration};
use crate::admission::Verb;
use crate::error::Problem;
use crate::listing::Spread;

/// The namespaces that the caller sees
#[utoipa::path(
    get, path = "/v1/namespaces", operation_id = "list_namespaces", tag = "namespaces",
    params(schema::Paging, schema::AtOnce),
    responses((status = 200, description = "A page, in order", body = schema::Namespaces), schema::NotModified, ReadRefusals)
)]
pub(super) async fn list_namespaces(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let mut query = Query::read(parts.uri.query())?;
    let page = Page::of(&mut query)?;
    let reading = Reading::at_once(&mut query, &parts.headers)?;
    query.finish()?;
    reading.reach(&app, &mut call).await?;
    let mut found = seen(&app, &call, &page);
    let has_more = found.len() > page.limit;
    found.truncate(page.limit);
    let next = found.last().filter(|_| has_more).map(|(name, _)| name.as_str());
    let write = |json: &mut Json, (name, row): &(Namespace, NamespaceRow)| encode::namespace(json, name, row);
    Ok(list(&app, &reading, Shown { items: &found, overlay: 0, next }, write))
}

/// A page and one more, of those that the caller may see.
fn seen(app: &App, call: &Call, page: &Page) -> Vec<(Namespace, NamespaceRow)> {
    const AT_ONCE: usize = 1_000;
    // A cursor is a name that was shown; anything else is behind nothing that exists.
    let mut after = page.after.as_deref().and_then(|name| Namespace::new(name).ok());
    let mut found = Vec::new();
    loop {
        let some = app.registry.namespaces(after.as_ref(), AT_ONCE);
        let is_last = some.len() < AT_ONCE;
        after = some.last().map(|(name, _)| name.clone());
        found.extend(some.into_iter().filter(|(name, _)| call.identity.sees(name)));
        if is_last || found.len() > page.limit {
            found.truncate(page.limit + 1);
            return found;
        }
    }
}

/// A page of a list.
pub(super) struct Shown<'a, T> {
    pub(super) items: &'a [T],
    /// Changes in it that are not in the log yet.
    pub(super) overlay: usize,
    pub(super) next: Option<&'a str>,
}

/// A list as every list is answered.
pub(super) fn list<T>(app: &App, reading: &Reading, shown: Shown<'_, T>, write: impl Fn(&mut Json, &T)) -> Response {
    list_with(app, reading, shown, write, |_| {})
}

/// A page of what all nodes together know.
pub(super) fn spread<T>(app: &App, reading: &Reading, shown: &Spread<T>, write: impl Fn(&mut Json, &T)) -> Response {
    let page = Shown { items: &shown.items, overlay: 0, next: shown.next.as_deref() };
    list_with(app, reading, page, write, |json| json.texts("unanswered", shown.unanswered.iter().map(AsRef::as_ref)))
}

fn list_with<T>(
    app: &App,
    reading: &Reading,
    shown: Shown<'_, T>,
    write: impl Fn(&mut Json, &T),
    more: impl Fn(&mut Json),
) -> Response {
    let body = Json::of_object(|json| {
        json.list("items", |json| shown.items.iter().for_each(|item| json.element(|json| write(json, item))));
        json.nullable("next_cursor", shown.next);
        more(json);
    });
    let basis = Basis::of_content(app, &body, shown.overlay);
    if reading.has(&basis) { basis.not_modified() } else { basis.json(StatusCode::OK, body) }
}

/// One namespace
#[utoipa::path(
    get, path = "/v1/namespaces/{ns}", operation_id = "get_namespace", tag = "namespaces",
    params(InNamespace, schema::AtOnce),
    responses((status = 200, description = "The namespace", body = schema::Namespace), schema::NotModified, ReadRefusals)
)]
pub(super) async fn get_namespace(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let namespace = Place::of(&mut parts).await?.namespace()?;
    let mut query = Query::read(parts.uri.query())?;
    let reading = Reading::at_once(&mut query, &parts.headers)?;
    query.finish()?;
    call.may(Verb::Read, &namespace)?;
    reading.reach(&app, &mut call).await?;
    let row = match app.registry.namespace(&namespace) {
        Ok(row) => row,
        Err(error) => return Ok(Basis::nothing().absent(error)),
    };
    let basis = basis(&row);
    if reading.has(&basis) {
        return Ok(basis.not_modified());
    }
    Ok(basis.json(StatusCode::OK, shown(&namespace, &row)))
}

fn basis(row: &NamespaceRow) -> Basis {
    Basis::of_revision(row.revision, 0)
}

fn shown(namespace: &Namespace, row: &NamespaceRow) -> bytes::Bytes {
    let mut json = Json::with_capacity(256);
    encode::namespace(&mut json, namespace, row);
    json.into_bytes()
}

/// Make a namespace, or replace its settings
#[utoipa::path(
    put, path = "/v1/namespaces/{ns}", operation_id = "put_namespace", tag = "namespaces",
    params(InNamespace, schema::Acknowledged), request_body(content = Option<schema::NamespaceSettings>),
    responses(
        (status = 200, description = "Replaced", body = schema::Namespace),
        (status = 201, description = "Made", body = schema::Namespace),
        (status = 202, description = "Taken, but less was reached than asked", body = schema::Accepted),
        WriteRefusals)
)]
pub(super) async fn put_namespace(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let asked = Asked::read(request).await?;
    let namespace = asked.place.namespace()?;
    let mut query = Query::read(asked.parts.uri.query())?;
    let ack = outcome::ack(&mut query)?;
    query.finish()?;
    Expected::refuse(&asked.parts.headers)?;
    let mut object = Object::of_optional_body(&asked.body)?;
    let settings = NamespaceSettings {
        description: object.text("description")?.unwrap_or_default().into(),
        metadata: Metadata::new(&registration::metadata(&mut object)?.unwrap_or_default())?,
    };
    object.finish()?;
    settings.check()?;
    asked.call.may(Verb::Operate, &namespace)?;
    let command = Command::PutNamespace { namespace, settings };
    let done = app.registry.submit_one(&asked.call.caller(&app), ack, command).await?;
    let Answer::Namespace { namespace, row, created } = &done.answer else { return Err(outcome::unexpected()) };
    let verdict = Verdict::of(&done, ack, outcome::done(*created));
    if verdict.short.is_some() {
        return Ok(outcome::accepted(&app, &done, verdict));
    }
    let basis = outcome::settings_basis(&app, &done, row.revision);
    Ok(basis.json(verdict.status, shown(namespace, row)))
}

/// Delete a namespace that holds no services
#[utoipa::path(
    delete, path = "/v1/namespaces/{ns}", operation_id = "delete_namespace", tag = "namespaces",
    params(InNamespace, schema::Acknowledged),
    responses(
        (status = 202, description = "Taken, but less was reached than asked", body = schema::Accepted),
        (status = 204, description = "Deleted"), WriteRefusals)
)]
pub(super) async fn delete_namespace(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let asked = Asked::read(request).await?;
    asked.has_no_body()?;
    let namespace = asked.place.namespace()?;
    let mut query = Query::read(asked.parts.uri.query())?;
    let ack = outcome::ack(&mut query)?;
    query.finish()?;
    Expected::refuse(&asked.parts.headers)?;
    asked.call.may(Verb::Operate, &namespace)?;
    let done = app.registry.submit_one(&asked.call.caller(&app), ack, Command::DeleteNamespace { namespace }).await?;
    Ok(outcome::of_removal(&app, &done, ack))
}
