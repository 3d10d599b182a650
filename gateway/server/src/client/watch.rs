use std::time::Duration;

use clap::Args;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::Within;
use super::failure::Failure;
use super::instances::Filter;
use super::json;
use super::output::{Output, cell};
use super::register::interrupted;
use super::target::Place;

/// A node says something at least every 10 s; one that is silent for longer is dead.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Longest event: a service of a great many instances.
const EVENT_BYTES_MAX: usize = 1 << 30;

#[derive(Args)]
#[command(after_help = "A line for each event: what it is, where, the revision, what came and what went. --output json
prints the events themselves, one a line.

A stream that is lost is opened again, behind the last revision that was printed, for as long as it takes: after what
the node has asked for, then ever more seldom, at most 10 s apart. Where the node no longer has what lies between, as
after a restart, `compacted` and a snapshot stand for it. Only what will not pass by itself ends the command, such as
a token that was taken away, and a first opening that fails.

Examples:
  thuban watch orders
  thuban watch --namespace team-a --output json
  thuban watch orders --usable true --from 1.57.2")]
pub(crate) struct Watch {
    /// The service; without it all of the namespace
    service: Option<String>,
    /// Go on behind this revision
    #[arg(long, value_name = "REVISION")]
    from: Option<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    within: Within,
}

impl Watch {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        tokio::select! {
            ended = self.follow_on() => ended,
            stopped = interrupted() => stopped,
        }
    }

    async fn follow_on(&self) -> Result<(), Failure> {
        let mut node = self.within.reach.node()?;
        let output = self.within.reach.output();
        let namespace = &self.within.namespace;
        let place = match &self.service {
            Some(service) => Place::service(namespace, service, &["watch"]),
            None => Place::new(&["v1", "namespaces", namespace, "watch"]),
        };
        let place = self.filter.apply(place).with_some("from", self.from.as_ref());
        let mut reached = Reached { last: None, pause: Pause::default() };
        let mut was_open = false;
        loop {
            let why = match node.open(&place, reached.last.as_deref()).await {
                Ok(body) => {
                    if was_open {
                        eprintln!("the stream is open again");
                    }
                    was_open = true;
                    format!("the stream ended ({})", follow(body, output, &mut reached).await?)
                }
                Err(failure) if was_open && failure.is_passing() => failure.to_string(),
                Err(failure) => return Err(failure),
            };
            let pause = reached.pause.next();
            eprintln!("{why}; next try in {:.1} s", pause.as_secs_f64());
            sleep(pause).await;
        }
    }
}

/// How far a watcher has come.
struct Reached {
    /// The last event that can be gone on behind; it stands before what the command line says.
    last: Option<String>,
    pause: Pause,
}

/// How long to wait before the stream is opened again: what the node has asked for, then twice that, and so on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    told: Duration,
    next: Duration,
}

impl Pause {
    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(10);

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::MAX);
        pause
    }

    /// An event has come: from here on it begins anew.
    pub(super) fn begin(&mut self, told: Option<Duration>) {
        self.told = told.map_or(self.told, |told| told.clamp(Self::MIN, Self::MAX));
        self.next = self.told;
    }
}

impl Default for Pause {
    fn default() -> Self {
        let told = Duration::from_secs(1);
        Self { told, next: told }
    }
}

/// Prints events until the stream ends; says why it did.
async fn follow(mut body: Incoming, output: Output, reached: &mut Reached) -> Result<String, Failure> {
    let mut events = Events::default();
    loop {
        let frame = match timeout(SILENCE_MAX, body.frame()).await {
            Err(_) => return Ok(format!("silent for {} s", SILENCE_MAX.as_secs())),
            Ok(None) => return Ok("closed by the node".to_owned()),
            Ok(Some(Err(error))) => return Ok(error.to_string()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(bytes) = frame.into_data() else { continue };
        for event in events.take(&bytes) {
            print(output, &event)?;
            if event.id.is_some() {
                reached.last = event.id;
            }
            reached.pause.begin(None);
        }
        if let Some(told) = events.told.take() {
            reached.pause.begin(Some(told));
        }
        if events.pending.len() > EVENT_BYTES_MAX {
            return Ok(format!("an event of more than {EVENT_BYTES_MAX} bytes"));
        }
    }
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) id: Option<String>,
    pub(super) body: String,
}

/// Takes events out of bytes as they come.
#[derive(Default)]
pub(super) struct Events {
    pending: Vec<u8>,
    /// Up to here there is no end of line in it.
    searched: usize,
    event: Event,
    /// When to come back, if the stream ends.
    pub(super) told: Option<Duration>,
}

impl Events {
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.pending.extend_from_slice(bytes);
        let mut taken = Vec::new();
        let mut start = 0;
        while let Some(at) = self.pending[self.searched..].iter().position(|byte| *byte == b'\n') {
            let end = self.searched + at;
            let line = String::from_utf8_lossy(&self.pending[start..end]).into_owned();
            start = end + 1;
            self.searched = start;
            taken.extend(self.line(line.trim_end_matches('\r')));
        }
        self.pending.drain(..start);
        self.searched = self.pending.len();
        taken
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.body.is_empty()).then_some(event);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => self.event.kind = value.to_owned(),
            "id" => self.event.id = Some(value.to_owned()),
            "retry" => self.told = value.parse().map(Duration::from_millis).ok().or(self.told),
            "data" => {
                if !self.event.body.is_empty() {
                    self.event.body.push('\n');
                }
                self.event.body.push_str(value);
            }
            _ => {}
        }
        None
    }
}

fn print(output: Output, event: &Event) -> Result<(), Failure> {
    let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
    if output.is_json() {
        let line = json::Object::new()
            .with("event", event.kind.clone())
            .with_some("id", event.id.clone())
            .with("data", body)
            .into_value();
        return output.line(&line.to_string());
    }
    let mut words = vec![cell(&event.kind)];
    let name = [json::text(&body, "/namespace"), json::text(&body, "/service")].join("/");
    words.extend(Some(name.trim_end_matches('/')).filter(|name| !name.is_empty()).map(cell));
    words.extend(event.id.as_deref().map(|id| format!("@{}", cell(id))));
    match event.kind.as_str() {
        "snapshot" if body.get("exists").and_then(Value::as_bool) == Some(false) => words.push("unknown".to_owned()),
        "snapshot" if json::items(&body).is_empty() => words.push(json::emptiness(&body)),
        "snapshot" => words.push(described(&body, "items", "items")),
        "change" => {
            words.push(described(&body, "put", "put"));
            words.push(described(&body, "removed", "removed"));
        }
        _ => {}
    }
    words.retain(|word| !word.is_empty());
    output.line(&words.join(" "))
}

/// `put: 10.0.0.7:8080(healthy), 10.0.0.8:8080(check_failed)`.
fn described(body: &Value, list: &str, name: &str) -> String {
    let items = body.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if items.is_empty() {
        return String::new();
    }
    let described = items.iter().map(|item| {
        let state = match item.get("healthy").and_then(Value::as_bool) {
            Some(true) if item.get("isolated").and_then(Value::as_bool) == Some(true) => "isolated".to_owned(),
            Some(true) => "healthy".to_owned(),
            Some(false) => json::text(item, "/health_reason"),
            None => json::text(item, "/reason"),
        };
        format!("{}({})", cell(&json::text(item, "/id")), cell(&state))
    });
    format!("{name}: {}", described.collect::<Vec<_>>().join(", "))
}
