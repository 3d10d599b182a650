//! The native gRPC door: `thuban.v1`, `grpc.health.v1` and server reflection.
//!
//! A request goes through the same steps whatever its method: whose is it ([`call`]), read its message ([`wire`]), make
//! it the domain's words ([`convert`]), ask the registry, and answer, with a refusal in the words of [`status`].
//!
//! The dispatch and the framing are ours and not generated: a view is encoded once and its bytes go out uncopied, a
//! session reads and answers in batches, and a malformed message is the caller's fault and never an INTERNAL.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use compute::Registry;
use compute::port::{Chance, Clock};
use futures::FutureExt;
use http::{Request, Response};
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::error::{Code, Problem};
use crate::http::Surroundings;
use crate::listen;

mod admin;
mod batch;
mod call;
mod convert;
mod discover;
mod dispatch;
mod events;
mod health;
mod method;
mod reflection;
mod registry;
mod session;
mod status;
mod watch;
pub(crate) mod wire;

pub use session::UNANSWERED_MAX;

/// Over how long those who are asked to go elsewhere are spread.
const MOVE_SPREAD: Duration = Duration::from_secs(5);

/// What the door may be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// A message that is about one thing.
    pub message_bytes_max: usize,
    /// A message with up to 1,000 items.
    pub batch_bytes_max: usize,
    /// A message with up to 10,000 names.
    pub names_bytes_max: usize,
    /// In which a request must have come whole.
    pub read_timeout: Duration,
    /// In which a session must have been opened on its stream.
    pub open_timeout: Duration,
    /// Between pings, where a session's client asked for them.
    pub ping_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes_max: 64 << 10,
            batch_bytes_max: 32 << 20,
            names_bytes_max: 4 << 20,
            read_timeout: Duration::from_secs(30),
            open_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(5),
        }
    }
}

/// What a door stands on.
#[derive(Clone)]
pub struct Ports {
    pub registry: Registry,
    pub admission: Admission,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Chance>,
}

/// The door; cheap to clone.
#[derive(Clone)]
pub struct Door {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    admission: Admission,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    config: Config,
    /// As authors and subscribers show it.
    door: Arc<str>,
    session_door: Arc<str>,
    sessions: TaskTracker,
    reflection: reflection::Reflection,
    counted: dispatch::Counted,
    surroundings: Option<Surroundings>,
}

impl Shared {
    fn node_name(&self) -> String {
        self.registry.status().name.as_ref().to_owned()
    }
}

impl Door {
    pub fn new(ports: Ports, config: Config) -> Self {
        Self::surrounded(ports, config, None)
    }

    /// As [`Door::new`], in a process that shows its listeners and its version.
    pub fn surrounded(ports: Ports, config: Config, surroundings: Option<Surroundings>) -> Self {
        let Ports { registry, admission, clock, chance } = ports;
        let shared = Shared {
            registry,
            admission,
            clock,
            chance,
            config,
            door: "grpc".into(),
            session_door: "session".into(),
            sessions: TaskTracker::new(),
            reflection: reflection::Reflection::new(),
            counted: dispatch::Counted::new(),
            surroundings,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The name and the option of its listener.
    pub const NAMED: listen::Named = listen::Named { door: "grpc", option: "--grpc" };

    /// As a listener is to be told for this door: a silent peer is noticed within 10 s, or within twice the time between
    /// pings: one of it until it is asked, and one for its answer.
    pub fn listening(config: listen::Config) -> listen::Config {
        listen::Config { ping_timeout: config.ping_timeout.min(config.ping_interval), ..config }
    }

    /// What the listener serves.
    pub fn answers(&self) -> listen::Answers {
        let router = Router::new().fallback_service(self.clone());
        let full = Router::new().fallback(|| async {
            let problem = Problem::new(Code::Overloaded, "this node has as many connections as it takes; try another");
            refuse(&problem)
        });
        listen::Answers { router, express: None, full, refuse }
    }

    /// Resolves once no session of this door runs any more; after the listener has been drained.
    pub async fn closed(&self) {
        self.shared.sessions.close();
        self.shared.sessions.wait().await;
    }
}

pub(crate) fn refuse(problem: &Problem) -> Response<Body> {
    wire::Reply::refusal(status::status(problem)).map(Body::new)
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
        let answer = async move { dispatch::answer(&shared, request).await.map(Body::new) };
        // A panic is a fault of ours; it ends one call and says so.
        Box::pin(AssertUnwindSafe(answer).catch_unwind().map(|answered| {
            Ok(answered.unwrap_or_else(|_| {
                tracing::error!("a gRPC call panicked");
                refuse(&Problem::new(Code::Internal, "a fault of this node; its log says more"))
            }))
        }))
    }
}
