//! Registers, acknowledged by the log on disk.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use schemas::thuban::v1::register_outcome::Outcome;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use schemas::thuban::v1::{Lease, Open, RegisterItem, RegisterRequest, SessionReply, SessionRequest, lease};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{LONG, Plan, grpc, instances_path, provider};
use crate::http::{Connection, request};
use crate::measure::{Pace, Run, Timer, run};

/// By HTTP, one register a request, each of another instance.
pub async fn http(plan: &Plan, connections: usize, pace: Pace) -> Result<Run> {
    let node = plan.node()?;
    let address: Arc<str> = node.server.http.as_str().into();
    let result = run(&node.server, connections, pace, plan.warm_up, plan.span, move |client, mut timer, end| {
        let address = address.clone();
        async move {
            let mut connection = Connection::open(&address).await?;
            let mut index = 0;
            while Instant::now() < end {
                let unique = client * 10_000_000 + index;
                index += 1;
                let path = format!("{}/i-{unique}", instances_path(&format!("service-{}", unique / 10 % 10_000)));
                let wanted = request("PUT", &path, &provider(unique, 5, LONG));
                let begun = timer.begin().await;
                let answer = connection.call(&wanted).await?;
                let text = || String::from_utf8_lossy(answer.body).into_owned();
                ensure!(matches!(answer.status, 200 | 201), "{} {}", answer.status, text());
                timer.end(begun);
            }
            Ok(timer)
        }
    })
    .await?;
    check_metrics(&node.server.http, result.operations).await?;
    Ok(result)
}

/// The truth: the node has at least what was acknowledged in the measured time.
async fn check_metrics(address: &str, acknowledged: u64) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let answer = connection.call(&request("GET", "/metrics", "")).await?;
    let text = String::from_utf8_lossy(answer.body).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("thuban_changes_applied_total "));
    let applied: f64 = line.context("the counter of applied changes")?.parse()?;
    ensure!(applied >= acknowledged as f64, "{acknowledged} were acknowledged and {applied} applied");
    Ok(())
}

/// On Session streams, with `window` registers unanswered on each.
pub async fn session(plan: &Plan, streams: usize, window: usize) -> Result<Run> {
    let node = plan.node()?;
    let address: Arc<str> = node.server.grpc.as_str().into();
    let result = run(&node.server, streams, Pace::Closed, plan.warm_up, plan.span, move |client, timer, end| {
        let address = address.clone();
        async move { Pipelined::open(&address, client).await?.run(window, timer, end).await }
    })
    .await?;
    check_metrics(&node.server.http, result.operations).await?;
    Ok(result)
}

/// One Session with many requests under way.
struct Pipelined {
    requests: mpsc::Sender<SessionRequest>,
    replies: Streaming<SessionReply>,
    client: usize,
    sent: u64,
}

impl Pipelined {
    async fn open(address: &str, client: usize) -> Result<Self> {
        let (requests, outgoing) = mpsc::channel(2_048);
        let open = SessionRequest { request_id: 1, request: Some(Request::Open(Open::default())) };
        requests.send(open).await?;
        let mut replies = grpc(address).await?.session(ReceiverStream::new(outgoing)).await?.into_inner();
        let first = replies.next().await.context("an answer")??;
        ensure!(matches!(first.reply, Some(Reply::Opened(_))), "not opened: {first:?}");
        // What one client registers differs from the last run's, so that each is a change.
        let client = client * 1_000 + (Instant::now().elapsed().as_nanos() as usize % 7);
        Ok(Self { requests, replies, client, sent: 1 })
    }

    async fn send(&mut self, salt: u32) -> Result<()> {
        self.sent += 1;
        let n = self.sent;
        let item = RegisterItem {
            namespace: "default".into(),
            service: format!("service-{}", n / 10 % 10_000),
            id: format!("i-{}-{salt}-{n}", self.client),
            host: "10.0.0.1".into(),
            port: Some(8080),
            zone: "eu-1a".into(),
            version: "1.4.2".into(),
            metadata: (0..5).map(|key| (format!("key-{key}"), format!("value-{key}-{}", n % 97))).collect(),
            lease: Some(Lease { kind: lease::Kind::Stream as i32, ..Lease::default() }),
            ..RegisterItem::default()
        };
        let register = RegisterRequest { items: vec![item], brief: true, ..RegisterRequest::default() };
        let request = SessionRequest { request_id: n, request: Some(Request::Register(register)) };
        self.requests.send(request).await.context("the stream is open")
    }

    async fn run(mut self, window: usize, mut timer: Timer, end: Instant) -> Result<Timer> {
        let salt = std::process::id();
        let mut begun = std::collections::VecDeque::with_capacity(window);
        loop {
            while begun.len() < window && Instant::now() < end {
                begun.push_back(Instant::now());
                self.send(salt).await?;
            }
            if begun.is_empty() {
                return Ok(timer);
            }
            let reply = self.replies.next().await.context("an answer")??;
            match reply.reply {
                Some(Reply::Registered(registered)) => {
                    let is_there =
                        matches!(registered.items.first().and_then(|o| o.outcome.as_ref()), Some(Outcome::Instance(_)));
                    ensure!(is_there, "refused: {registered:?}");
                    // Answers may come in any order; the load is even, so the oldest stands for all.
                    if let Some(at) = begun.pop_front() {
                        timer.end(at);
                    }
                }
                Some(Reply::Problem(problem)) => anyhow::bail!("refused: {problem:?}"),
                _ => {}
            }
        }
    }
}
