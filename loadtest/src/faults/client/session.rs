//! Holds a stream lease over gRPC: what it registered lives while its connection does; a lost one is resumed by its
//! token on whatever node the load balancer gives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use schemas::thuban::v1::register_outcome::Outcome;
use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use schemas::thuban::v1::{
    Ack, Lease, Open, Opened, Ping, Pong, RegisterItem, RegisterReply, RegisterRequest, SessionReply, SessionRequest,
    lease,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use super::super::truth::{Operation, Truth, Wrong};
use super::{AGAIN, ATTEMPT, REMOVE_AFTER, TTL};

/// How often it asks whether anybody is there, and how long it waits for that.
const PING: Duration = Duration::from_millis(1_500);

pub struct Session {
    pub truth: Arc<Truth>,
    /// The load balancer's gRPC address.
    pub address: String,
    pub service: String,
    pub id: String,
    token: Option<Vec<u8>>,
    world: u64,
}

/// One stream.
struct Stream {
    requests: mpsc::Sender<SessionRequest>,
    replies: Streaming<SessionReply>,
}

impl Session {
    pub fn new(truth: Arc<Truth>, address: &str, service: String, id: String) -> Self {
        Self { truth, address: address.to_owned(), service, id, token: None, world: 0 }
    }

    pub async fn live(mut self) {
        let mut failures = 0;
        while self.is_alive() {
            let before = self.renewals();
            if let Err(error) = self.hold().await {
                failures = if self.renewals() > before { 1 } else { failures + 1 };
                self.truth.failed(&self.id, failures, &format!("{error:#}"));
            }
            self.truth.change(&self.id, |known| known.node = None);
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn is_alive(&self) -> bool {
        self.truth.of(&self.id).is_some_and(|known| known.died_at.is_none())
    }

    fn renewals(&self) -> u64 {
        self.truth.of(&self.id).map_or(0, |known| known.renewals)
    }

    /// Opens or resumes, registers, and stays until the stream ends, it has to move, or this provider dies.
    async fn hold(&mut self) -> Result<()> {
        self.truth.count(Operation::Writes);
        let mut stream = timeout(ATTEMPT * 3, self.open()).await.context("no session within 3 s")??;
        let mut next_ping = Instant::now() + PING;
        let mut unanswered = None::<Instant>;
        let mut leave_at = None::<Instant>;
        while self.is_alive() {
            if leave_at.is_some_and(|at| at <= Instant::now()) {
                return Ok(());
            }
            if unanswered.is_some_and(|since| since.elapsed() > PING * 2) {
                bail!("the node does not answer");
            }
            if unanswered.is_none() && Instant::now() >= next_ping {
                stream.send(2, Request::Ping(Ping { nonce: 1 }))?;
                unanswered = Some(Instant::now());
            }
            // Short, so that one that is to die does so at once.
            let Ok(reply) = timeout(Duration::from_millis(50), stream.replies.message()).await else { continue };
            match reply?.context("the stream ended")?.reply {
                Some(Reply::Pong(_)) => {
                    self.truth.change(&self.id, |known| known.renewals += 1);
                    self.truth.renewed_well();
                    self.truth.count(Operation::Writes);
                    (unanswered, next_ping) = (None, Instant::now() + PING);
                }
                Some(Reply::Ping(ping)) => stream.send(0, Request::Pong(Pong { nonce: ping.nonce }))?,
                Some(Reply::Registered(registered)) => self.registered(&registered)?,
                Some(Reply::Move(moved)) => {
                    leave_at = Some(Instant::now() + Duration::from_millis(moved.after_ms.into()));
                }
                Some(Reply::Problem(problem)) => bail!("{}: {}", problem.code, problem.detail),
                _ => {}
            }
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<Stream> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?;
        let channel = endpoint.connect_timeout(ATTEMPT).connect().await?;
        let (requests, outgoing) = mpsc::channel(16);
        let open = Open {
            token: self.token.clone(),
            grace_ms: Some(TTL.as_millis() as u32),
            client: self.id.clone(),
            ping: true,
        };
        requests.send(SessionRequest { request_id: 1, request: Some(Request::Open(open)) }).await?;
        let replies = RegistryClient::new(channel).session(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut stream = Stream { requests, replies };
        let first = stream.replies.message().await?.context("the stream ended")?;
        match first.reply {
            Some(Reply::Opened(opened)) => self.opened(opened),
            Some(Reply::Problem(problem)) => bail!("{}: {}", problem.code, problem.detail),
            other => bail!("not opened: {other:?}"),
        }
        // Said again behind a resume it changes nothing.
        let register = RegisterRequest { items: vec![self.item()], ..RegisterRequest::default() };
        stream.send(3, Request::Register(register))?;
        Ok(stream)
    }

    fn opened(&mut self, opened: Opened) {
        let known = self.truth.of(&self.id);
        let is_held = known.is_some_and(|known| known.held.is_some());
        if self.token.is_some() && !opened.resumed && is_held && self.world == self.truth.world() {
            let what = format!("the session of {} is unknown to {}", self.id, opened.node);
            self.truth.found(Wrong::ToldUnknown, &self.id, what);
        }
        (self.token, self.world) = (Some(opened.token), self.truth.world());
        self.truth.change(&self.id, |known| known.node = Some(opened.node));
    }

    fn registered(&self, reply: &RegisterReply) -> Result<()> {
        let first = reply.items.first().context("an outcome")?;
        match &first.outcome {
            Some(Outcome::Instance(instance)) => {
                let revision = instance.revision.parse().ok().filter(|_| first.ack == Ack::Log as i32);
                if revision.is_some() {
                    self.truth.wrote_well();
                }
                let revision = revision.filter(|_| self.world == self.truth.world());
                self.truth.change(&self.id, |known| {
                    known.renewals += 1;
                    known.held = known.held.or(revision.map(|revision| (Instant::now(), revision)));
                });
                Ok(())
            }
            Some(Outcome::Problem(problem)) => bail!("{}: {}", problem.code, problem.detail),
            None => bail!("an outcome without content"),
        }
    }

    fn item(&self) -> RegisterItem {
        let lease = Lease {
            kind: lease::Kind::Stream as i32,
            remove_after_ms: Some(REMOVE_AFTER.as_millis() as u32),
            ..Lease::default()
        };
        RegisterItem {
            service: self.service.clone(),
            id: self.id.clone(),
            host: "10.0.0.2".into(),
            port: Some(2_000),
            lease: Some(lease),
            ..RegisterItem::default()
        }
    }
}

impl Stream {
    fn send(&self, request_id: u64, request: Request) -> Result<()> {
        let sent = self.requests.try_send(SessionRequest { request_id, request: Some(request) });
        sent.ok().context("the stream takes nothing")
    }
}
