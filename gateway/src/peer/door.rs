//! What a node answers its peers.
//!
//! Who calls is looked at before anything that was sent is read: without the secret there is nothing to be had here but
//! a refusal.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::{Buf, Bytes};
use compute::model::{NodeIncarnation, ServiceKey};
use compute::port::Clock;
use compute::port::peers::Host;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Limited};
use prost::Message;
use schemas::thuban::peer::v1 as pb;
use tonic::{Code, Status};

use super::convert::{Odd, from_services, to_reply, to_report, to_subscription};
use super::refused::Refused;
use super::secret::{FROM, Key, PROOF, TO, Way, named};
use super::{Config, Limits, Method, SUBSCRIPTIONS_ALL_MAX, SUBSCRIPTIONS_MAX};
use crate::admission::{Budget, Kind};
use crate::error::{Code as ProblemCode, Problem};
use crate::grpc;
use crate::grpc::wire::{HEADER_BYTES, Reply, framed};
use crate::listen;

/// The door; cheap to clone.
#[derive(Clone)]
pub struct Door {
    shared: Arc<Shared>,
}

struct Shared {
    host: Arc<dyn Host>,
    key: Key,
    config: Config,
    clock: Arc<dyn Clock>,
    calls: Budget,
    refused: Refused,
}

impl Door {
    pub fn new(host: Arc<dyn Host>, config: Config, clock: Arc<dyn Clock>) -> Self {
        let calls = Budget::new("calls of peers", Kind::Unshared, config.limits.calls_max, config.limits.calls_max);
        calls.show();
        let key = Key::of_calls(&config.secret);
        Self { shared: Arc::new(Shared { host, key, config, clock, calls, refused: Refused::default() }) }
    }

    /// The name and the option of its listener.
    pub const NAMED: listen::Named = listen::Named { door: "peer", option: "--peer" };

    /// As a listener is to be told for this door: few connections, fewer without a proof, and a silent one is soon
    /// noticed.
    pub fn listening(listening: listen::Config, config: &Config) -> listen::Config {
        let Limits { connections_max, unproven_max, streams_max, .. } = config.limits;
        let (ping_interval, ping_timeout) = (config.timeouts.ping_interval, config.timeouts.ping_timeout);
        let unproven = listen::Unproven {
            connections_max: unproven_max.min(connections_max / 4).max(1),
            timeout: config.timeouts.prove,
        };
        listen::Config {
            connections_max,
            streams_max,
            ping_interval,
            ping_timeout,
            is_h2_only: true,
            unproven: Some(unproven),
            ..listening
        }
    }

    /// What the listener serves.
    pub fn answers(&self) -> listen::Answers {
        let router = Router::new().fallback_service(self.clone());
        let full = Router::new().fallback(|| async {
            let problem = Problem::new(ProblemCode::Overloaded, "this node has as many peers as it takes");
            grpc::refuse(&problem)
        });
        listen::Answers { router, express: None, full, refuse: grpc::refuse }
    }
}

impl tower::Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let answer = async move { answer(&shared, request).await };
        // A panic is a fault of ours; it ends one call and says so.
        Box::pin(AssertUnwindSafe(answer).catch_unwind().map(|answered| {
            let answered = answered.unwrap_or_else(|_| {
                tracing::error!("a peer's call panicked");
                Reply::refusal(Status::internal("a fault of this node; its log says more"))
            });
            Ok(answered.map(Body::new))
        }))
    }
}

async fn answer(shared: &Shared, request: Request<Body>) -> Response<Reply> {
    let Some(method) = Method::of(request.uri().path()) else {
        return Reply::refusal(Status::unimplemented("no such call between nodes"));
    };
    let outcome = serve(shared, method, request).await;
    let label = match &outcome {
        Ok(_) => "ok",
        Err(status) => match status.code() {
            Code::Unauthenticated => "unauthenticated",
            Code::FailedPrecondition => "another_node",
            Code::ResourceExhausted => "overloaded",
            Code::OutOfRange => "too_large",
            Code::DeadlineExceeded => "timeout",
            Code::InvalidArgument => "refused",
            _ => "lost",
        },
    };
    metrics::counter!("thuban_peer_answers_total", "method" => method.path(), "outcome" => label).increment(1);
    outcome.unwrap_or_else(Reply::refusal)
}

async fn serve(shared: &Shared, method: Method, request: Request<Body>) -> Result<Response<Reply>, Status> {
    let (parts, body) = request.into_parts();
    let (from, to) = believe(shared, method, &parts.headers)?;
    if let Some(caller) = parts.extensions.get::<listen::Caller>() {
        caller.is_proven();
    }
    is_meant(shared, to)?;
    let busy = |_| Status::resource_exhausted("this node answers as many calls of peers as it may; try again");
    let _room = shared.calls.take(None, 1).map_err(busy)?;
    let message = read(shared, &parts.headers, body).await?;
    // It may have become another one while the message came.
    is_meant(shared, to)?;
    let mut response = ask_host(shared.host.as_ref(), method, from, message)?;
    response.headers_mut().insert(PROOF, shared.key.proof(Way::Answer, method.path(), to, from));
    Ok(response)
}

/// Who calls whom, if it shows that it has the secret.
fn believe(shared: &Shared, method: Method, headers: &HeaderMap) -> Result<(NodeIncarnation, NodeIncarnation), Status> {
    let named = named(headers, &FROM).zip(named(headers, &TO));
    let believed =
        named.filter(|(from, to)| shared.key.proves(headers.get(&PROOF), Way::Call, method.path(), *from, *to));
    believed.ok_or_else(|| {
        metrics::counter!("thuban_peer_refused_total").increment(1);
        if let Some(count) = shared.refused.note(shared.clock.mono_ms()) {
            tracing::warn!(count, method = method.path(), "calls without the cluster secret were refused");
        }
        Status::unauthenticated("the caller does not show that it has the secret of this cluster")
    })
}

fn is_meant(shared: &Shared, to: NodeIncarnation) -> Result<(), Status> {
    match shared.host.reply().node {
        me if me == to => Ok(()),
        _ => Err(Status::failed_precondition("another node answers here than the one that is meant")),
    }
}

/// The one message of a call, which must come in time and within its limit.
async fn read(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<Bytes, Status> {
    let bytes_max = shared.config.limits.message_bytes_max;
    let too_large = || Status::out_of_range(format!("the message is larger than {bytes_max} bytes"));
    if headers.get("grpc-encoding").is_some_and(|encoding| encoding != HeaderValue::from_static("identity")) {
        return Err(Status::invalid_argument("the message is compressed; send it as it is"));
    }
    let timeout = shared.config.timeouts.read;
    let collected = tokio::select! {
        biased;
        collected = Limited::new(body, HEADER_BYTES + bytes_max).collect() => collected,
        () = shared.clock.sleep(timeout) => {
            let within = timeout.as_millis();
            return Err(Status::deadline_exceeded(format!("the call did not come whole within {within} ms")));
        }
    };
    let mut bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(too_large()),
        Err(error) => return Err(Status::cancelled(format!("the call was lost: {error}"))),
    };
    let wrong = || Status::invalid_argument("the call is not one message, uncompressed");
    if bytes.len() < HEADER_BYTES || bytes.get_u8() != 0 {
        return Err(wrong());
    }
    let length = bytes.get_u32() as usize;
    if length == bytes.len() { Ok(bytes) } else { Err(wrong()) }
}

fn decoded<M: Message + Default>(bytes: Bytes) -> Result<M, Status> {
    M::decode(bytes)
        .map_err(|error| Status::invalid_argument(format!("the message is not as its schema says: {error}")))
}

fn odd(odd: Odd) -> Status {
    Status::invalid_argument(odd.to_string())
}

fn ask_host(host: &dyn Host, method: Method, from: NodeIncarnation, message: Bytes) -> Result<Response<Reply>, Status> {
    Ok(match method {
        Method::Ask => {
            let pb::AskRequest {} = decoded(message)?;
            Reply::whole(framed(&to_reply(&host.reply())))
        }
        Method::Report => {
            let pb::ReportRequest {} = decoded(message)?;
            Reply::whole(framed(&to_report(&host.report())))
        }
        Method::Heartbeats => {
            let asked: pb::HeartbeatsRequest = decoded(message)?;
            host.heartbeats(from, from_services(&asked.services).map_err(odd)?);
            Reply::whole(framed(&pb::HeartbeatsReply {}))
        }
        Method::HandOver => {
            let asked: pb::HandOverRequest = decoded(message)?;
            host.hand_over(from, from_services(&asked.services).map_err(odd)?);
            Reply::whole(framed(&pb::HandOverReply {}))
        }
        Method::Subscribers => {
            let pb::SubscribersRequest { namespace, service } = decoded(message)?;
            let service = ServiceKey::new(&namespace, &service).map_err(|wrong| odd(wrong.into()))?;
            let mut there = host.subscribers(&service);
            there.truncate(SUBSCRIPTIONS_ALL_MAX);
            // Each part is encoded when the one before is on its way.
            let parts = (0..there.len()).step_by(SUBSCRIPTIONS_MAX).map(move |start| {
                let part = &there[start..there.len().min(start + SUBSCRIPTIONS_MAX)];
                Ok(framed(&pb::SubscribersReply { subscriptions: part.iter().map(to_subscription).collect() }))
            });
            Reply::stream(Box::pin(futures::stream::iter(parts)))
        }
        Method::Drain => {
            let pb::DrainRequest {} = decoded(message)?;
            host.drain();
            Reply::whole(framed(&pb::DrainReply {}))
        }
    })
}
