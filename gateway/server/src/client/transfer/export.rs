//! The registry as lines, read from a node.

use clap::Args;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{FORMAT, KEPT_FIELDS, NAMESPACE_FIELDS, OPERATOR_FIELDS, SERVICE_FIELDS, hex, picked, provider};
use crate::client::Reach;
use crate::client::failure::Failure;
use crate::client::json::{self, Object};
use crate::client::names;
use crate::client::node::Node;
use crate::client::output::Output;
use crate::client::target::Place;

#[derive(Args)]
#[command(
    after_help = "Namespaces, services with their settings, instances with what their provider registered and what an
operator set, and what operators set where nobody is registered, in the order of their names. The last line has the
SHA-256 of what is between it and the first: two registries of one content have one digest. Not in it: health,
generations and revisions, sessions, their instances, and words that wait for a session alone. While the registry
changes, each service is as it was when it was read.

Examples:
  thuban export > registry.jsonl
  thuban export --server http://old:7800 | thuban import --server http://new:7800"
)]
pub(crate) struct Export {
    /// Only this namespace
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

impl Export {
    pub(in crate::client) async fn run(&self) -> Result<(), Failure> {
        let output = self.reach.output();
        let mut writer = Writer {
            node: self.reach.node()?,
            output,
            lines: 0,
            for_sessions: 0,
            of_sessions: 0,
            digest: Sha256::new(),
        };
        output.line(&Object::new().with("format", FORMAT).with("kind", "export").into_value().to_string())?;
        let namespaces = match &self.namespace {
            Some(name) => vec![writer.node.get(&Place::new(&["v1", "namespaces", name])).await?],
            None => names::namespaces(&mut writer.node).await?,
        };
        for namespace in &namespaces {
            writer.namespace(namespace).await?;
        }
        let Writer { lines, for_sessions, of_sessions, digest, .. } = writer;
        let digest = hex(&digest.finalize());
        let end = Object::new().with("digest", digest.as_str()).with("kind", "end").with("lines", lines);
        output.line(&end.into_value().to_string())?;
        eprintln!(
            "{lines} lines, digest {digest}; left out: {of_sessions} instances of sessions, {for_sessions} words of \
             operators that wait for a session"
        );
        Ok(())
    }
}

struct Writer {
    node: Node,
    output: Output,
    lines: u64,
    /// What is not written: sessions do not move. They register their instances again by themselves, elsewhere as others.
    for_sessions: usize,
    of_sessions: usize,
    digest: Sha256,
}

impl Writer {
    fn line(&mut self, kind: &str, object: Object) -> Result<(), Failure> {
        let line = object.with("kind", kind).into_value().to_string();
        self.lines += 1;
        self.digest.update(&line);
        self.digest.update(b"\n");
        self.output.line(&line)
    }

    async fn namespace(&mut self, namespace: &Value) -> Result<(), Failure> {
        let name = json::text(namespace, "/namespace");
        let line = Object::new().with("namespace", name.clone()).with("settings", picked(namespace, NAMESPACE_FIELDS));
        self.line("namespace", line)?;
        for service in names::services(&mut self.node, &name, None).await? {
            self.service(&name, &service).await?;
        }
        Ok(())
    }

    async fn service(&mut self, namespace: &str, service: &Value) -> Result<(), Failure> {
        let name = json::text(service, "/service");
        let named = || Object::new().with("namespace", namespace).with("service", name.clone());
        let found = match self.node.get(&Place::service(namespace, &name, &["instances"])).await {
            Ok(found) => found,
            // Collected or deleted since it was listed.
            Err(Failure::Refused(refusal)) if refusal.code.as_deref() == Some("service_not_found") => return Ok(()),
            Err(failure) => return Err(failure),
        };
        self.line("service", named().with("settings", picked(service, SERVICE_FIELDS)))?;
        for instance in json::items(&found) {
            if json::text(instance, "/lease/kind") == "stream" {
                self.of_sessions += 1;
                continue;
            }
            let operator = instance.get("operator").map(|operator| picked(operator, OPERATOR_FIELDS));
            let line = named()
                .with("id", json::text(instance, "/id"))
                .with("provider", provider(instance))
                .with_some("operator", operator.filter(|operator| operator.as_object().is_some_and(has_word)));
            self.line("instance", line)?;
        }
        for kept in names::overrides(&mut self.node, namespace, &name).await? {
            let for_one = kept.get("same_incarnation_only") == Some(&Value::Bool(true));
            if for_one && json::text(&kept, "/incarnation").is_empty() {
                self.for_sessions += 1;
                continue;
            }
            let operator = kept.get("operator").map(|operator| picked(operator, OPERATOR_FIELDS));
            let line = named()
                .with("id", json::text(&kept, "/id"))
                .with_some("operator", operator)
                .with("kept", picked(&kept, KEPT_FIELDS));
            self.line("override", line)?;
        }
        Ok(())
    }
}

/// How long it is kept is a word only if it is some time.
fn has_word(operator: &Map<String, Value>) -> bool {
    operator.iter().any(|(name, value)| name != "keep_ms" || value.as_u64() != Some(0))
}
