use clap::Args;
use http::Method;

use super::failure::Failure;
use super::json;
use super::output::Column;
use super::target::Place;
use super::{Acknowledged, Within};

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("HOST", "/host"),
    ("PORT", "/port"),
    ("HEALTHY", "/healthy"),
    ("ISOLATED", "/isolated"),
    ("WEIGHT", "/weight"),
    ("VERSION", "/version"),
    ("ZONE", "/zone"),
    ("LEASE", "/lease/kind"),
    ("REGISTERED", "/registered_at"),
];

#[derive(Args)]
#[command(after_help = "Examples:
  thuban instances orders --usable true
      who may be called: healthy, not isolated, of a weight above 0
  thuban instances orders 10.0.0.7:8080
      one instance, with everything that is known of it
  thuban instances orders --output json | jq -r '.items[] | \"\\(.host):\\(.port)\"'")]
pub(crate) struct Instances {
    /// The service
    service: String,
    /// Only this instance
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    within: Within,
}

/// Which instances are meant; without a filter it is all of them, the unhealthy and the isolated too.
#[derive(Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filter {
    /// Healthy, not isolated, of a weight above 0
    #[arg(long, value_name = "BOOL")]
    usable: Option<bool>,
    /// Its lease or its probes say that it lives
    #[arg(long, value_name = "BOOL")]
    healthy: Option<bool>,
    /// An operator has taken it out
    #[arg(long, value_name = "BOOL")]
    isolated: Option<bool>,
    /// Exactly this zone
    #[arg(long)]
    zone: Option<String>,
    /// Exactly this version
    #[arg(long)]
    version: Option<String>,
    /// Of exactly this metadata; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = json::pair)]
    metadata: Vec<(String, String)>,
}

impl Filter {
    pub(super) fn apply(&self, place: Place) -> Place {
        let place = place
            .with_some("usable", self.usable)
            .with_some("healthy", self.healthy)
            .with_some("isolated", self.isolated)
            .with_some("zone", self.zone.as_ref())
            .with_some("version", self.version.as_ref());
        self.metadata.iter().fold(place, |place, (key, value)| place.with(&format!("metadata.{key}"), value))
    }
}

impl Instances {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let (mut node, output) = (self.within.reach.node()?, self.within.reach.output());
        let namespace = &self.within.namespace;
        if let Some(id) = &self.id {
            let place = Place::service(namespace, &self.service, &["instances", id]);
            return output.document(&node.get(&place).await?);
        }
        let place = self.filter.apply(Place::service(namespace, &self.service, &["instances"]));
        let found = node.get(&place).await?;
        output.items(&found, COLUMNS)?;
        if output.is_json() {
            return Ok(());
        }
        if found.get("protected").and_then(serde_json::Value::as_bool) == Some(true) {
            eprintln!("protected: too few are healthy, so the unhealthy are listed too");
        }
        if json::items(&found).is_empty() {
            eprintln!("{}", json::emptiness(&found));
        }
        Ok(())
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  thuban deregister orders 10.0.0.7:8080
  thuban deregister orders 10.0.0.7:8080 --generation 1.42.0
      not if it was registered again since")]
pub(crate) struct Deregister {
    /// The service
    service: String,
    /// The instance
    id: String,
    /// Only if it is still of this generation
    #[arg(long)]
    generation: Option<String>,
    #[command(flatten)]
    acknowledged: Acknowledged,
    #[command(flatten)]
    within: Within,
}

impl Deregister {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let place = Place::service(&self.within.namespace, &self.service, &["instances", &self.id])
            .with("ack", self.acknowledged.ack.as_str())
            .with_some("generation", self.generation.as_ref());
        let answered = self.within.reach.node()?.call(Method::DELETE, &place, None).await?;
        let what = format!("{}/{} {}", self.within.namespace, self.service, self.id);
        self.within.reach.output().removed(&what, &answered)
    }
}
