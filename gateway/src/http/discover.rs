//! Discover: the read that everything else is for.
//!
//! Without a filter it is a look-up, the clone of a pointer, and bytes that the first reader had encoded.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::response::Response;
use compute::error::What;
use compute::model::{Selector, ServiceKey};
use compute::view::View;
use http::request::Parts;
use http::{Request, StatusCode};

use super::answer::Basis;
use super::condition::{Found, Reading};
use super::gate::Call;
use super::observe::Waited;
use super::path::Place;
use super::query::Query;
use super::schema::{self, Discovered, InService, ReadRefusals, Selection, Waiting};
use super::selection::{self, DISCOVER_LIMIT_MAX};
use super::{App, encode};
use crate::admission::Verb;
use crate::error::Problem;
use crate::listen::OfOneReader;

/// Less is not worth the mark that it is one reader's.
const FEW_BYTES: u64 = 4 << 10;

/// The instances of a service
///
/// Everything that is registered, the unhealthy and isolated too, unless a filter says otherwise. Never paged and,
/// without `limit`, never cut.
#[utoipa::path(
    get, path = "/v1/namespaces/{ns}/services/{service}/instances", operation_id = "discover", tag = "instances",
    params(InService, Selection, Waiting, schema::DiscoverLimit),
    responses((status = 200, description = "The view, at one revision", body = Discovered), schema::NotModified, ReadRefusals)
)]
pub(super) async fn discover(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let call = Call::of(&mut parts)?;
    let service = Place::of(&mut parts).await?.service()?;
    let query = Query::read(parts.uri.query())?;
    answer(&app, call, &parts, query, service).await
}

/// The instances of a service, with the names out of the path
///
/// The same as `discover`, for names and proxies that do not get on.
#[utoipa::path(
    get, path = "/v1/discover", operation_id = "discover_by_query", tag = "instances",
    params(schema::OfService, Selection, Waiting, schema::DiscoverLimit),
    responses((status = 200, description = "The view, at one revision", body = Discovered), schema::NotModified, ReadRefusals)
)]
pub(super) async fn discover_by_query(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let call = Call::of(&mut parts)?;
    let mut query = Query::read(parts.uri.query())?;
    let service = selection::service(&mut query)?;
    let service = service.ok_or_else(|| Problem::missing("service", "the name of a service"))?;
    answer(&app, call, &parts, query, service).await
}

pub(super) async fn answer(
    app: &App,
    mut call: Call,
    parts: &Parts,
    mut query: Query<'_>,
    service: ServiceKey,
) -> Result<Response, Problem> {
    let selector = selection::selector(&mut query)?;
    let limit = query.whole("limit", 1, DISCOVER_LIMIT_MAX.into())?.map(|limit| limit as usize);
    let reading = Reading::of(&mut query, &parts.headers)?;
    query.finish()?;
    call.may(Verb::Read, &service.namespace)?;
    let look = || {
        let view = selected(app, &service, &selector);
        let basis = Basis::of_view(&view);
        (view, basis)
    };
    let Found { what, has_waited } = reading.run(app, &mut call, &service, look).await?;
    let mut response = match what {
        Ok((view, basis)) => show(&view, &basis, limit),
        Err(basis) => basis.not_modified(),
    };
    // As long as nobody else asks the same it is kept for this reader alone.
    if !selector.is_everything() && response.body().size_hint().lower() > FEW_BYTES {
        response.extensions_mut().insert(OfOneReader);
    }
    if has_waited {
        response.extensions_mut().insert(Waited);
    }
    Ok(response)
}

fn selected(app: &App, service: &ServiceKey, selector: &Selector) -> Arc<View> {
    app.registry.selected(service, selector)
}

fn show(view: &View, basis: &Basis, limit: Option<usize>) -> Response {
    if !view.exists() {
        return unknown(&view.service, basis);
    }
    let body = match limit {
        None => encode::view(view),
        Some(limit) => encode::view_cut(view, limit),
    };
    basis.json(StatusCode::OK, body)
}

/// That nobody registered a service is an answer from the state too: it can be waited on.
pub(super) fn unknown(service: &ServiceKey, basis: &Basis) -> Response {
    basis.absent(compute::Error::not_found(What::Service, service))
}
