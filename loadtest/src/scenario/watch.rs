//! From a change to its subscribers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{LONG, Plan, instances_path, provider};
use crate::http::{Connection, request};
use crate::measure::{Latency, histogram};

pub struct Propagation {
    pub watchers: usize,
    pub changes: usize,
    /// From the moment the register is sent to each watcher's having read the event.
    pub latency: Latency,
}

/// Server-sent events, read as they come: the revision of each change event, with the time it was read.
struct Events {
    stream: TcpStream,
    text: Vec<u8>,
}

impl Events {
    async fn open(address: &str, service: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let path = format!("/v1/namespaces/default/services/{service}/watch");
        stream.write_all(&request("GET", &path, "")).await?;
        Ok(Self { stream, text: Vec::new() })
    }

    /// The `id` of the next event named `name`.
    async fn next(&mut self, name: &str) -> Result<String> {
        loop {
            while let Some(at) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let event = String::from_utf8(self.text.drain(..at + 2).collect())?;
                let field = |key: &str| event.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
                if field("event:") == Some(name) {
                    return Ok(field("id:").unwrap_or_default().to_owned());
                }
            }
            ensure!(self.stream.read_buf(&mut self.text).await? > 0, "the stream ended");
        }
    }
}

/// `changes` changes, one each `every`, with `watchers` watchers of the service.
pub async fn watch(plan: &Plan, watchers: usize, changes: usize, every: Duration) -> Result<Propagation> {
    let node = plan.node()?;
    let address: Arc<str> = node.server.http.as_str().into();
    let mut writer = Connection::open(&address).await?;
    put(&mut writer, 0).await?;
    let (seen, mut all_seen) = mpsc::channel::<(String, Instant)>(watchers * 4);
    let mut tasks = Vec::new();
    for _ in 0..watchers {
        let mut events = Events::open(&address, "orders").await?;
        events.next("snapshot").await?;
        let seen = seen.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..changes {
                let id = events.next("change").await?;
                seen.send((id, Instant::now())).await?;
            }
            anyhow::Ok(())
        }));
    }
    let mut latencies: Histogram<u64> = histogram();
    for change in 1..=changes {
        let sent = Instant::now();
        let revision = put(&mut writer, change).await?;
        for _ in 0..watchers {
            let (id, at) = all_seen.recv().await.context("every watcher sees every change")?;
            ensure!(id == revision, "a watcher is at {id}, the change was {revision}");
            latencies.saturating_record(at.duration_since(sent).as_micros() as u64);
        }
        tokio::time::sleep(every).await;
    }
    for task in tasks {
        task.await??;
    }
    Ok(Propagation { watchers, changes, latency: Latency::of(&latencies) })
}

/// Registers instance `n`; the revision.
async fn put(connection: &mut Connection, n: usize) -> Result<String> {
    let path = format!("{}/i-{n}", instances_path("orders"));
    let answer = connection.call(&request("PUT", &path, &provider(n, 2, LONG))).await?;
    let body: serde_json::Value = serde_json::from_slice(answer.body)?;
    ensure!(matches!(answer.status, 200 | 201), "{} {body}", answer.status);
    Ok(body["revision"].as_str().context("a revision")?.to_owned())
}
