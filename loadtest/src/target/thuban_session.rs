//! Thuban on a `Session`: registers, their leases and watches on one stream. What is read is read beside it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use futures::StreamExt;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use schemas::thuban::v1::{DeregisterRequest, Open, SessionReply, SessionRequest, SessionWatch, WatchRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::thuban_grpc::{Grpc, Known, ack_of, check_registered, key, registration};
use super::{Ack, Client, Instance, Subscription};
use crate::scenario::grpc;

/// Requests that wait for the stream; more than the server leaves unanswered.
const WAITING_MAX: usize = 2_048;

/// A stream that was opened.
struct Stream {
    requests: mpsc::Sender<SessionRequest>,
    replies: Streaming<SessionReply>,
    sent: u64,
}

impl Stream {
    async fn open(address: &str) -> Result<Self> {
        let (requests, outgoing) = mpsc::channel(WAITING_MAX);
        requests.send(SessionRequest { request_id: 1, request: Some(Request::Open(Open::default())) }).await?;
        let mut replies = grpc(address).await?.session(ReceiverStream::new(outgoing)).await?.into_inner();
        let first = replies.next().await.context("an answer")??;
        ensure!(matches!(first.reply, Some(Reply::Opened(_))), "not opened: {first:?}");
        Ok(Self { requests, replies, sent: 1 })
    }

    async fn send(&mut self, request: Request) -> Result<()> {
        self.sent += 1;
        let request = SessionRequest { request_id: self.sent, request: Some(request) };
        self.requests.send(request).await.context("the stream is open")
    }

    /// The next that answers or tells something.
    async fn reply(&mut self) -> Result<Reply> {
        loop {
            let reply = self.replies.next().await.context("the stream goes on")??.reply;
            match reply {
                Some(Reply::Problem(problem)) => bail!("refused: {problem:?}"),
                Some(Reply::Ping(_) | Reply::Move(_)) | None => {}
                Some(reply) => return Ok(reply),
            }
        }
    }
}

pub struct Session {
    stream: Stream,
    reader: Grpc,
    ack: i32,
}

impl Session {
    pub async fn open(address: &str, ack: Ack) -> Result<Self> {
        Ok(Self { stream: Stream::open(address).await?, reader: Grpc::open(address, ack).await?, ack: ack_of(ack) })
    }

    async fn registered(&mut self) -> Result<()> {
        match self.stream.reply().await? {
            Reply::Registered(reply) => check_registered(&reply, self.ack),
            other => bail!("{other:?} is no answer to a register"),
        }
    }
}

#[async_trait]
impl Client for Session {
    async fn register(&mut self, instance: &Instance) -> Result<()> {
        self.stream.send(Request::Register(registration(instance, true, self.ack))).await?;
        self.registered().await
    }

    async fn deregister(&mut self, instance: &Instance) -> Result<()> {
        let asked = DeregisterRequest { items: vec![key(instance)], ack: self.ack };
        self.stream.send(Request::Deregister(asked)).await?;
        let Reply::Deregistered(reply) = self.stream.reply().await? else { bail!("no answer to a deregister") };
        let problem = reply.items.first().context("an outcome for each item")?.problem.as_ref();
        ensure!(problem.is_none(), "refused: {problem:?}");
        Ok(())
    }

    async fn read(&mut self, service: &str) -> Result<usize> {
        self.reader.read(service).await
    }

    async fn discover(&mut self, service: &str) -> Result<BTreeSet<Instance>> {
        self.reader.discover(service).await
    }

    async fn pipeline(
        &mut self,
        window: usize,
        next: &mut (dyn FnMut() -> Option<Instance> + Send),
        done: &mut (dyn FnMut(Instant) + Send),
    ) -> Result<()> {
        let mut sent = VecDeque::with_capacity(window);
        loop {
            while sent.len() < window
                && let Some(instance) = next()
            {
                sent.push_back(Instant::now());
                self.stream.send(Request::Register(registration(&instance, true, self.ack))).await?;
            }
            // Answers may come in any order; the load is even, so the oldest stands for all.
            let Some(oldest) = sent.pop_front() else { return Ok(()) };
            self.registered().await?;
            done(oldest);
        }
    }
}

pub struct Watch {
    stream: Stream,
    known: Known,
}

impl Watch {
    pub async fn open(address: &str, service: &str) -> Result<Self> {
        let mut stream = Stream::open(address).await?;
        let watch =
            WatchRequest { namespace: "default".into(), services: vec![service.into()], ..WatchRequest::default() };
        stream.send(Request::Watch(SessionWatch { watch_id: 1, watch: Some(watch) })).await?;
        let mut watch = Self { stream, known: Known::default() };
        watch.next().await?;
        Ok(watch)
    }
}

#[async_trait]
impl Subscription for Watch {
    async fn next(&mut self) -> Result<&BTreeSet<String>> {
        loop {
            if let Reply::Event(told) = self.stream.reply().await? {
                ensure!(told.ended.is_none(), "the watch ended: {:?}", told.ended);
                if told.event.is_some_and(|event| self.known.apply(event)) {
                    return Ok(self.known.ids());
                }
            }
        }
    }
}
