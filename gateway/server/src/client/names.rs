//! Services and namespaces.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::failure::Failure;
use super::json::{self, Object, object_of};
use super::node::Node;
use super::output::Column;
use super::target::Place;
use super::{Reach, Within};

/// Items of one page.
const PAGE: usize = 1_000;

const SERVICE_COLUMNS: &[Column] = &[
    ("SERVICE", "/service"),
    ("INSTANCES", "/instances/all"),
    ("HEALTHY", "/instances/healthy"),
    ("ISOLATED", "/instances/isolated"),
    ("OWNER", "/owner"),
    ("DESCRIPTION", "/description"),
];
const NAMESPACE_COLUMNS: &[Column] =
    &[("NAMESPACE", "/namespace"), ("CREATED", "/created_at"), ("DESCRIPTION", "/description")];

#[derive(Args)]
#[command(after_help = "Examples:
  thuban services
  thuban services --namespace team-a --prefix pay --output json
  thuban services delete orders")]
pub(crate) struct Services {
    #[command(subcommand)]
    what: Option<OfService>,
    /// Only names that begin so
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    #[command(flatten)]
    within: Within,
}

#[derive(Subcommand)]
enum OfService {
    /// Delete a service that holds no instances
    Delete {
        /// The service
        name: String,
    },
}

impl Services {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let mut node = self.within.reach.node()?;
        if let Some(OfService::Delete { name }) = &self.what {
            let place = Place::service(&self.within.namespace, name, &[]);
            let answered = node.call(Method::DELETE, &place, None).await?;
            return self.within.reach.output().removed(&format!("{}/{name}", self.within.namespace), &answered);
        }
        let found = services(&mut node, &self.within.namespace, self.prefix.as_deref()).await?;
        self.within.reach.output().items(&listed(found), SERVICE_COLUMNS)
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  thuban namespaces
  thuban namespaces put team-a --description 'everything of team A'
  thuban namespaces delete team-a")]
pub(crate) struct Namespaces {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Subcommand)]
enum What {
    /// Make a namespace, or replace what is said of it
    Put {
        /// The namespace
        name: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        /// What else is said of it; may be repeated
        #[arg(long, value_name = "KEY=VALUE", value_parser = json::pair)]
        metadata: Vec<(String, String)>,
    },
    /// Delete a namespace that holds no services
    Delete {
        /// The namespace
        name: String,
    },
}

impl Namespaces {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let (mut node, output) = (self.reach.node()?, self.reach.output());
        match &self.what {
            None => output.items(&listed(namespaces(&mut node).await?), NAMESPACE_COLUMNS),
            Some(What::Put { name, description, metadata }) => {
                let body = Object::new()
                    .with_some("description", description.clone())
                    .with("metadata", object_of(metadata))
                    .into_value();
                let place = Place::new(&["v1", "namespaces", name]);
                output.document(&node.call(Method::PUT, &place, Some(&body)).await?)
            }
            Some(What::Delete { name }) => {
                let answered = node.call(Method::DELETE, &Place::new(&["v1", "namespaces", name]), None).await?;
                output.removed(name, &answered)
            }
        }
    }
}

pub(super) async fn namespaces(node: &mut Node) -> Result<Vec<Value>, Failure> {
    pages(node, || Place::new(&["v1", "namespaces"])).await
}

pub(super) async fn services(node: &mut Node, namespace: &str, prefix: Option<&str>) -> Result<Vec<Value>, Failure> {
    pages(node, || Place::new(&["v1", "namespaces", namespace, "services"]).with_some("prefix", prefix)).await
}

pub(super) async fn overrides(node: &mut Node, namespace: &str, service: &str) -> Result<Vec<Value>, Failure> {
    match pages(node, || Place::service(namespace, service, &["overrides"])).await {
        // Collected or deleted since it was listed.
        Err(Failure::Refused(refusal)) if refusal.code.as_deref() == Some("service_not_found") => Ok(Vec::new()),
        found => found,
    }
}

/// All items of a list, page after page.
async fn pages(node: &mut Node, place: impl Fn() -> Place) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let page = node.get(&place().with("limit", PAGE).with_some("cursor", cursor.as_ref())).await?;
        items.extend(json::items(&page).iter().cloned());
        match json::text(&page, "/next_cursor") {
            end if end.is_empty() => return Ok(items),
            next => cursor = Some(next),
        }
    }
}

fn listed(items: Vec<Value>) -> Value {
    Object::new().with("items", items).into_value()
}
