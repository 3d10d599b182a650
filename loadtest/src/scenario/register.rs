//! Registers of new instances, acknowledged by the log on disk, beside a bare server that answers the same bytes.

use std::collections::VecDeque;
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

use super::{LONG, Pair, Plan, grpc, instances_path, provider, unused};
use crate::http::{Connection, request};
use crate::measure::{Pace, Run, Timer, run};
use crate::process::Server;

/// By HTTP, one register a request.
pub async fn http(plan: &Plan, connections: usize, pace: Pace) -> Result<Pair> {
    let mut best = None;
    let bare = plan.bare(1).await?;
    for _ in 0..plan.repeats {
        let node = plan.node()?;
        let before = applied(&node.server.http).await?;
        let of_node = http_run(plan, &node.server, connections, pace).await?;
        check_all_applied(&node.server.http, before, of_node.operations).await?;
        best = Some(Pair::better(best, Pair { node: of_node, bare: http_run(plan, &bare, connections, pace).await? }));
    }
    best.context("repeats is 0: nothing was measured")
}

async fn http_run(plan: &Plan, server: &Server, connections: usize, pace: Pace) -> Result<Run> {
    let address: Arc<str> = server.http.as_str().into();
    run(server, connections, pace, plan.warm_up, plan.span, move |_, mut timer, end| {
        let address = address.clone();
        async move {
            let mut connection = Connection::open(&address).await?;
            while Instant::now() < end {
                let n = unused();
                let path = format!("{}/i-{n}", instances_path(&format!("service-{}", n / 10 % 10_000)));
                let wanted = request("PUT", &path, &provider(n, 5, LONG));
                let begun = timer.begin().await;
                let answer = connection.call(&wanted).await?;
                let text = || String::from_utf8_lossy(answer.body).into_owned();
                // 201: it is new, so it went through the log.
                ensure!(answer.status == 201, "{} {}", answer.status, text());
                timer.end(begun);
            }
            Ok(timer)
        }
    })
    .await
}

/// The truth: the node has applied a change for each register that it acknowledged.
async fn check_all_applied(address: &str, before: u64, acknowledged: u64) -> Result<()> {
    let changes = applied(address).await? - before;
    ensure!(changes >= acknowledged, "{acknowledged} were acknowledged and {changes} applied");
    Ok(())
}

async fn applied(address: &str) -> Result<u64> {
    let mut connection = Connection::open(address).await?;
    let answer = connection.call(&request("GET", "/metrics", "")).await?;
    let text = String::from_utf8_lossy(answer.body).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("thuban_changes_applied_total "));
    Ok(line.map_or(Ok(0.0), str::parse::<f64>)? as u64)
}

/// On Session streams, with `window` registers unanswered on each.
pub async fn session(plan: &Plan, streams: usize, window: usize) -> Result<Pair> {
    let mut best = None;
    let bare = plan.bare(1).await?;
    for _ in 0..plan.repeats {
        let node = plan.node()?;
        let before = applied(&node.server.http).await?;
        let of_node = session_run(plan, &node.server, streams, window).await?;
        check_all_applied(&node.server.http, before, of_node.operations).await?;
        best = Some(Pair::better(best, Pair { node: of_node, bare: session_run(plan, &bare, streams, window).await? }));
    }
    best.context("repeats is 0: nothing was measured")
}

async fn session_run(plan: &Plan, server: &Server, streams: usize, window: usize) -> Result<Run> {
    let address: Arc<str> = server.grpc.as_str().into();
    run(server, streams, Pace::Closed, plan.warm_up, plan.span, move |_, timer, end| {
        let address = address.clone();
        async move { Pipelined::open(&address).await?.run(window, timer, end).await }
    })
    .await
}

/// A register of a new instance.
pub(super) fn on_session(request_id: u64) -> SessionRequest {
    let n = unused();
    let item = RegisterItem {
        namespace: "default".into(),
        service: format!("service-{}", n / 10 % 10_000),
        id: format!("s-{n}"),
        host: "10.0.0.1".into(),
        port: Some(8080),
        zone: "eu-1a".into(),
        version: "1.4.2".into(),
        metadata: (0..5).map(|key| (format!("key-{key}"), format!("value-{key}-{}", n % 97))).collect(),
        lease: Some(Lease { kind: lease::Kind::Stream as i32, ..Lease::default() }),
        ..RegisterItem::default()
    };
    let register = RegisterRequest { items: vec![item], brief: true, ..RegisterRequest::default() };
    SessionRequest { request_id, request: Some(Request::Register(register)) }
}

/// One Session with many requests under way.
struct Pipelined {
    requests: mpsc::Sender<SessionRequest>,
    replies: Streaming<SessionReply>,
    sent: u64,
}

impl Pipelined {
    async fn open(address: &str) -> Result<Self> {
        let (requests, outgoing) = mpsc::channel(2_048);
        let open = SessionRequest { request_id: 1, request: Some(Request::Open(Open::default())) };
        requests.send(open).await?;
        let mut replies = grpc(address).await?.session(ReceiverStream::new(outgoing)).await?.into_inner();
        let first = replies.next().await.context("an answer")??;
        ensure!(matches!(first.reply, Some(Reply::Opened(_))), "not opened: {first:?}");
        Ok(Self { requests, replies, sent: 1 })
    }

    async fn run(mut self, window: usize, mut timer: Timer, end: Instant) -> Result<Timer> {
        let mut begun = VecDeque::with_capacity(window);
        loop {
            while begun.len() < window && Instant::now() < end {
                self.sent += 1;
                begun.push_back(Instant::now());
                self.requests.send(on_session(self.sent)).await.context("the stream is open")?;
            }
            if begun.is_empty() {
                return Ok(timer);
            }
            let reply = self.replies.next().await.context("an answer")??;
            match reply.reply {
                Some(Reply::Registered(registered)) => {
                    let outcome = registered.items.first().and_then(|item| item.outcome.as_ref());
                    ensure!(matches!(outcome, Some(Outcome::Instance(_))), "refused: {registered:?}");
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
