//! This node, and what operators do to it.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use compute::error::What;
use compute::model::FreezeScope;
use compute::node::{Counted, Freezing, NodeStatus, Readiness};
use http::{Request, StatusCode};

use super::answer::{self, Basis};
use super::condition::{Expected, Reading};
use super::encode::Json;
use super::gate::Call;
use super::instances::Asked;
use super::namespaces::{Shown, list};
use super::query::Query;
use super::schema::{self, InNode, ReadRefusals, WriteRefusals};
use super::selection::Page;
use super::{App, DoorReport};
use crate::admission::Verb;
use crate::error::Problem;

/// The nodes that the log shows
#[utoipa::path(
    get, path = "/v1/nodes", operation_id = "list_nodes", tag = "nodes", params(schema::Paging, schema::AtOnce),
    responses((status = 200, description = "A page", body = schema::Nodes), schema::NotModified, ReadRefusals)
)]
pub(super) async fn list_nodes(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let mut query = Query::read(parts.uri.query())?;
    let page = Page::of(&mut query)?;
    let reading = Reading::at_once(&mut query, &parts.headers)?;
    query.finish()?;
    reading.reach(&app, &mut call).await?;
    let status = app.registry.status();
    // A node is the only one as long as its log is its own; the cursor is the name of the last one shown.
    let is_behind = page.after.as_deref().is_none_or(|after| after < &*status.name);
    let shown: Vec<_> = Some(&status).filter(|_| is_behind).into_iter().collect();
    let write = |json: &mut Json, status: &&NodeStatus| node(json, &app, status);
    Ok(list(&app, &reading, Shown { items: &shown, overlay: 0, next: None }, write))
}

/// This node in words and figures
#[utoipa::path(
    get, path = "/v1/status", operation_id = "get_status", tag = "nodes", params(schema::AtOnce),
    responses((status = 200, description = "The node's state", body = schema::Status), schema::NotModified, ReadRefusals)
)]
pub(super) async fn get_status(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let mut query = Query::read(parts.uri.query())?;
    let reading = Reading::at_once(&mut query, &parts.headers)?;
    query.finish()?;
    reading.reach(&app, &mut call).await?;
    let status = app.registry.status();
    let body = Json::of_object(|json| status_fields(json, &app, &status));
    let basis = Basis::of_content(&app, &body, status.counted.overlay);
    Ok(if reading.has(&basis) { basis.not_modified() } else { basis.json(StatusCode::OK, body) })
}

/// Drain a node
///
/// It takes no new work, and tells watchers and sessions to move.
#[utoipa::path(
    post, path = "/v1/nodes/{node}/drain", operation_id = "drain_node", tag = "nodes", params(InNode),
    responses((status = 202, description = "It drains", body = schema::Drained), WriteRefusals)
)]
pub(super) async fn drain_node(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let call = of_this_node(&app, request).await?;
    tracing::info!(author = call.identity.name(), "asked to drain");
    app.registry.drain();
    let body = Json::of_object(|json| json.text("state", "draining"));
    Ok(answer::json(StatusCode::ACCEPTED, body))
}

/// Let go what a mass-loss freeze holds back
#[utoipa::path(
    post, path = "/v1/nodes/{node}/freeze/release", operation_id = "release_freeze", tag = "nodes", params(InNode),
    responses((status = 200, description = "How many freezes were ended", body = schema::Released), WriteRefusals)
)]
pub(super) async fn release_freeze(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let call = of_this_node(&app, request).await?;
    let released = app.registry.release_freezes(&call.caller(&app)).await?;
    Ok(answer::json(StatusCode::OK, Json::of_object(|json| json.number("released", released as u64))))
}

/// An operator of everything, who speaks of this node by its name or incarnation.
async fn of_this_node(app: &App, request: Request<Body>) -> Result<Call, Problem> {
    let asked = Asked::read(request).await?;
    asked.has_no_body()?;
    Query::read(asked.parts.uri.query())?.finish()?;
    Expected::refuse(&asked.parts.headers)?;
    asked.call.identity.may_everywhere(Verb::Operate)?;
    let (wanted, status) = (asked.place.get("node"), app.registry.status());
    if wanted == &*status.name || wanted == incarnation(&status) {
        return Ok(asked.call);
    }
    Err(compute::Error::not_found(What::Node, super::json::shown(wanted)).into())
}

fn incarnation(status: &NodeStatus) -> String {
    format!("{:016x}", status.node.0)
}

fn state_fields(json: &mut Json, readiness: &Readiness) {
    let (state, detail) = match readiness {
        Readiness::Ready => ("ready", None),
        Readiness::NotReady(why) => ("not_ready", Some(why.as_str())),
        Readiness::Draining => ("draining", Some("it takes no new work")),
    };
    json.text("state", state);
    json.nullable("detail", detail);
}

fn node(json: &mut Json, app: &App, status: &NodeStatus) {
    json.object(|json| {
        json.text("name", &status.name);
        json.text("incarnation", &incarnation(status));
        state_fields(json, &status.readiness);
        json.key("addresses");
        json.object(|json| {
            for door in (app.surroundings.doors)() {
                if let Some(address) = door.address {
                    json.text(&door.name, &address.to_string());
                }
            }
        });
        json.shown("applied_revision", &status.applied.last());
        json.number("lag_frames", 0);
        json.number("lag_ms", 0);
        json.flag("lander", true);
        json.flag("answering", true);
        holdings(json, status);
    });
}

/// Leases, and what holds back their ends.
fn holdings(json: &mut Json, status: &NodeStatus) {
    let Counted { leases_ttl, leases_stream, leases_checked, leases_permanent, suspects, .. } = status.counted;
    json.key("leases");
    json.object(|json| {
        json.number("ttl", leases_ttl as u64);
        json.number("stream", leases_stream as u64);
        json.number("checked", leases_checked as u64);
        json.number("permanent", leases_permanent as u64);
        json.number("suspects", suspects as u64);
    });
    json.list("freezes", |json| {
        for freezing in &status.freezes {
            json.element(|json| freeze(json, freezing));
        }
    });
    json.nullable("holding", status.holding.as_deref());
}

fn freeze(json: &mut Json, freezing: &Freezing) {
    json.object(|json| {
        match &freezing.scope {
            FreezeScope::Node(node) => json.text("node", &format!("{:016x}", node.0)),
            FreezeScope::Service(key) => {
                json.text("namespace", key.namespace.as_str());
                json.text("service", key.service.as_str());
            }
        }
        json.time("since", freezing.since_ms);
        json.number("lapsed", u64::from(freezing.lapsed));
        json.number("of", u64::from(freezing.of));
    });
}

fn status_fields(json: &mut Json, app: &App, status: &NodeStatus) {
    json.text("node", &status.name);
    json.text("incarnation", &incarnation(status));
    json.text("version", app.surroundings.version);
    state_fields(json, &status.readiness);
    json.list("doors", |json| {
        for report in (app.surroundings.doors)() {
            json.element(|json| door(json, &report));
        }
    });
    json.key("log");
    json.object(|json| log_fields(json, status));
    json.key("store");
    json.object(|json| {
        json.shown("landed_revision", &status.landed.last());
        json.number("unlanded", status.unlanded as u64);
        json.nullable("error", status.store_error.as_deref());
    });
    let counted = &status.counted;
    json.number("overlay", counted.overlay as u64);
    json.number("namespaces", counted.namespaces as u64);
    json.number("services", counted.services as u64);
    json.number("instances", counted.instances as u64);
    json.number("sessions", counted.sessions as u64);
    holdings(json, status);
}

fn log_fields(json: &mut Json, status: &NodeStatus) {
    json.shown("identity", &status.log);
    json.number("generation", u64::from(status.applied.generation()));
    json.shown("applied_revision", &status.applied.last());
    json.time("time", status.time_ms);
    match status.log_away_ms {
        Some(away) => json.number("away_ms", away),
        None => json.null("away_ms"),
    }
}

fn door(json: &mut Json, report: &DoorReport) {
    json.object(|json| {
        json.text("name", &report.name);
        json.nullable("address", report.address.map(|address| address.to_string()).as_deref());
        json.text("state", if report.address.is_some() { "open" } else { "left_out" });
        json.flag("encrypted", report.is_encrypted);
        json.nullable("detail", report.problem.as_deref());
    });
}
