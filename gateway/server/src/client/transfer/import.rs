//! Lines that `export` wrote, registered at a node.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{FORMAT, FORMAT_OLDEST, OPERATOR_FIELDS, hex, picked};
use crate::client::Reach;
use crate::client::failure::{Failure, Refusal};
use crate::client::json::{self, Object};
use crate::client::node::Node;
use crate::client::target::Place;

/// Instances of one request.
const BATCH: usize = 500;
/// Longest line that is read: an instance at all its limits, and more.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// How long is waited before what a node could not do now is asked again: half a minute in all.
const PAUSES_MS: [u64; 9] = [250, 500, 1_000, 2_000, 4_000, 4_000, 6_000, 6_000, 6_000];

#[derive(Args)]
#[command(
    after_help = "What is there already is replaced; what is not in the file stays, and so does an operator's word
where the file has none. The same again changes nothing: an import that broke off is begun anew. A word of an operator
where the file has no instance is kept for whoever registers there; who has already gets it at once.

Every instance is registered as if its provider did it: it has a new generation, is healthy, and has the full time of
its lease until it has to be heard. Instances of sessions are left out, for their sessions register them again; and so are
words of operators whose time is over.

Examples:
  thuban import registry.jsonl
  thuban export --server http://old:7800 | thuban import --server http://new:7800"
)]
pub(crate) struct Import {
    /// What `export` wrote; without it standard input
    file: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

impl Import {
    pub(in crate::client) async fn run(&self) -> Result<(), Failure> {
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
        import(input, self.reach.node()?, &PAUSES_MS).await.0
    }
}

/// How it ended, and at which line.
async fn import(input: Box<dyn Read>, node: Node, pauses_ms: &'static [u64]) -> (Result<(), Failure>, u64) {
    let mut reader = Reader::new(node, pauses_ms);
    let mut lines = Lines { input: BufReader::new(input), number: 0 };
    let read = async {
        while let Some(line) = lines.next()? {
            reader.line(&line).await?;
        }
        Ok(())
    };
    match read.await {
        Ok(()) => (reader.end().await, lines.number),
        Err(failure) => (Err(failure), lines.number),
    }
}

struct Line {
    number: u64,
    bytes: Vec<u8>,
    value: Value,
}

impl Line {
    fn wrong(&self, why: impl std::fmt::Display) -> Failure {
        Failure::Usage(format!("line {}: {why}", self.number))
    }

    fn text(&self, place: &str) -> String {
        json::text(&self.value, place)
    }
}

struct Lines {
    input: BufReader<Box<dyn Read>>,
    number: u64,
}

impl Lines {
    fn next(&mut self) -> Result<Option<Line>, Failure> {
        self.number += 1;
        let mut line = Line { number: self.number, bytes: Vec::new(), value: Value::Null };
        let read = self.input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line.bytes);
        if read.map_err(|error| line.wrong(error))? == 0 {
            return Ok(None);
        }
        if line.bytes.len() as u64 > LINE_BYTES_MAX {
            return Err(line.wrong(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        line.value = serde_json::from_slice(&line.bytes).map_err(|error| line.wrong(format!("not JSON: {error}")))?;
        Ok(Some(line))
    }
}

/// What came of the lines.
#[derive(Default)]
struct Counts {
    read: u64,
    registered: u64,
    /// Of sessions.
    skipped: u64,
    /// Words of operators where the lines have no instance.
    kept: u64,
    /// Words of operators whose time is over, or whose process has given way to another.
    ended: u64,
    refused: u64,
}

#[derive(Default)]
enum Stage {
    #[default]
    New,
    Begun,
    /// The last line was there. What is said of the lines before it: how they differ from what it says.
    Whole(Option<String>),
}

struct Reader {
    node: Node,
    /// It answered once: that it does not now will pass.
    is_known: bool,
    /// Lines with their instances, until there are enough for a request.
    gathered: Vec<(u64, Value)>,
    /// Between asking and asking again.
    pauses_ms: &'static [u64],
    counts: Counts,
    digest: Sha256,
    first: Option<Refusal>,
    stage: Stage,
}

impl Reader {
    fn new(node: Node, pauses_ms: &'static [u64]) -> Self {
        let (gathered, counts, stage) = Default::default();
        Self { node, is_known: false, gathered, pauses_ms, counts, digest: Sha256::new(), first: None, stage }
    }

    async fn line(&mut self, line: &Line) -> Result<(), Failure> {
        let kind = line.text("/kind");
        match (&self.stage, kind.as_str()) {
            (Stage::New, "export") => return self.begin(line),
            (Stage::Begun, "end") => return self.finish(line),
            (Stage::Begun, "namespace" | "service" | "instance" | "override") => {}
            (Stage::Begun, unknown) if unknown != "export" => {
                let unknown = unknown.escape_debug();
                let allowed = "namespace, service, instance, override, end";
                return Err(line.wrong(format!("unknown kind \"{unknown}\"; allowed: {allowed}")));
            }
            (_, kind) => {
                let kind = kind.escape_debug();
                return Err(line.wrong(format!("a line \"{kind}\" can't stand here: this is not what export wrote")));
            }
        }
        self.digest.update(&line.bytes);
        self.counts.read += 1;
        let settings = || line.value.get("settings").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        let (namespace, service) = (line.text("/namespace"), line.text("/service"));
        match kind.as_str() {
            "namespace" => self.put(&Place::new(&["v1", "namespaces", &namespace]), &settings(), line.number).await,
            "service" => {
                self.flush().await?;
                self.put(&Place::service(&namespace, &service, &[]), &settings(), line.number).await
            }
            "override" => {
                self.flush().await?;
                self.keep(line).await
            }
            _ => self.gather(line).await,
        }
    }

    fn begin(&mut self, line: &Line) -> Result<(), Failure> {
        let format = line.value.get("format").and_then(Value::as_u64);
        if !format.is_some_and(|format| (FORMAT_OLDEST..=FORMAT).contains(&format)) {
            return Err(line.wrong(format!("an export of another format; allowed: {FORMAT_OLDEST} to {FORMAT}")));
        }
        self.stage = Stage::Begun;
        Ok(())
    }

    fn finish(&mut self, line: &Line) -> Result<(), Failure> {
        let said = line.value.get("lines").and_then(Value::as_u64);
        if said != Some(self.counts.read) {
            return Err(line.wrong(format!("{} lines were read, and it says {said:?}", self.counts.read)));
        }
        let (said, found) = (line.text("/digest"), hex(&self.digest.clone().finalize()));
        // The first format had none.
        let differs = !said.is_empty() && said != found;
        let why =
            || format!("line {}: it says digest {}, and what was read has {found}", line.number, said.escape_debug());
        self.stage = Stage::Whole(differs.then(why));
        Ok(())
    }

    /// Asks again what the node can't do now, once it has answered at all.
    async fn call(&mut self, method: Method, place: &Place, body: &Value) -> Result<Value, Failure> {
        let mut pauses = self.pauses_ms.iter();
        loop {
            let answered = self.node.call(method.clone(), place, Some(body)).await;
            let failure = match answered {
                Err(failure) if self.is_known && failure.is_passing() => failure,
                answered => {
                    self.is_known |= answered.is_ok();
                    return answered;
                }
            };
            let Some(pause) = pauses.next() else { return Err(failure) };
            eprintln!("{failure}; asking again in {pause} ms");
            tokio::time::sleep(Duration::from_millis(*pause)).await;
        }
    }

    async fn put(&mut self, place: &Place, body: &Value, number: u64) -> Result<(), Failure> {
        let answered = self.call(Method::PUT, place, body).await;
        self.unless_refused(answered, number).map(drop)
    }

    /// What is refused is said, counted, and left out.
    fn unless_refused(&mut self, answered: Result<Value, Failure>, number: u64) -> Result<Option<Value>, Failure> {
        match answered {
            Ok(value) => Ok(Some(value)),
            Err(Failure::Refused(refusal)) if !refusal.is_passing() => {
                self.refuse(number, refusal);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn refuse(&mut self, number: u64, refusal: Refusal) {
        eprintln!("line {number}: {refusal}");
        self.counts.refused += 1;
        self.first.get_or_insert(refusal);
    }

    async fn gather(&mut self, line: &Line) -> Result<(), Failure> {
        // It belongs to a session, which registers it again by itself.
        if line.text("/provider/lease/kind") == "stream" {
            self.counts.skipped += 1;
            return Ok(());
        }
        self.gathered.push((line.number, line.value.clone()));
        if self.gathered.len() < BATCH { Ok(()) } else { self.flush().await }
    }

    /// Registers what was gathered; what a node can't take now, again.
    async fn flush(&mut self) -> Result<(), Failure> {
        let mut pauses = self.pauses_ms.iter();
        while !self.gathered.is_empty() {
            let passing = self.register().await?;
            let Some(refusal) = passing else { break };
            let Some(pause) = pauses.next() else { return Err(Failure::Refused(refusal)) };
            eprintln!("{} instances: {refusal}; asking again in {pause} ms", self.gathered.len());
            tokio::time::sleep(Duration::from_millis(*pause)).await;
        }
        Ok(())
    }

    /// One request. What it could not do now stays gathered; why, of one of these.
    async fn register(&mut self) -> Result<Option<Refusal>, Failure> {
        let gathered = std::mem::take(&mut self.gathered);
        let items: Vec<Value> = gathered.iter().map(|(_, line)| item(line)).collect();
        let body = Object::new().with("items", items).into_value();
        let answered = self.call(Method::POST, &Place::new(&["v1", "batch", "register"]), &body).await?;
        let mut passing = None;
        for ((number, line), outcome) in gathered.into_iter().zip(json::items(&answered)) {
            let status = outcome.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
            let status = status.unwrap_or_default();
            if (200..300).contains(&status) {
                self.counts.registered += 1;
                self.operate(&line, outcome, number).await?;
                continue;
            }
            let refusal = Refusal::of(status, outcome);
            if refusal.is_passing() {
                self.gathered.push((number, line));
                passing.get_or_insert(refusal);
            } else {
                self.refuse(number, refusal);
            }
        }
        eprintln!("{} instances registered", self.counts.registered);
        Ok(passing)
    }

    /// Keeps an operator's word for whoever comes, unless somebody has come.
    async fn keep(&mut self, line: &Line) -> Result<(), Failure> {
        let (namespace, service, id) = (line.text("/namespace"), line.text("/service"), line.text("/id"));
        let mut word = line.value.get("operator").and_then(Value::as_object).cloned().unwrap_or_default();
        word.extend(line.value.get("kept").and_then(Value::as_object).cloned().unwrap_or_default());
        let place = Place::service(&namespace, &service, &["overrides", &id]);
        let answered = self.call(Method::PUT, &place, &Value::Object(word)).await;
        match answered {
            Ok(_) => self.counts.kept += 1,
            Err(Failure::Refused(refusal)) if refusal.code.as_deref() == Some("conflict") => {
                return self.hand_over(line, refusal).await;
            }
            Err(Failure::Refused(refusal)) if refusal.is_about_time() => {
                eprintln!("line {}: {refusal}", line.number);
                self.counts.ended += 1;
            }
            answered => drop(self.unless_refused(answered, line.number)?),
        }
        Ok(())
    }

    /// Who is registered where a word was kept for whoever comes, or for this process, gets it now.
    async fn hand_over(&mut self, line: &Line, conflict: Refusal) -> Result<(), Failure> {
        let (namespace, service, id) = (line.text("/namespace"), line.text("/service"), line.text("/id"));
        let instance = match self.node.get(&Place::service(&namespace, &service, &["instances", &id])).await {
            Ok(instance) => instance,
            // Nobody is: there is no room for it.
            Err(Failure::Refused(refusal)) if refusal.status == 404 => {
                self.refuse(line.number, conflict);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let wanted = line.text("/kept/incarnation");
        if !wanted.is_empty() && wanted != json::text(&instance, "/incarnation") {
            self.counts.ended += 1;
            return Ok(());
        }
        self.counts.kept += 1;
        self.operate(&line.value, &Object::new().with("instance", instance).into_value(), line.number).await
    }

    /// Sets an operator's word as the line has it, all of it, unless it is the one that is there.
    async fn operate(&mut self, line: &Value, outcome: &Value, number: u64) -> Result<(), Failure> {
        let Some(operator) = line.get("operator") else { return Ok(()) };
        let there = outcome.pointer("/instance/operator").map(|operator| picked(operator, OPERATOR_FIELDS));
        if there.as_ref() == Some(operator) {
            return Ok(());
        }
        let (namespace, service) = (json::text(line, "/namespace"), json::text(line, "/service"));
        let place = Place::service(&namespace, &service, &["instances", &json::text(line, "/id"), "operator"]);
        let answered = self.call(Method::PATCH, &place, &whole(operator)).await;
        if let Err(Failure::Refused(refusal)) = &answered
            && refusal.is_about_time()
        {
            self.counts.ended += 1;
            return Ok(());
        }
        self.unless_refused(answered, number).map(drop)
    }

    async fn end(mut self) -> Result<(), Failure> {
        self.flush().await?;
        let Counts { registered, skipped, kept, ended, refused, .. } = self.counts;
        eprintln!(
            "{registered} instances registered, {skipped} of sessions left out, {kept} words of operators kept, {ended} \
             words of operators were over, {refused} lines refused"
        );
        match (self.first, self.stage) {
            (Some(refusal), _) => Err(Failure::Refused(refusal)),
            (None, Stage::Whole(None)) => Ok(()),
            (None, Stage::Whole(Some(differs))) => Err(Failure::Usage(differs)),
            (None, Stage::New | Stage::Begun) => {
                Err(Failure::Usage("the last line is not there: the export was cut off".to_owned()))
            }
        }
    }
}

/// What is not said is cleared.
fn whole(operator: &Value) -> Value {
    let field = |name: &&str| ((*name).to_owned(), operator.get(name).cloned().unwrap_or_default());
    Value::Object(OPERATOR_FIELDS.iter().map(field).collect())
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
