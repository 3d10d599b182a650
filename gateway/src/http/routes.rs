//! Every route, with what it asks for.

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::browser::Head;
use super::gate::{GateLayer, Needs, Operation};
use super::{
    App, batch, body, discover, docs, instances, namespaces, nodes, openapi, overrides, probes, prometheus, services,
    watch,
};
use crate::admission::{Lane, Verb};
use crate::error::{Code, Problem};

const READ: Needs = Needs::State(&[Verb::Read]);
const REGISTER: Needs = Needs::State(&[Verb::Register]);
/// Providers remove what they registered, and operators what they see fit.
const DEREGISTER: Needs = Needs::State(&[Verb::Register, Verb::Operate]);
const OPERATE: Needs = Needs::State(&[Verb::Operate]);
/// Of the node itself, ready or not.
const LOOK: Needs = Needs::Token(&[Verb::Read]);
const HANDLE: Needs = Needs::Token(&[Verb::Operate]);
const OPEN: Needs = Needs::Nothing;

/// What the shortcut of [`super::express`] answers asks for the same as its route.
pub(super) const DISCOVER: Operation = Operation {
    method: "GET",
    path: "/v1/namespaces/{ns}/services/{service}/instances",
    lane: Lane::Read,
    needs: READ,
};
pub(super) const REGISTER_ONE: Operation = Operation {
    method: "PUT",
    path: "/v1/namespaces/{ns}/services/{service}/instances/{id}",
    lane: Lane::Write,
    needs: REGISTER,
};
pub(super) const RENEW_ONE: Operation = Operation {
    method: "POST",
    path: "/v1/namespaces/{ns}/services/{service}/instances/{id}/renew",
    lane: Lane::Renew,
    needs: REGISTER,
};

/// Collects routes, each behind its gate.
struct Routes<'a> {
    app: &'a App,
    router: OpenApiRouter<App>,
}

impl Routes<'_> {
    fn add(mut self, (schemas, paths, handler): UtoipaMethodRouter<App>, lane: Lane, needs: Needs) -> Self {
        let (method, path) = named(&paths);
        let gate = GateLayer::new(self.app.clone(), Operation { method, path, lane, needs });
        self.router = self.router.routes((schemas, paths, handler.route_layer(gate)));
        self
    }

    fn read(self, route: UtoipaMethodRouter<App>) -> Self {
        self.add(route, Lane::Read, READ)
    }

    fn write(self, route: UtoipaMethodRouter<App>, needs: Needs) -> Self {
        self.add(route, Lane::Write, needs)
    }
}

/// Method and path of a route that was made of one handler, for its metrics. Routes are made once in a process: what
/// is leaked here is as many words as there are routes.
fn named(paths: &utoipa::openapi::path::Paths) -> (&'static str, &'static str) {
    let Some((path, item)) = paths.paths.iter().next() else { return ("", "") };
    let methods = [
        ("GET", item.get.is_some()),
        ("PUT", item.put.is_some()),
        ("POST", item.post.is_some()),
        ("PATCH", item.patch.is_some()),
        ("DELETE", item.delete.is_some()),
    ];
    let method = methods.into_iter().find(|(_, is)| *is).map_or("", |(method, _)| method);
    (method, String::leak(path.clone()))
}

/// The door's routes, and the reference that was made of them.
pub(super) fn router(app: &App) -> (Router, OpenApi) {
    let routes = Routes { app, router: OpenApiRouter::with_openapi(openapi::frame()) };
    let routes = process(nodes_of(watching(settings(presence(routes)))));
    let (router, reference) = routes.router.split_for_parts();
    let reference = openapi::complete(reference);
    let router = router
        .merge(docs::router(&reference, |needs, path| {
            GateLayer::new(app.clone(), Operation { method: "GET", path, lane: Lane::Read, needs })
        }))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app.clone())
        .layer(CatchPanicLayer::custom(panicked));
    (router, reference)
}

fn presence(routes: Routes<'_>) -> Routes<'_> {
    routes
        .read(routes!(discover::discover))
        .read(routes!(discover::discover_by_query))
        .read(routes!(prometheus::prometheus_sd))
        .read(routes!(instances::get_instance))
        .write(routes!(instances::register), REGISTER)
        .write(routes!(instances::deregister), DEREGISTER)
        .add(routes!(instances::renew), Lane::Renew, REGISTER)
        .write(routes!(instances::operate), OPERATE)
        .write(routes!(batch::batch_register), REGISTER)
        .add(routes!(batch::batch_renew), Lane::Renew, REGISTER)
        .write(routes!(batch::batch_deregister), DEREGISTER)
}

fn settings(routes: Routes<'_>) -> Routes<'_> {
    routes
        .read(routes!(namespaces::list_namespaces))
        .read(routes!(namespaces::get_namespace))
        .write(routes!(namespaces::put_namespace), OPERATE)
        .write(routes!(namespaces::delete_namespace), OPERATE)
        .read(routes!(services::list_services))
        .read(routes!(services::get_service))
        .write(routes!(services::put_service), OPERATE)
        .write(routes!(services::patch_service), OPERATE)
        .write(routes!(services::delete_service), OPERATE)
        .read(routes!(services::list_subscribers))
        .read(routes!(overrides::list_overrides))
        .read(routes!(overrides::get_override))
        .write(routes!(overrides::put_override), OPERATE)
        .write(routes!(overrides::delete_override), OPERATE)
}

fn watching(routes: Routes<'_>) -> Routes<'_> {
    routes
        .read(routes!(watch::watch_service))
        .read(routes!(watch::watch_namespace))
        .read(routes!(watch::watch_by_query))
}

fn nodes_of(routes: Routes<'_>) -> Routes<'_> {
    routes
        .add(routes!(nodes::list_nodes), Lane::Read, LOOK)
        .add(routes!(nodes::get_status), Lane::Read, LOOK)
        .write(routes!(nodes::drain_node), HANDLE)
        .write(routes!(nodes::release_freeze), OPERATE)
}

fn process(routes: Routes<'_>) -> Routes<'_> {
    routes.add(routes!(probes::livez), Lane::Read, OPEN).add(routes!(probes::readyz), Lane::Read, OPEN).add(
        routes!(probes::metrics),
        Lane::Read,
        LOOK,
    )
}

/// What a connection is told that is one too many.
pub(super) fn full() -> Router {
    Router::new().fallback(|request: Request<Body>| async {
        let (parts, unread) = request.into_parts();
        body::discard(&parts.headers, unread).await;
        let detail = "this node has as many connections as it takes; try again, or another node";
        let problem = Problem::new(Code::Overloaded, detail).retry_after(std::time::Duration::from_secs(1));
        let mut response = problem.into_response();
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    })
}

async fn unknown_path(request: Request<Body>) -> Response {
    let (parts, unread) = request.into_parts();
    body::discard(&parts.headers, unread).await;
    if let Err(problem) = Head::of_parts(&parts).check(false, None) {
        return problem.into_response();
    }
    let path = parts.uri.path();
    let hint = if path.contains("//") { "; a name in a path can't be empty" } else { "" };
    let shown: String = path.chars().take(256).flat_map(char::escape_debug).collect();
    Problem::new(Code::PathNotFound, format!("there is nothing at {shown}{hint}; /docs lists what there is"))
        .about("path")
        .of_value(shown)
        .into_response()
}

/// The router adds the header that lists the methods.
async fn method_not_allowed(request: Request<Body>) -> Response {
    let (parts, unread) = request.into_parts();
    body::discard(&parts.headers, unread).await;
    if let Err(problem) = Head::of_parts(&parts).check(false, None) {
        return problem.into_response();
    }
    let detail = format!("{} is not what this path takes; the header allow lists what it does", parts.method);
    Problem::new(Code::MethodNotAllowed, detail).about("method").of_value(parts.method.as_str()).into_response()
}

/// Must never be seen: no input may lead here.
pub(super) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let what = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(what, "a handler panicked");
    metrics::counter!("thuban_http_panics_total").increment(1);
    Problem::new(Code::Internal, "this node made a mistake; it has been logged").into_response()
}
