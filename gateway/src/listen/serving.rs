//! One connection's requests, handed to the door's router.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::routing::future::RouteFuture;
use futures::future::Either;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::Service;

use super::activity::{Activity, Busy};
use super::sending::{Sent, send};
use super::unproven::Caller;
use super::{Answer, Arrival, Express, Refuse};

#[derive(Clone)]
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) express: Option<Arc<dyn Express>>,
    pub(super) refuse: Refuse,
    pub(super) arrival: Arrival,
    pub(super) activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Serving {
    type Response = Response<Sent>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        if request.version() == Version::HTTP_2 {
            self.activity.speaks_h2();
        }
        let (busy, refuse) = (self.activity.request(), self.refuse);
        if let Some(express) = &self.express {
            match express.answer(request, self.arrival.clone()) {
                Ok(answer) => return Answering { answer: Either::Left(answer), busy, refuse },
                Err(others) => request = others,
            }
        }
        request.extensions_mut().insert(self.arrival.clone());
        if self.activity.must_prove() {
            request.extensions_mut().insert(Caller(Arc::clone(&self.activity)));
        }
        Answering { answer: Either::Right(self.router.clone().call(request)), busy, refuse }
    }
}

pin_project! {
    pub(super) struct Answering {
        #[pin]
        answer: Either<Answer, RouteFuture<Infallible>>,
        busy: Busy,
        refuse: Refuse,
    }
}

impl Future for Answering {
    type Output = Result<Response<Sent>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.answer.poll(cx));
        Poll::Ready(Ok(send(response, Arc::clone(this.busy.activity()), *this.refuse)))
    }
}
