//! The HTTP door: Thuban's own API in JSON, with its reference and its probes.
//!
//! A request passes the route's gate ([`gate`]: identity, readiness, room), is read strictly ([`path`], [`query`],
//! [`body`], [`json`]) and answered from the registry; [`encode`] writes what comes out. Whatever is refused is a
//! [`Problem`](crate::error::Problem), and nothing else is ever said in an error.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use compute::Registry;
use compute::port::{Chance, Clock};

use crate::admission::Admission;
use crate::listen::{self, Answers, BindError, Listener, Named, Tls};

mod answer;
mod batch;
mod body;
mod browser;
mod condition;
mod discover;
mod docs;
mod encode;
mod express;
mod gate;
mod instances;
mod json;
mod namespaces;
mod nodes;
mod observe;
mod openapi;
mod outcome;
mod overrides;
mod path;
mod probes;
mod problem;
mod prometheus;
mod query;
mod registration;
pub(crate) mod rfc3339;
mod routes;
mod schema;
mod selection;
mod services;
mod watch;

use body::Limits;
pub use browser::Hosts;
use observe::{Muffler, Streams};

/// Largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Largest body of a batch, in bytes.
pub const BATCH_BYTES_MAX: usize = 32 << 20;
/// Longest pause between two pieces of a body.
pub const BODY_PAUSE_MAX_DEFAULT: Duration = Duration::from_secs(10);
/// Longest time for a whole body, and for that of a batch.
pub const BODY_TIME_MAX_DEFAULT: Duration = Duration::from_secs(30);
pub const BATCH_TIME_MAX_DEFAULT: Duration = Duration::from_secs(120);

/// What this door may be told.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: listen::Config,
    pub body_pause_max: Duration,
    pub body_time_max: Duration,
    pub batch_time_max: Duration,
    /// What it may be called, as long as callers need no token.
    pub hosts: Hosts,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: listen::Config::default(),
            body_pause_max: BODY_PAUSE_MAX_DEFAULT,
            body_time_max: BODY_TIME_MAX_DEFAULT,
            batch_time_max: BATCH_TIME_MAX_DEFAULT,
            hosts: Hosts::Named(Vec::new()),
        }
    }
}

/// One door of the process, as `/v1/status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorReport {
    pub name: String,
    /// Where it listens; `None`: it is closed.
    pub address: Option<SocketAddr>,
    pub is_encrypted: bool,
    /// Why it is closed.
    pub problem: Option<String>,
}

/// What of the process this door shows, and the process alone knows.
#[derive(Clone)]
pub struct Surroundings {
    /// The text of `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub doors: Arc<dyn Fn() -> Vec<DoorReport> + Send + Sync>,
    pub version: &'static str,
}

/// The door before it is opened.
#[derive(Clone)]
pub struct Door {
    pub registry: Registry,
    pub admission: Admission,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Chance>,
    pub surroundings: Surroundings,
    pub config: Config,
}

/// The door with its port open, not serving yet.
pub struct Bound {
    listener: Listener,
    answers: Answers,
}

impl Door {
    /// The name and the option of its listener.
    pub const NAMED: Named = Named { door: "http", option: "--http" };

    /// Opens the port. The metrics recorder must be in place.
    pub async fn bind(self, addr: SocketAddr, tls: &Tls) -> Result<Bound, BindError> {
        let config = self.config.listen.clone();
        let listener = Listener::bind(Self::NAMED, addr, tls, config, Arc::clone(&self.clock)).await?;
        Ok(Bound { listener, answers: self.answers() })
    }

    /// What a listener serves, for one who has it open already. The metrics recorder must be in place.
    pub fn answers(self) -> Answers {
        let app = self.into_app();
        let express = Some(Arc::new(express::Express::new(&app)) as Arc<dyn listen::Express>);
        Answers { router: routes::router(&app).0, express, full: routes::full(), refuse: problem::refuse }
    }

    /// All routes, for one who brings requests without a port.
    pub fn router(self) -> Router {
        routes::router(&self.into_app()).0
    }

    fn into_app(self) -> App {
        let Self { registry, admission, clock, chance, surroundings, config } = self;
        let pause_max = config.body_pause_max;
        Arc::new(Shared {
            registry,
            admission,
            clock,
            chance,
            surroundings,
            door: "http".into(),
            body: Limits { bytes_max: BODY_BYTES_MAX, pause_max, whole_max: config.body_time_max },
            batch_body: Limits { bytes_max: BATCH_BYTES_MAX, pause_max, whole_max: config.batch_time_max },
            hosts: config.hosts,
            muffler: Muffler::new(),
            streams: Streams::new(),
        })
    }
}

impl Bound {
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    pub fn is_encrypted(&self) -> bool {
        self.listener.is_encrypted()
    }

    /// Serves until `shutdown` resolves and what was under way is finished or cut.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) {
        self.listener.serve(self.answers, shutdown).await;
    }
}

/// What every handler has at hand.
type App = Arc<Shared>;

impl Shared {
    /// Whether anybody reads the log of requests: their addresses are not kept for nobody.
    fn log_requests(&self) -> bool {
        tracing::enabled!(tracing::Level::DEBUG)
    }
}

struct Shared {
    registry: Registry,
    admission: Admission,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    surroundings: Surroundings,
    /// This door's name, as the author of changes has it.
    door: Arc<str>,
    body: Limits,
    batch_body: Limits,
    hosts: Hosts,
    muffler: Muffler,
    streams: Streams,
}
