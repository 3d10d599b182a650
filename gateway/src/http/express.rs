//! The three requests that are nearly all of a fleet's traffic, past the router: discover, register and renew, where
//! the names in the path need no decoding. Everything else, and every odd form of these, is the router's, and either
//! way the same gate and the same handler answer. The router, with what it allocates, costs more than a discover does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use compute::model::{InstanceKey, Invalid, ServiceKey};
use futures::FutureExt;
use http::request::Parts;
use http::{Method, Request};
use hyper::body::Incoming;

use super::gate::{Call, GateLayer};
use super::query::Query;
use super::{App, body, discover, instances, routes};
use crate::error::Problem;
use crate::listen::{self, Arrival};

#[cfg(test)]
mod tests;

/// A request that is answered here, with its names as far as they are names.
#[derive(Debug, PartialEq)]
enum Wanted {
    Discover(Result<ServiceKey, Invalid>),
    Register(Result<InstanceKey, Invalid>),
    Renew(Result<InstanceKey, Invalid>),
}

pub(super) struct Express {
    app: App,
    discover: Arc<GateLayer>,
    register: Arc<GateLayer>,
    renew: Arc<GateLayer>,
}

impl Express {
    pub(super) fn new(app: &App) -> Self {
        let gate = |operation| Arc::new(GateLayer::new(app.clone(), operation));
        Self {
            app: app.clone(),
            discover: gate(routes::DISCOVER),
            register: gate(routes::REGISTER_ONE),
            renew: gate(routes::RENEW_ONE),
        }
    }

    fn gate(&self, wanted: &Wanted) -> Arc<GateLayer> {
        Arc::clone(match wanted {
            Wanted::Discover(_) => &self.discover,
            Wanted::Register(_) => &self.register,
            Wanted::Renew(_) => &self.renew,
        })
    }
}

impl listen::Express for Express {
    fn answer(&self, request: Request<Incoming>, arrival: Arrival) -> Result<listen::Answer, Request<Incoming>> {
        let Some(wanted) = read(request.method(), request.uri().path()) else { return Err(request) };
        let (app, gate) = (self.app.clone(), self.gate(&wanted));
        // Made inside the box, so that none of it is moved there.
        Ok(Box::pin(async move {
            let answered = async move {
                let (parts, unread) = request.into_parts();
                gate.through(parts, Body::new(unread), arrival, |call, parts, unread| async move {
                    handle(&app, wanted, call, parts, unread).await.unwrap_or_else(IntoResponse::into_response)
                })
                .await
            };
            // As the router does it for all others.
            Ok(AssertUnwindSafe(answered).catch_unwind().await.unwrap_or_else(routes::panicked))
        }))
    }
}

/// What a request asks for, if it is of the plain form.
fn read(method: &Method, path: &str) -> Option<Wanted> {
    let names = path.strip_prefix("/v1/namespaces/").filter(|names| !names.contains('%'))?;
    let (namespace, names) = names.split_once("/services/")?;
    let (service, id) = names.split_once("/instances")?;
    if [namespace, service].iter().any(|name| name.is_empty() || name.contains('/')) {
        return None;
    }
    if id.is_empty() {
        return (method == Method::GET).then(|| Wanted::Discover(ServiceKey::new(namespace, service)));
    }
    let (id, wanted): (_, fn(_) -> _) = match id.strip_suffix("/renew").filter(|_| method == Method::POST) {
        Some(id) => (id, Wanted::Renew),
        None if method == Method::PUT => (id, Wanted::Register),
        None => return None,
    };
    let id = id.strip_prefix('/').filter(|id| !id.is_empty() && !id.contains('/'))?;
    Some(wanted(InstanceKey::new(namespace, service, id)))
}

async fn handle(app: &App, wanted: Wanted, call: Call, parts: Parts, unread: Body) -> Result<Response, Problem> {
    match wanted {
        Wanted::Discover(service) => {
            let query = Query::read(parts.uri.query())?;
            discover::answer(app, call, &parts, query, service?).await
        }
        Wanted::Register(instance) => {
            let body = body::whole(unread).await?;
            instances::register_at(app, &call, &parts, &body, instance?).await
        }
        Wanted::Renew(instance) => {
            let body = body::whole(unread).await?;
            instances::renew_at(app, &call, &parts, &body, instance?).await
        }
    }
}
