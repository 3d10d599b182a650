//! From a path to what answers it.

use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use metrics::{Counter, Histogram};

use super::call::{self, Caller, within};
use super::method::Method;
use super::reflection::Reflection;
use super::wire::Reply;
use super::{Shared, admin, discover, health, registry, session, status, watch};
use crate::error::{Code, Problem};

/// Counts what is answered, by method.
pub(super) struct Counted(Vec<(Counter, Histogram)>);

impl Counted {
    pub(super) fn new() -> Self {
        let of = |method: &Method| {
            let path = method.path();
            let good = metrics::counter!("thuban_grpc_calls_total", "method" => path, "code" => "ok");
            (good, metrics::histogram!("thuban_grpc_call_seconds", "method" => path))
        };
        Self(Method::ALL.iter().map(of).collect())
    }

    fn answered(&self, method: Method, micros: u64, refused: Option<&Problem>) {
        let Some((good, time)) = self.0.get(method as usize) else { return };
        time.record(micros as f64 / 1e6);
        match refused {
            None => good.increment(1),
            Some(problem) => {
                let code = problem.code().as_str();
                metrics::counter!("thuban_grpc_calls_total", "method" => method.path(), "code" => code).increment(1);
            }
        }
    }
}

pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Body>) -> Response<Reply> {
    let (parts, body) = request.into_parts();
    // A page whose name leads here by DNS can say that it sends gRPC, but a browser has no HTTP/2 without encryption.
    if parts.version < Version::HTTP_2 {
        let mut response = Response::new(Reply::default());
        *response.status_mut() = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        return response;
    }
    if let Some(response) = call::not_grpc(&parts) {
        return response;
    }
    let Some(method) = Method::of(parts.uri.path()) else {
        return elsewhere(shared, parts, body).await.unwrap_or_else(|problem| refuse(&problem));
    };
    let begun_us = shared.clock.mono_us();
    let answered = in_time(shared, method, &parts, body).await;
    shared.counted.answered(method, shared.clock.mono_us().saturating_sub(begun_us), answered.as_ref().err());
    let mut response = answered.unwrap_or_else(|problem| refuse(&problem));
    if shared.registry.is_stale() {
        response.headers_mut().insert(call::STALE, HeaderValue::from_static("true"));
    }
    response
}

fn refuse(problem: &Problem) -> Response<Reply> {
    Reply::refusal(status::status(problem))
}

async fn elsewhere(shared: &Shared, parts: Parts, body: Body) -> Result<Response<Reply>, Problem> {
    if Reflection::is_for(parts.uri.path()) {
        return shared.reflection.answer(shared, parts, body).await;
    }
    Err(Problem::new(Code::PathNotFound, format!("no such method: {}", parts.uri.path().escape_debug())))
}

/// Not beyond the deadline that the caller gave.
async fn in_time(shared: &Arc<Shared>, method: Method, parts: &Parts, body: Body) -> Result<Response<Reply>, Problem> {
    let Some(limit) = call::deadline(&parts.headers)? else { return one(shared, method, parts, body).await };
    let work = pin!(one(shared, method, parts, body));
    within(&*shared.clock, limit, work).await.unwrap_or_else(|| {
        let detail = format!("the caller's deadline of {} ms has passed", limit.as_millis());
        Err(Problem::new(Code::RequestTimeout, detail))
    })
}

async fn one(shared: &Arc<Shared>, method: Method, parts: &Parts, body: Body) -> Result<Response<Reply>, Problem> {
    if method == Method::HealthCheck {
        // Probes bring no token, and are answered whatever else is full.
        let mut messages = call::messages(shared, parts, body, method)?;
        call::gather(shared, parts, &mut messages).await?;
        return health::check(shared, messages).await;
    }
    let caller = Caller::of(shared, parts, method)?;
    let mut messages = call::messages(shared, parts, body, method)?;
    if method != Method::Session {
        call::gather(shared, parts, &mut messages).await?;
    }
    let call = caller.enter(shared, method)?;
    match method {
        Method::Discover => discover::discover(shared, call, call::only(shared, messages).await?).await,
        Method::Register => registry::register(shared, &call, call::only(shared, messages).await?).await,
        Method::Deregister => registry::deregister(shared, &call, call::only(shared, messages).await?).await,
        Method::Renew => registry::renew(shared, &call, call::only(shared, messages).await?).await,
        Method::Watch => watch::watch(shared, call, call::only(shared, messages).await?),
        Method::HealthWatch => Ok(health::watch(shared, call, &call::only(shared, messages).await?)),
        Method::Session => Ok(session::session(shared, call, messages)),
        // Rare, and large: not a part of every other call's future.
        _ => Box::pin(admin::answer(shared, call, method, messages)).await,
    }
}
