use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::Router;
use axum::body::Body;
use axum::routing::future::RouteFuture;
use http::Request;
use tower::Service;

use super::Answers;

/// What a listener serves: from the start, or something else until its door opens.
///
/// What is served is chosen when a connection is accepted, so the choice costs a request nothing. Only a connection
/// that was there before the door opened asks with each request.
#[derive(Clone)]
pub struct Opening {
    now: Arc<ArcSwap<Answers>>,
    behind: Arc<ArcSwapOption<Router>>,
}

impl Opening {
    /// A door that still has to be opened; `meanwhile` it answers.
    pub fn closed(meanwhile: Answers) -> Self {
        let behind = Arc::new(ArcSwapOption::empty());
        let gate = Gate { meanwhile: meanwhile.router.clone(), behind: Arc::clone(&behind) };
        let now = Answers { router: Router::new().fallback_service(gate), express: None, ..meanwhile };
        Self { now: Arc::new(ArcSwap::from_pointee(now)), behind }
    }

    /// Opens the door. From now on connections that come know nothing else, and those that are there get the same.
    pub fn open(&self, answers: Answers) {
        self.behind.store(Some(Arc::new(answers.router.clone())));
        self.now.store(Arc::new(answers));
    }

    /// Answers like that until the door is opened, on connections that stand then, too.
    pub fn open_meanwhile(&self, answers: &Answers) {
        self.behind.store(Some(Arc::new(answers.router.clone())));
    }

    pub(super) fn now(&self) -> Arc<Answers> {
        self.now.load_full()
    }
}

impl From<Answers> for Opening {
    fn from(answers: Answers) -> Self {
        Self { now: Arc::new(ArcSwap::from_pointee(answers)), behind: Arc::default() }
    }
}

#[derive(Clone)]
struct Gate {
    meanwhile: Router,
    behind: Arc<ArcSwapOption<Router>>,
}

impl Service<Request<Body>> for Gate {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &*self.behind.load() {
            Some(behind) => Router::clone(behind).call(request),
            None => self.meanwhile.clone().call(request),
        }
    }
}
