//! What an operator sets on an instance.

use clap::Args;
use http::Method;
use serde_json::Value;

use super::failure::Failure;
use super::json::Object;
use super::target::Place;
use super::{Acknowledged, Within};

/// Which instance, and what goes with an operator's word.
#[derive(Args)]
struct Word {
    /// For those who come later
    #[arg(long)]
    note: Option<String>,
    /// When it ends by itself (RFC 3339, such as 2030-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// How long it outlives the instance
    #[arg(long, value_name = "MS")]
    keep_ms: Option<u64>,
    /// Only if the instance is still of this generation
    #[arg(long)]
    generation: Option<String>,
    #[command(flatten)]
    acknowledged: Acknowledged,
    #[command(flatten)]
    within: Within,
}

impl Word {
    async fn set(&self, service: &str, id: &str, name: &str, value: Value) -> Result<(), Failure> {
        let body = Object::new()
            .with(name, value)
            .with_some("note", self.note.clone())
            .with_some("expires_at", self.expires_at.clone())
            .with_some("keep_ms", self.keep_ms)
            .into_value();
        let place = Place::service(&self.within.namespace, service, &["instances", id, "operator"])
            .with("ack", self.acknowledged.ack.as_str())
            .with_some("generation", self.generation.as_ref());
        let answered = self.within.reach.node()?.call(Method::PATCH, &place, Some(&body)).await?;
        self.within.reach.output().document(&answered)
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  thuban isolate orders 10.0.0.7:8080 --note 'memory leak, heap dump first'
  thuban isolate orders 10.0.0.7:8080 --undo")]
pub(crate) struct Isolate {
    /// The service
    service: String,
    /// The instance
    id: String,
    /// Put it back
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    word: Word,
}

impl Isolate {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let value = if self.undo { Value::Null } else { true.into() };
        self.word.set(&self.service, &self.id, "isolated", value).await
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  thuban weight orders 10.0.0.7:8080 10 --note 'canary'
  thuban weight orders 10.0.0.7:8080 --undo")]
pub(crate) struct Weight {
    /// The service
    service: String,
    /// The instance
    id: String,
    /// 0 to 10000; 0 takes it out of what callers use
    #[arg(required_unless_present = "undo", conflicts_with = "undo")]
    weight: Option<u32>,
    /// Let the provider's weight hold again
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    word: Word,
}

impl Weight {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        self.word.set(&self.service, &self.id, "weight", self.weight.into()).await
    }
}
