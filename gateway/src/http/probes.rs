//! Whether the process lives and the node is ready, and its metrics.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use compute::node::Readiness;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use super::App;
use super::query::Query;
use super::schema::{OpenRefusals, ReadRefusals, Unready};
use crate::error::{Code, Problem};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The process lives
#[utoipa::path(
    get, path = "/livez", operation_id = "livez", tag = "process", security(()),
    responses((status = 200, description = "It does", body = String, content_type = "text/plain"), OpenRefusals)
)]
pub(super) async fn livez(RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Query::read(query.as_deref())?.finish()?;
    Ok(text(TEXT, "alive\n".to_owned()))
}

/// The node may answer
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "process", security(()),
    responses((status = 200, description = "It may", body = String, content_type = "text/plain"), OpenRefusals, Unready)
)]
pub(super) async fn readyz(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Query::read(query.as_deref())?.finish()?;
    match app.registry.readiness() {
        Readiness::Ready => Ok(text(TEXT, "ready\n".to_owned())),
        Readiness::NotReady(why) => Err(compute::Error::NotReady(why).into()),
        Readiness::Draining => Err(Problem::new(Code::NotReady, "this node drains; use another")),
    }
}

/// Metrics, as Prometheus reads them
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "process",
    responses((status = 200, description = "All metrics", body = String, content_type = "text/plain"), ReadRefusals)
)]
pub(super) async fn metrics(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Query::read(query.as_deref())?.finish()?;
    Ok(text(METRICS, (app.surroundings.metrics)()))
}

fn text(kind: HeaderValue, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
