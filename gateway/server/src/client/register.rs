use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

use super::failure::{Failure, Refusal};
use super::json::{self, Object, object_of};
use super::node::Node;
use super::output::Output;
use super::target::Place;
use super::{Acknowledged, Within};

/// TTL of a lease that names none, as the contract has it.
const TTL_MS_DEFAULT: u32 = 15_000;
/// Until the next try while the node does not answer.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Args)]
#[command(after_help = "Examples:
  thuban register orders --host 10.0.0.7 --port 8080 --keep
      register, renew until Ctrl-C, then deregister
  thuban register orders --host 10.0.0.7 --port 8080 --version 1.4.2 --zone eu-1a --metadata team=payments
      register once: it expires after 15 s unless something renews it
  thuban register db --host 10.0.0.9 --port 5432 --check-tcp
      the node itself checks that the port opens
  thuban register www --host www.example.org --port 443 --permanent")]
pub(crate) struct Register {
    /// The service
    service: String,
    /// Name or IP address by which consumers reach the instance
    #[arg(long)]
    host: String,
    /// Port by which consumers reach the instance
    #[arg(long)]
    port: u16,
    /// Which instance of the service; without it HOST:PORT
    #[arg(long)]
    id: Option<String>,
    /// Another port, by name; may be repeated
    #[arg(long = "named-port", value_name = "NAME=PORT", value_parser = json::pair)]
    ports: Vec<(String, String)>,
    /// What is spoken there, such as http
    #[arg(long)]
    protocol: Option<String>,
    /// Share of the load, 0 to 10000; without it 100
    #[arg(long)]
    weight: Option<u32>,
    /// Of the program that runs there
    #[arg(long)]
    version: Option<String>,
    /// Where it runs
    #[arg(long)]
    zone: Option<String>,
    /// Where the zone is
    #[arg(long)]
    region: Option<String>,
    /// What else is said of it; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = json::pair)]
    metadata: Vec<(String, String)>,
    /// Names the process: another one is another generation
    #[arg(long)]
    incarnation: Option<String>,
    /// Unhealthy when it was not renewed for so long; without it 15000
    #[arg(long, value_name = "MS")]
    ttl_ms: Option<u32>,
    /// Removed when it was unhealthy for so long; without it 30000, and never if a check fails
    #[arg(long, value_name = "MS")]
    remove_after_ms: Option<u32>,
    #[command(flatten)]
    checked: Checked,
    /// Listed until somebody removes it
    #[arg(long, conflicts_with_all = ["ttl_ms", "remove_after_ms", "check_http", "check_tcp", "check_grpc", "keep"])]
    permanent: bool,
    /// Renew until Ctrl-C, then deregister
    #[arg(long, conflicts_with_all = ["check_http", "check_tcp", "check_grpc"])]
    keep: bool,
    #[command(flatten)]
    acknowledged: Acknowledged,
    #[command(flatten)]
    within: Within,
}

/// Probes by the node in place of renewals.
#[derive(Args)]
#[command(next_help_heading = "Checks by the node, in place of renewals")]
struct Checked {
    /// Healthy while a GET of this path answers 2xx
    #[arg(long, value_name = "PATH", conflicts_with_all = ["check_tcp", "check_grpc", "ttl_ms"])]
    check_http: Option<String>,
    /// Healthy while its port accepts connections
    #[arg(long, conflicts_with_all = ["check_grpc", "ttl_ms"])]
    check_tcp: bool,
    /// Healthy while grpc.health.v1 says SERVING; without a NAME for the server as a whole
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", conflicts_with = "ttl_ms")]
    check_grpc: Option<String>,
    /// From one probe to the next
    #[arg(long, value_name = "MS")]
    check_interval_ms: Option<u32>,
    /// For the answer to a probe
    #[arg(long, value_name = "MS")]
    check_timeout_ms: Option<u32>,
    /// Failed probes in a row that make it unhealthy
    #[arg(long, value_name = "COUNT")]
    check_failures: Option<u32>,
    /// Good probes in a row that make it healthy again
    #[arg(long, value_name = "COUNT")]
    check_successes: Option<u32>,
    /// Port to probe; without it the instance's own
    #[arg(long, value_name = "PORT")]
    check_port: Option<u16>,
}

/// How a turn of keeping alive ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Renewed,
    Gone,
    Unanswered,
}

impl Register {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let mut node = self.within.reach.node()?;
        let output = self.within.reach.output();
        let registered = self.put(&mut node).await?;
        output.document(&registered)?;
        if self.keep { self.keep(&mut node, output, registered).await } else { Ok(()) }
    }

    fn id(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        self.id.clone().unwrap_or_else(|| format!("{host}:{}", self.port))
    }

    fn place(&self, rest: &[&str]) -> Place {
        let id = self.id();
        let start = ["instances", id.as_str()];
        Place::service(&self.within.namespace, &self.service, &[&start[..], rest].concat())
    }

    fn body(&self) -> Result<Value, Failure> {
        let mut ports = Object::new();
        for (name, port) in &self.ports {
            let wrong = |_| Failure::Usage(format!("--named-port {name}={port}; allowed: NAME=PORT, 0 to 65535"));
            ports = ports.with(name, port.parse::<u16>().map_err(wrong)?);
        }
        let body = Object::new()
            .with("host", self.host.clone())
            .with("port", self.port)
            .with("ports", ports.into_value())
            .with_some("protocol", self.protocol.clone())
            .with_some("weight", self.weight)
            .with_some("version", self.version.clone())
            .with_some("zone", self.zone.clone())
            .with_some("region", self.region.clone())
            .with_some("incarnation", self.incarnation.clone())
            .with("metadata", object_of(&self.metadata))
            .with("lease", self.lease());
        Ok(body.into_value())
    }

    fn lease(&self) -> Value {
        let checked = &self.checked;
        let probe = match (&checked.check_http, checked.check_tcp, &checked.check_grpc) {
            (Some(path), ..) => Some(("http", Value::from(path.clone()))),
            (None, true, _) => Some(("tcp", Value::from(true))),
            (None, false, Some(name)) => Some(("grpc", Value::from(name.clone()))),
            (None, false, None) => None,
        };
        let kind = if self.permanent { "permanent" } else { probe.as_ref().map_or("ttl", |_| "checked") };
        let check = probe.map(|(name, value)| {
            Object::new()
                .with(name, value)
                .with_some("interval_ms", checked.check_interval_ms)
                .with_some("timeout_ms", checked.check_timeout_ms)
                .with_some("failures", checked.check_failures)
                .with_some("successes", checked.check_successes)
                .with_some("port", checked.check_port)
                .into_value()
        });
        Object::new()
            .with("kind", kind)
            .with_some("ttl_ms", self.ttl_ms)
            .with_some("remove_after_ms", self.remove_after_ms)
            .with_some("check", check)
            .into_value()
    }

    async fn put(&self, node: &mut Node) -> Result<Value, Failure> {
        let place = self.place(&[]).with("ack", self.acknowledged.ack.as_str());
        node.call(Method::PUT, &place, Some(&self.body()?)).await
    }

    /// Until somebody interrupts; only the node's word that the instance is unknown makes it register again.
    async fn keep(&self, node: &mut Node, output: Output, registered: Value) -> Result<(), Failure> {
        let third = Duration::from_millis(u64::from(self.ttl_ms.unwrap_or(TTL_MS_DEFAULT) / 3));
        let mut generation = json::text(&registered, "/generation");
        let mut interrupted = std::pin::pin!(interrupted());
        let mut pause = third;
        loop {
            tokio::select! {
                stopped = &mut interrupted => {
                    stopped?;
                    break;
                }
                () = sleep(pause) => {}
            }
            pause = third;
            match self.renew(node, &generation).await? {
                Turn::Renewed => {}
                Turn::Unanswered => pause = RETRY.min(third),
                Turn::Gone => match self.put(node).await {
                    Ok(registered) => {
                        generation = json::text(&registered, "/generation");
                        output.document(&registered)?;
                    }
                    Err(failure) if failure.is_passing() => {
                        eprintln!("not registered again: {failure}");
                        pause = RETRY.min(third);
                    }
                    Err(failure) => return Err(failure),
                },
            }
        }
        let place = self.place(&[]).with_some("generation", Some(generation).filter(|text| !text.is_empty()));
        node.call(Method::DELETE, &place, None).await.map(drop)
    }

    async fn renew(&self, node: &mut Node, generation: &str) -> Result<Turn, Failure> {
        let place = self.place(&["renew"]).with_some("generation", Some(generation).filter(|text| !text.is_empty()));
        let answer = match node.ask(Method::POST, &place, None).await {
            Ok(answer) => answer,
            Err(failure @ Failure::Unreachable { .. }) => {
                eprintln!("not renewed: {failure}");
                return Ok(Turn::Unanswered);
            }
            Err(failure) => return Err(failure),
        };
        if answer.status.is_success() {
            return Ok(Turn::Renewed);
        }
        let refusal = Refusal::read(answer.status.as_u16(), &answer.body);
        eprintln!("not renewed: {refusal}");
        match answer.status {
            StatusCode::NOT_FOUND => Ok(Turn::Gone),
            _ if refusal.is_passing() => Ok(Turn::Unanswered),
            _ => Err(Failure::Refused(refusal)),
        }
    }
}

/// Ctrl-C, or a polite kill.
pub(super) async fn interrupted() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Failure::Usage(format!("signals can't be heard: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
