//! What the native doors answer while the node boots: the ports are open from the start, so that whoever asks learns
//! that it lives, and how far it is.

use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::error::{Code, Problem};
use crate::grpc;
use crate::listen::Answers;

/// How far the boot is, in words.
pub type Progress = Arc<dyn Fn() -> String + Send + Sync>;

fn not_ready(progress: &Progress) -> Problem {
    Problem::from(compute::Error::NotReady(progress()))
}

fn too_many() -> Problem {
    Problem::new(Code::Overloaded, "this node boots, and has as many connections as it takes; try again")
}

/// `/livez` as ever; everything else is 503 `not_ready` with the progress.
pub fn http(progress: Progress) -> Answers {
    let refuse = move || {
        let problem = not_ready(&progress);
        async move { problem.into_response() }
    };
    let router = Router::new().route("/livez", get(|| async { "alive\n" })).fallback(refuse);
    let full = Router::new().fallback(|| async { too_many().into_response() });
    Answers { router, express: None, full, refuse: |problem| problem.clone().into_response() }
}

/// Every call is `UNAVAILABLE` with the progress.
pub fn grpc(progress: Progress) -> Answers {
    let refuse = move || {
        let problem = not_ready(&progress);
        async move { grpc::refuse(&problem) }
    };
    Answers {
        router: Router::new().fallback(refuse),
        express: None,
        full: Router::new().fallback(|| async { grpc::refuse(&too_many()) }),
        refuse: grpc::refuse,
    }
}
