//! The whole registry as lines: a head, then namespaces, services and instances, and an end that proves that nothing is
//! missing. What is read back is registered again, so generations and revisions are new.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use http::Method;
use serde_json::{Map, Value};

use super::Reach;
use super::failure::{Failure, Refusal};
use super::json::{self, Object};
use super::names;
use super::node::Node;
use super::output::Output;
use super::target::Place;

/// Of the lines; another one is refused.
const FORMAT: u64 = 1;
/// Instances of one request.
const BATCH: usize = 500;
/// Longest line that is read: an instance at all its limits, and more.
const LINE_BYTES_MAX: u64 = 1 << 20;

const NAMESPACE_FIELDS: &[&str] = &["description", "metadata"];
const SERVICE_FIELDS: &[&str] = &["description", "owner", "metadata", "protect_threshold"];
/// What a provider says of itself; its weight has a rule of its own.
const PROVIDER_FIELDS: &[&str] =
    &["host", "port", "ports", "protocol", "version", "zone", "region", "metadata", "incarnation", "lease"];
const OPERATOR_FIELDS: &[&str] = &["isolated", "weight", "note", "expires_at", "keep_ms"];

#[derive(Args)]
#[command(after_help = "Examples:
  thuban export > registry.jsonl
  thuban export --server http://old:7800 | thuban import --server http://new:7800")]
pub(crate) struct Export {
    /// Only this namespace
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

impl Export {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let mut writer = Writer { node: self.reach.node()?, output: self.reach.output(), lines: 0 };
        writer.line("export", Object::new().with("format", FORMAT))?;
        let namespaces = match &self.namespace {
            Some(name) => vec![writer.node.get(&Place::new(&["v1", "namespaces", name])).await?],
            None => names::namespaces(&mut writer.node).await?,
        };
        for namespace in &namespaces {
            writer.namespace(namespace).await?;
        }
        let lines = writer.lines - 1;
        writer.line("end", Object::new().with("lines", lines))?;
        eprintln!("{lines} lines");
        Ok(())
    }
}

struct Writer {
    node: Node,
    output: Output,
    lines: u64,
}

impl Writer {
    fn line(&mut self, kind: &str, object: Object) -> Result<(), Failure> {
        self.lines += 1;
        self.output.line(&object.with("kind", kind).into_value().to_string())
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
        self.line("service", named().with("settings", picked(service, SERVICE_FIELDS)))?;
        let found = match self.node.get(&Place::service(namespace, &name, &["instances"])).await {
            Ok(found) => found,
            // Collected or deleted since it was listed.
            Err(Failure::Refused(refusal)) if refusal.code.as_deref() == Some("service_not_found") => return Ok(()),
            Err(failure) => return Err(failure),
        };
        for instance in json::items(&found) {
            let operator = instance.get("operator").map(|operator| picked(operator, OPERATOR_FIELDS));
            let line = named()
                .with("id", json::text(instance, "/id"))
                .with("provider", provider(instance))
                .with_some("operator", operator.filter(|operator| operator.as_object().is_some_and(has_word)));
            self.line("instance", line)?;
        }
        Ok(())
    }
}

/// How long it is kept is no word by itself.
fn has_word(operator: &Map<String, Value>) -> bool {
    operator.keys().any(|name| name != "keep_ms")
}

pub(super) fn provider(instance: &Value) -> Value {
    let own = instance.get("provider_weight").or_else(|| instance.get("weight")).cloned();
    let mut provider = picked(instance, PROVIDER_FIELDS);
    if let (Some(fields), Some(weight)) = (provider.as_object_mut(), own) {
        fields.insert("weight".to_owned(), weight);
    }
    provider
}

/// The fields that say something.
fn picked(value: &Value, names: &[&str]) -> Value {
    let says = |value: &&Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let fields = names.iter().filter_map(|name| Some(((*name).to_owned(), value.get(name).filter(says)?.clone())));
    Value::Object(fields.collect())
}

#[derive(Args)]
#[command(after_help = "What is there already is replaced; what is not in the file stays. Instances of sessions
are left out: their sessions register them again.

Examples:
  thuban import registry.jsonl
  thuban export --server http://old:7800 | thuban import --server http://new:7800")]
pub(crate) struct Import {
    /// What `export` wrote; without it standard input
    file: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

impl Import {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let input: Box<dyn Read> = match &self.file {
            Some(path) => {
                let opened = File::open(path);
                Box::new(opened.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?)
            }
            None => {
                if std::io::stdin().is_terminal() {
                    eprintln!("reading standard input");
                }
                Box::new(std::io::stdin())
            }
        };
        let mut reader = Reader::new(self.reach.node()?);
        let mut lines = Lines { input: BufReader::new(input), number: 0 };
        while let Some(line) = lines.next()? {
            reader.line(&line, lines.number).await?;
        }
        reader.end().await
    }
}

struct Lines {
    input: BufReader<Box<dyn Read>>,
    number: u64,
}

impl Lines {
    fn next(&mut self) -> Result<Option<Value>, Failure> {
        let wrong = |number: u64, why: String| Failure::Usage(format!("line {number}: {why}"));
        let mut line = Vec::new();
        let read = self.input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        self.number += 1;
        if read.map_err(|error| wrong(self.number, error.to_string()))? == 0 {
            return Ok(None);
        }
        if line.len() as u64 > LINE_BYTES_MAX {
            return Err(wrong(self.number, format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        serde_json::from_slice(&line).map(Some).map_err(|error| wrong(self.number, format!("not JSON: {error}")))
    }
}

struct Reader {
    node: Node,
    /// Lines with their instances, until there are enough for a request.
    gathered: Vec<(u64, Value)>,
    read: u64,
    registered: u64,
    skipped: u64,
    refused: u64,
    first: Option<Refusal>,
    is_begun: bool,
    is_whole: bool,
}

impl Reader {
    fn new(node: Node) -> Self {
        let gathered = Vec::new();
        let (read, registered, skipped, refused, first) = (0, 0, 0, 0, None);
        Self { node, gathered, read, registered, skipped, refused, first, is_begun: false, is_whole: false }
    }

    async fn line(&mut self, line: &Value, number: u64) -> Result<(), Failure> {
        let kind = json::text(line, "/kind");
        let wrong = |why: String| Err(Failure::Usage(format!("line {number}: {why}")));
        if self.is_begun == (kind == "export") || self.is_whole {
            return wrong(format!("a line \"{kind}\" can't stand here: this is not what export wrote"));
        }
        let settings = || line.get("settings").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        let (namespace, service) = (json::text(line, "/namespace"), json::text(line, "/service"));
        match kind.as_str() {
            "export" if line.get("format").and_then(Value::as_u64) == Some(FORMAT) => {
                self.is_begun = true;
                return Ok(());
            }
            "export" => return wrong(format!("an export of another format; allowed: {FORMAT}")),
            "end" => {
                let said = line.get("lines").and_then(Value::as_u64);
                if said != Some(self.read) {
                    return wrong(format!("{} lines were read, and it says {said:?}", self.read));
                }
                self.is_whole = true;
                return Ok(());
            }
            "namespace" => self.put(&Place::new(&["v1", "namespaces", &namespace]), &settings(), number).await?,
            "service" => {
                self.flush().await?;
                self.put(&Place::service(&namespace, &service, &[]), &settings(), number).await?;
            }
            "instance" => self.gather(line, number).await?,
            _ => return wrong(format!("unknown kind \"{kind}\"; allowed: namespace, service, instance, end")),
        }
        self.read += 1;
        Ok(())
    }

    async fn put(&mut self, place: &Place, body: &Value, number: u64) -> Result<(), Failure> {
        match self.node.call(Method::PUT, place, Some(body)).await {
            Ok(_) => Ok(()),
            Err(Failure::Refused(refusal)) => {
                self.refuse(number, refusal);
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    fn refuse(&mut self, number: u64, refusal: Refusal) {
        eprintln!("line {number}: {refusal}");
        self.refused += 1;
        self.first.get_or_insert(refusal);
    }

    async fn gather(&mut self, line: &Value, number: u64) -> Result<(), Failure> {
        // It belongs to a session, which registers it again by itself.
        if json::text(line, "/provider/lease/kind") == "stream" {
            self.skipped += 1;
            return Ok(());
        }
        self.gathered.push((number, line.clone()));
        if self.gathered.len() < BATCH { Ok(()) } else { self.flush().await }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let gathered = std::mem::take(&mut self.gathered);
        if gathered.is_empty() {
            return Ok(());
        }
        let items: Vec<Value> = gathered.iter().map(|(_, line)| item(line)).collect();
        let body = Object::new().with("items", items).into_value();
        let answered = self.node.call(Method::POST, &Place::new(&["v1", "batch", "register"]), Some(&body)).await?;
        let mut registered = Vec::new();
        for ((number, line), outcome) in gathered.into_iter().zip(json::items(&answered)) {
            match outcome.get("status").and_then(Value::as_u64) {
                Some(200..300) => registered.push((number, line)),
                status => {
                    let status = u16::try_from(status.unwrap_or_default()).unwrap_or_default();
                    self.refuse(number, Refusal::of(status, outcome));
                }
            }
        }
        self.registered += registered.len() as u64;
        for (number, line) in registered {
            self.operate(&line, number).await?;
        }
        eprintln!("{} instances registered", self.registered);
        Ok(())
    }

    async fn operate(&mut self, line: &Value, number: u64) -> Result<(), Failure> {
        let Some(operator) = line.get("operator") else { return Ok(()) };
        let (namespace, service) = (json::text(line, "/namespace"), json::text(line, "/service"));
        let id = json::text(line, "/id");
        let place = Place::service(&namespace, &service, &["instances", &id, "operator"]);
        match self.node.call(Method::PATCH, &place, Some(operator)).await {
            Err(Failure::Refused(refusal)) => {
                self.refuse(number, refusal);
                Ok(())
            }
            other => other.map(drop),
        }
    }

    async fn end(mut self) -> Result<(), Failure> {
        self.flush().await?;
        let Self { registered, skipped, refused, .. } = self;
        eprintln!("{registered} instances registered, {skipped} of sessions left out, {refused} lines refused");
        if !self.is_whole {
            return Err(Failure::Usage("the last line is not there: the export was cut off".to_owned()));
        }
        self.first.map_or(Ok(()), |refusal| Err(Failure::Refused(refusal)))
    }
}

fn item(line: &Value) -> Value {
    let mut fields = line.get("provider").and_then(Value::as_object).cloned().unwrap_or_default();
    for name in ["namespace", "service", "id"] {
        fields.insert(name.to_owned(), line.get(name).cloned().unwrap_or_default());
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests;
