//! `grpc.health.v1`: SERVING while this node is ready, NOT_SERVING while it is not yet, or drains.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use compute::node::Readiness;
use futures::stream;
use http::Response;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Shared;
use super::call::{Answered, Call, only};
use super::wire::{Frames, Messages, Reply, framed};
use crate::error::{Code, Problem};

/// What can be asked about; the empty name is the whole process.
const SERVICES: &[&str] = &["", "thuban.v1.Registry", "thuban.v1.Admin"];
/// How often a watcher's node is looked at.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn check(shared: &Shared, messages: Messages<Body>) -> Result<Response<Reply>, Problem> {
    let asked: HealthCheckRequest = only(shared, messages).await?;
    if !SERVICES.contains(&asked.service.as_str()) {
        let detail = format!("service is \"{}\"; known: {}", asked.service.escape_debug(), SERVICES.join(" "));
        return Err(Problem::new(Code::ServiceNotFound, detail).about("service"));
    }
    Ok(Answered::of(&said(status(shared))).into_response())
}

fn status(shared: &Shared) -> ServingStatus {
    match shared.registry.readiness() {
        Readiness::Ready => ServingStatus::Serving,
        Readiness::NotReady(_) | Readiness::Draining => ServingStatus::NotServing,
    }
}

fn said(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// Each change, beginning with what is; of an unknown service, that it is unknown, as the protocol wants it. A node
/// that drains ends the stream behind its last word.
pub(super) fn watch(shared: &Arc<Shared>, call: Call, asked: &HealthCheckRequest) -> Response<Reply> {
    let is_known = SERVICES.contains(&asked.service.as_str());
    let state = (Arc::clone(shared), call, None);
    let frames: Frames = Box::pin(stream::unfold(state, move |(shared, call, last)| async move {
        loop {
            let drains = matches!(shared.registry.readiness(), Readiness::Draining);
            let now = if is_known { status(&shared) } else { ServingStatus::ServiceUnknown };
            if last != Some(now) {
                return Some((Ok(framed(&said(now))), (shared, call, Some(now))));
            }
            if drains {
                return None;
            }
            shared.clock.sleep(LOOK).await;
        }
    }));
    Reply::stream(frames)
}
