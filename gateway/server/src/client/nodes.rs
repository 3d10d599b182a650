use clap::Args;
use http::Method;
use serde_json::Value;

use super::Reach;
use super::failure::Failure;
use super::json;
use super::output::{Column, cell};
use super::target::Place;

const COLUMNS: &[Column] = &[
    ("NODE", "/name"),
    ("STATE", "/state"),
    ("APPLIED", "/applied_revision"),
    ("LAG", "/lag_frames"),
    ("LAG_MS", "/lag_ms"),
    ("LANDER", "/lander"),
    ("UNLANDED", "/unlanded"),
    ("OVERLAY", "/overlay"),
    ("TTL", "/leases/ttl"),
    ("STREAM", "/leases/stream"),
    ("CHECKED", "/leases/checked"),
    ("SESSIONS", "/sessions"),
    ("HTTP", "/addresses/http"),
    ("GRPC", "/addresses/grpc"),
    ("DETAIL", "/detail"),
];

#[derive(Args)]
pub(crate) struct Nodes {
    #[command(flatten)]
    reach: Reach,
}

impl Nodes {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let found = self.reach.node()?.get(&Place::new(&["v1", "nodes"])).await?;
        self.reach.output().items(&found, COLUMNS)?;
        let silent = found.get("unanswered").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for name in silent.iter().filter_map(Value::as_str) {
            eprintln!("{} did not answer: shown is what the log knows of it", cell(name));
        }
        Ok(())
    }
}

#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    reach: Reach,
}

impl Status {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let status = self.reach.node()?.get(&Place::new(&["v1", "status"])).await?;
        self.reach.output().document(&status)
    }
}

#[derive(Args)]
#[command(after_help = "A node that drains answers reads and renewals, ends its streams, and refuses what is new
until it is stopped.

Examples:
  thuban drain
  thuban drain node-2")]
pub(crate) struct Drain {
    /// Name or incarnation of the node; without it the one that is asked
    name: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

impl Drain {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let mut node = self.reach.node()?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => json::text(&node.get(&Place::new(&["v1", "status"])).await?, "/node"),
        };
        let answered = node.call(Method::POST, &Place::new(&["v1", "nodes", &name, "drain"]), None).await?;
        self.reach.output().document(&answered)
    }
}
