//! Registries as they are spoken to: one [`Client`] for each protocol, and one way to load whatever stands behind it.
//!
//! Each client is as light as its protocol allows, because what is measured is the server; where a protocol leaves a
//! choice, the one that costs the server least is taken, and said in the module of that client.

pub mod etcd;
pub mod thuban_grpc;
pub mod thuban_http;
pub mod thuban_session;
pub mod zookeeper;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Result, bail};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// A provider, as every protocol can say it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instance {
    pub service: String,
    pub host: String,
    pub port: u16,
    pub metadata: BTreeMap<String, String>,
}

impl Instance {
    /// `HOST:PORT`, by which it is told from the others of its service.
    pub fn id(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// One client on one connection, which asks one thing at a time.
#[async_trait]
pub trait Client: Send {
    /// Comes back when the server has acknowledged it.
    async fn register(&mut self, instance: &Instance) -> Result<()>;

    async fn deregister(&mut self, instance: &Instance) -> Result<()>;

    /// Reads all of a service and looks no closer than at its size: of two answers that say the same it is the same.
    async fn read(&mut self, service: &str) -> Result<usize>;

    /// All of a service.
    async fn discover(&mut self, service: &str) -> Result<BTreeSet<Instance>>;

    /// Registers what `next` gives until it gives nothing, with up to `window` unanswered; `done` is told when each was
    /// sent. For protocols in which a connection can have many requests under way: see [`Door::can_pipeline`].
    async fn pipeline(
        &mut self,
        _window: usize,
        _next: &mut (dyn FnMut() -> Option<Instance> + Send),
        _done: &mut (dyn FnMut(Instant) + Send),
    ) -> Result<()> {
        bail!("this client asks one thing at a time")
    }
}

/// One subscriber of one service.
#[async_trait]
pub trait Subscription: Send {
    /// Waits for the server's next word; the ids of all that the subscriber then knows of.
    async fn next(&mut self) -> Result<&BTreeSet<String>>;
}

/// What a write's acknowledgement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// A crash of the server may lose it.
    Memory,
    /// It was forced to the disk.
    Disk,
}

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    ThubanHttp,
    ThubanGrpc,
    ThubanSession,
    Etcd,
    #[serde(rename = "zookeeper")]
    ZooKeeper,
}

/// Where to ask, and for what.
#[derive(Clone, Debug)]
pub struct Target {
    pub door: Door,
    /// What Thuban is asked for; the others know one kind.
    pub ack: Ack,
    /// The port for HTTP, and the one port of what speaks no gRPC.
    pub http: String,
    pub grpc: String,
}

impl Door {
    pub fn name(self) -> &'static str {
        match self {
            Self::ThubanHttp => "HTTP",
            Self::ThubanGrpc => "gRPC",
            Self::ThubanSession => "Session",
            Self::Etcd => "gRPC",
            Self::ZooKeeper => "own protocol",
        }
    }

    /// Whether a connection is given many registers at a time.
    pub fn can_pipeline(self) -> bool {
        matches!(self, Self::ThubanSession | Self::Etcd | Self::ZooKeeper)
    }
}

impl Target {
    pub async fn connect(&self) -> Result<Box<dyn Client>> {
        Ok(match self.door {
            Door::ThubanHttp => Box::new(thuban_http::Http::open(&self.http, self.ack).await?),
            Door::ThubanGrpc => Box::new(thuban_grpc::Grpc::open(&self.grpc, self.ack).await?),
            Door::ThubanSession => Box::new(thuban_session::Session::open(&self.grpc, self.ack).await?),
            Door::Etcd => Box::new(etcd::Etcd::open(&self.grpc).await?),
            Door::ZooKeeper => Box::new(zookeeper::ZooKeeper::open(&self.http).await?),
        })
    }

    /// A subscriber on a connection of its own.
    pub async fn subscribe(&self, service: &str) -> Result<Box<dyn Subscription>> {
        Ok(match self.door {
            Door::ThubanHttp => Box::new(thuban_http::Watch::open(&self.http, service).await?),
            Door::ThubanGrpc => Box::new(thuban_grpc::Watch::open(&self.grpc, service).await?),
            Door::ThubanSession => Box::new(thuban_session::Watch::open(&self.grpc, service).await?),
            Door::Etcd => Box::new(etcd::Watch::open(&self.grpc, service).await?),
            Door::ZooKeeper => Box::new(zookeeper::Watch::open(&self.http, service).await?),
        })
    }
}
