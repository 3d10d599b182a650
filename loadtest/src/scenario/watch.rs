//! From a change to its subscribers, beside a bare server that sends the same bytes to as many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{LONG, Plan, instances_path, provider, unused};
use crate::http::{Connection, request};
use crate::measure::{Latency, histogram};
use crate::process::Server;

#[derive(Clone, Debug, serde::Serialize)]
pub struct Propagation {
    pub watchers: usize,
    pub changes: usize,
    /// From the moment the register is sent to each watcher's having read the event.
    pub latency: Latency,
    /// CPU time of the server for each event that a watcher read; 0 where its process is not known.
    pub cpu_us_each: f64,
}

/// Server-sent events, read as they come.
pub(crate) struct Events {
    stream: TcpStream,
    text: Vec<u8>,
}

pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) text: Vec<u8>,
}

impl Events {
    pub(crate) async fn open(address: &str, service: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let path = format!("/v1/namespaces/default/services/{service}/watch");
        stream.write_all(&request("GET", &path, "")).await?;
        Ok(Self { stream, text: Vec::new() })
    }

    /// The next event named `name`. Reads over what frames the chunks of the body: no line of an event looks like it.
    pub(crate) async fn next(&mut self, name: &str) -> Result<Event> {
        loop {
            while let Some(at) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..at + 2).collect();
                let text = std::str::from_utf8(&block)?;
                let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
                if field("event:") == Some(name) {
                    let fields = text.lines().filter(|line| line.contains(": "));
                    let clean: String = fields.flat_map(|line| [line, "\n"]).chain(["\n"]).collect();
                    return Ok(Event { id: field("id:").unwrap_or_default().to_owned(), text: clean.into_bytes() });
                }
            }
            ensure!(self.stream.read_buf(&mut self.text).await? > 0, "the stream ended");
        }
    }
}

pub struct Beside {
    pub node: Propagation,
    pub bare: Propagation,
}

/// `changes` changes, one each `every`, with `watchers` watchers of the service.
pub async fn watch(plan: &Plan, watchers: usize, changes: usize, every: Duration) -> Result<Beside> {
    let node = plan.node()?;
    let of_node = propagate(&node.server, watchers, changes, every, true).await?;
    let bare = plan.bare(1).await?;
    Ok(Beside { node: of_node, bare: propagate(&bare, watchers, changes, every, false).await? })
}

async fn propagate(
    server: &Server,
    watchers: usize,
    changes: usize,
    every: Duration,
    is_true: bool,
) -> Result<Propagation> {
    let service = format!("watched-{}", unused());
    let address: Arc<str> = server.http.as_str().into();
    let mut writer = Connection::open(&address).await?;
    put(&mut writer, &service).await?;
    let (seen, mut all_seen) = mpsc::channel::<(String, Instant)>(watchers * 4);
    let mut tasks = Vec::new();
    for _ in 0..watchers {
        let mut events = Events::open(&address, &service).await?;
        events.next("snapshot").await?;
        let seen = seen.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..changes {
                let event = events.next("change").await?;
                seen.send((event.id, Instant::now())).await?;
            }
            anyhow::Ok(())
        }));
    }
    let mut latencies: Histogram<u64> = histogram();
    let cpu = server.cpu()?;
    for _ in 0..changes {
        let sent = Instant::now();
        let revision = put(&mut writer, &service).await?;
        for _ in 0..watchers {
            let (id, at) = all_seen.recv().await.context("every watcher sees every change")?;
            ensure!(id == revision || !is_true, "a watcher is at {id}, the change was {revision}");
            latencies.saturating_record(at.duration_since(sent).as_micros() as u64);
        }
        tokio::time::sleep(every).await;
    }
    let cpu = server.cpu()?.zip(cpu).map(|(after, before)| after - before).unwrap_or_default();
    for task in tasks {
        task.await??;
    }
    let cpu_us_each = cpu.as_secs_f64() * 1e6 / (changes * watchers).max(1) as f64;
    Ok(Propagation { watchers, changes, latency: Latency::of(&latencies), cpu_us_each })
}

/// Registers a new instance; the revision.
async fn put(connection: &mut Connection, service: &str) -> Result<String> {
    let n = unused();
    let path = format!("{}/i-{n}", instances_path(service));
    let answer = connection.call(&request("PUT", &path, &provider(n, 2, LONG))).await?;
    let body: serde_json::Value = serde_json::from_slice(answer.body)?;
    ensure!(matches!(answer.status, 200 | 201), "{} {body}", answer.status);
    Ok(body["revision"].as_str().context("a revision")?.to_owned())
}
