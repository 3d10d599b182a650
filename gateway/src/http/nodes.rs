//! The nodes, and what operators do to them.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use compute::model::FreezeScope;
use compute::node::{Freezing, Leases, NodeStatus, Report};
use compute::registry::NodeSeen;
use http::{Request, StatusCode};

use super::answer::{self, Basis};
use super::condition::{Expected, Reading};
use super::encode::Json;
use super::gate::Call;
use super::instances::Asked;
use super::namespaces::spread;
use super::query::Query;
use super::schema::{self, InNode, ReadRefusals, WriteRefusals};
use super::selection::Page;
use super::{App, DoorReport};
use crate::admission::Verb;
use crate::error::Problem;
use crate::listing;

/// All nodes of the cluster
///
/// Each is asked for what it alone knows, and has 500 ms to say it.
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
    call.wait_for_others(&app)?;
    let found = listing::nodes(&app.registry, page.after.as_deref(), page.limit).await;
    Ok(spread(&app, &reading, &found, node))
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
/// It takes no new work, and tells watchers and sessions to move. Another node than the asked one is told to; 503
/// `node_away` when it does not answer.
#[utoipa::path(
    post, path = "/v1/nodes/{node}/drain", operation_id = "drain_node", tag = "nodes", params(InNode),
    responses((status = 202, description = "It drains", body = schema::Drained), WriteRefusals)
)]
pub(super) async fn drain_node(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let mut asked = operating(request).await?;
    let node = asked.place.get("node");
    tracing::info!(author = asked.call.identity.name(), node, "asked to drain a node");
    asked.call.wait_for_others(&app)?;
    app.registry.drain_node(node).await?;
    let body = Json::of_object(|json| json.text("state", "draining"));
    Ok(answer::json(StatusCode::ACCEPTED, body))
}

/// Let go what a mass-loss freeze holds back
///
/// Of leases of this node: its own freeze, and those of services, which hold back leases of all nodes. It goes through
/// the log, so that the node need not answer.
#[utoipa::path(
    post, path = "/v1/nodes/{node}/freeze/release", operation_id = "release_freeze", tag = "nodes", params(InNode),
    responses((status = 200, description = "How many freezes were ended", body = schema::Released), WriteRefusals)
)]
pub(super) async fn release_freeze(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let asked = operating(request).await?;
    let released = app.registry.release_freezes(&asked.call.caller(&app), asked.place.get("node")).await?;
    Ok(answer::json(StatusCode::OK, Json::of_object(|json| json.number("released", released as u64))))
}

/// An operator of everything, who has nothing to say but what the path says.
async fn operating(request: Request<Body>) -> Result<Asked, Problem> {
    let asked = Asked::read(request).await?;
    asked.has_no_body()?;
    Query::read(asked.parts.uri.query())?.finish()?;
    Expected::refuse(&asked.parts.headers)?;
    asked.call.identity.may_everywhere(Verb::Operate)?;
    Ok(asked)
}

fn node(json: &mut Json, seen: &NodeSeen) {
    json.object(|json| {
        json.text("name", &seen.name);
        json.shown("incarnation", &seen.node);
        let (state, detail) = listing::state_of(seen);
        json.text("state", state);
        json.nullable("detail", detail.as_deref());
        json.flag("lander", seen.is_lander);
        json.flag("answering", seen.is_me);
        json.flag("answered", seen.report.is_ok());
        match seen.joined_ms {
            Some(joined) => json.time("joined_at", joined),
            None => json.null("joined_at"),
        }
        json.shown("applied_revision", &seen.applied.last());
        json.number("lag_frames", seen.lag_frames);
        json.shown("landed_revision", &seen.landed.last());
        json.number("landing_lag_frames", seen.landing_lag_frames());
        json.number("sessions", seen.sessions as u64);
        freezes(json, &seen.freezes);
        told(json, seen.report.as_ref().ok());
    });
}

/// What a node alone knows of itself.
fn told(json: &mut Json, report: Option<&Report>) {
    json.nullable("version", report.map(|of| &*of.version));
    json.key("addresses");
    json.object(|json| {
        for (door, address) in report.iter().flat_map(|of| &of.addresses) {
            json.text(door, address);
        }
    });
    nullable_number(json, "lag_ms", report.map(|of| of.lag.ms));
    nullable_number(json, "log_away_ms", report.and_then(|of| of.log_away_ms));
    json.nullable("store_error", report.and_then(|of| of.store_error.as_deref()));
    nullable_number(json, "unlanded", report.map(|of| of.unlanded));
    nullable_number(json, "overlay", report.map(|of| of.overlay));
    match report {
        Some(of) => leases(json, &of.leases),
        None => json.null("leases"),
    }
    json.nullable("isolated", report.and_then(|of| of.isolated.as_deref()));
    json.nullable("holding", report.and_then(|of| of.holding.as_deref()));
}

fn nullable_number(json: &mut Json, name: &str, value: Option<u64>) {
    match value {
        Some(value) => json.number(name, value),
        None => json.null(name),
    }
}

fn leases(json: &mut Json, of: &Leases) {
    json.key("leases");
    json.object(|json| {
        json.number("ttl", of.ttl as u64);
        json.number("stream", of.stream as u64);
        json.number("checked", of.checked as u64);
        json.number("permanent", of.permanent as u64);
        json.number("suspects", of.suspects as u64);
    });
}

fn freezes(json: &mut Json, standing: &[Freezing]) {
    json.list("freezes", |json| standing.iter().for_each(|freezing| json.element(|json| freeze(json, freezing))));
}

fn freeze(json: &mut Json, freezing: &Freezing) {
    json.object(|json| {
        match &freezing.scope {
            FreezeScope::Node(node) => json.shown("node", node),
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
    json.shown("incarnation", &status.node);
    json.text("version", app.surroundings.version);
    let (state, detail) = listing::state(&status.readiness);
    json.text("state", state);
    json.nullable("detail", detail);
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
    leases(json, &counted.leases);
    freezes(json, &status.freezes);
    json.nullable("holding", status.holding.as_deref());
    json.nullable("isolated", status.isolated.as_deref());
}

fn log_fields(json: &mut Json, status: &NodeStatus) {
    json.shown("identity", &status.log);
    json.number("generation", u64::from(status.applied.generation()));
    json.shown("applied_revision", &status.applied.last());
    json.time("time", status.time_ms);
    nullable_number(json, "away_ms", status.log_away_ms);
    json.number("lag_frames", status.lag.frames);
    json.number("lag_ms", status.lag.ms);
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
