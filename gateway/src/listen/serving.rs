//! One connection's requests, handed to the door's router.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::routing::future::RouteFuture;
use futures::future::Either;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::Service;

use super::activity::{Activity, Busy};
use super::{Answer, Arrival, Express};

#[derive(Clone)]
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) express: Option<Arc<dyn Express>>,
    pub(super) arrival: Arrival,
    pub(super) activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Serving {
    type Response = Response<axum::body::Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        if request.version() == Version::HTTP_2 {
            self.activity.speaks_h2();
        }
        let busy = self.activity.request();
        if let Some(express) = &self.express {
            match express.answer(request, self.arrival) {
                Ok(answer) => return Answering { answer: Either::Left(answer), _busy: busy },
                Err(others) => request = others,
            }
        }
        request.extensions_mut().insert(self.arrival);
        Answering { answer: Either::Right(self.router.clone().call(request)), _busy: busy }
    }
}

pin_project! {
    pub(super) struct Answering {
        #[pin]
        answer: Either<Answer, RouteFuture<Infallible>>,
        _busy: Busy,
    }
}

impl Future for Answering {
    type Output = Result<Response<axum::body::Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().answer.poll(cx)
    }
}
