//! Follows a service by server-sent events through the load balancer, and goes on where it was on whatever node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::check::chain::{Chain, Item, Told};
use super::super::truth::{Operation, Revision, Seen, Truth, Wrong};
use super::AGAIN;

/// An event comes at least each 10 s.
pub(super) const SILENT: Duration = Duration::from_secs(15);
/// Of one event.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// What a watcher has made of its events, for who compares it with the truth: the id of each, and whether it is healthy.
pub type View = Arc<Mutex<BTreeMap<String, bool>>>;

/// What every watcher does with what it is told, whatever brings it.
pub struct Follower {
    pub truth: Arc<Truth>,
    pub service: String,
    pub name: String,
    pub view: View,
    chain: Chain,
    world: u64,
}

impl Follower {
    pub fn new(truth: Arc<Truth>, service: &str, name: &str) -> Self {
        let (service, name) = (service.to_owned(), name.to_owned());
        Self { truth, service, name, view: View::default(), chain: Chain::new(), world: 0 }
    }

    /// Where a new connection is to go on.
    pub(super) fn resume(&mut self) -> Option<Revision> {
        if self.world != self.truth.world() {
            // Nothing of what it saw means anything any more.
            (self.chain, self.world) = (Chain::new(), self.truth.world());
        }
        self.chain.resumes();
        self.chain.at()
    }

    /// Ends where the chain is broken: the watcher begins anew.
    pub(super) fn take(&mut self, told: Told) -> Result<()> {
        self.truth.count(Operation::Events);
        ensure!(self.world == self.truth.world(), "all state was wiped");
        let is_shown = matches!(told, Told::Snapshot { is_complete: true, .. } | Told::Change { .. });
        if let Err(what) = self.chain.take(told) {
            self.truth.found(Wrong::BrokenChain, &what, format!("{} of {}: {what}", self.name, self.service));
            self.chain = Chain::new();
            bail!(what);
        }
        if is_shown && let Some(revision) = self.chain.at() {
            let listed = self.chain.view.clone();
            self.view.lock().expect("nobody panics with it").clone_from(&listed);
            let (service, by) = (self.service.clone(), self.name.clone());
            // What it shows is as old as the event: it is held to what holds at that revision.
            self.truth.judge(&Seen { service, asked: Instant::now(), revision, listed, by });
        }
        Ok(())
    }

    pub(super) async fn ended(&self, how: Result<()>) {
        let how = how.err().map_or_else(|| "the stream ended".to_owned(), |error| format!("{error:#}"));
        self.truth.failed(&self.name, 1, &how);
        tokio::time::sleep(AGAIN).await;
    }
}

pub struct Watcher {
    pub address: String,
    pub follower: Follower,
}

impl Watcher {
    pub async fn live(mut self) {
        loop {
            let how = self.follow().await;
            self.follower.ended(how).await;
        }
    }

    async fn follow(&mut self) -> Result<()> {
        let from = self.follower.resume();
        let mut events = timeout(SILENT, Events::open(&self.address, &self.follower.service, from)).await??;
        while let Some((name, body)) = timeout(SILENT, events.next()).await.context("15 s of silence")?? {
            if let Some(told) = told(&name, &body)? {
                self.follower.take(told)?;
            }
        }
        Ok(())
    }
}

fn told(name: &str, body: &Value) -> Result<Option<Told>> {
    let revision = |key: &str| -> Result<Revision> { body[key].as_str().context("a revision")?.parse() };
    let items = |key: &str| {
        let listed = super::reader::listed(&body[key]);
        listed.into_iter().map(|(id, is_healthy)| Item { id, is_healthy }).collect()
    };
    Ok(Some(match name {
        "snapshot" => {
            let is_complete = body["complete"].as_bool().context("whether it is complete")?;
            Told::Snapshot { items: items("items"), revision: revision("to")?, is_complete }
        }
        "change" => {
            let removed = body["removed"].as_array().map(Vec::as_slice).unwrap_or_default();
            let removed = removed.iter().filter_map(|one| Some(one["id"].as_str()?.to_owned())).collect();
            Told::Change { from: revision("from")?, to: revision("to")?, put: items("put"), removed }
        }
        "progress" => Told::Progress { revision: revision("revision").or_else(|_| revision("to"))? },
        "compacted" => Told::Compacted,
        _ => return Ok(None),
    }))
}

/// The events of one answer, out of its chunks.
struct Events {
    stream: TcpStream,
    raw: Vec<u8>,
    text: Vec<u8>,
}

impl Events {
    async fn open(address: &str, service: &str, from: Option<Revision>) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let last = from.map(|from| format!("last-event-id: {from}\r\n")).unwrap_or_default();
        let path = format!("/v1/namespaces/default/services/{service}/watch");
        let wanted = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{last}\r\n");
        stream.write_all(wanted.as_bytes()).await?;
        let mut events = Self { stream, raw: Vec::new(), text: Vec::new() };
        let head = loop {
            if let Some(at) = find(&events.raw, b"\r\n\r\n") {
                break events.raw.drain(..at + 4).collect::<Vec<u8>>();
            }
            ensure!(events.read().await?, "the answer ended in its head");
        };
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "{}", head.lines().next().unwrap_or_default());
        ensure!(head.contains("transfer-encoding: chunked"), "a stream of events comes in chunks: {head}");
        Ok(events)
    }

    async fn read(&mut self) -> Result<bool> {
        ensure!(self.raw.len() + self.text.len() < EVENT_BYTES_MAX, "an event of more than {EVENT_BYTES_MAX} bytes");
        Ok(self.stream.read_buf(&mut self.raw).await? > 0)
    }

    /// The name and the data of the next one; `None`: the stream ended.
    async fn next(&mut self) -> Result<Option<(String, Value)>> {
        loop {
            if let Some(at) = find(&self.text, b"\n\n") {
                let block: Vec<u8> = self.text.drain(..at + 2).collect();
                let text = std::str::from_utf8(&block)?;
                let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
                if let (Some(name), Some(content)) = (field("event:"), field("data:")) {
                    return Ok(Some((name.to_owned(), serde_json::from_str(content)?)));
                }
                continue;
            }
            if !self.unchunk()? && !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Takes one whole chunk, if there is one.
    fn unchunk(&mut self) -> Result<bool> {
        let Some(line) = find(&self.raw, b"\r\n") else { return Ok(false) };
        let size = usize::from_str_radix(std::str::from_utf8(&self.raw[..line])?.trim(), 16)?;
        if self.raw.len() < line + 2 + size + 2 {
            return Ok(false);
        }
        self.text.extend_from_slice(&self.raw[line + 2..line + 2 + size]);
        self.raw.drain(..line + 2 + size + 2);
        Ok(true)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
