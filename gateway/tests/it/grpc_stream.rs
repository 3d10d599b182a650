//! A client's end of one session stream.

use std::collections::BTreeMap;

use schemas::thuban::v1 as pb;
use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::grpc_world::{World, soon};

pub(crate) struct Stream {
    requests: Option<mpsc::UnboundedSender<pb::SessionRequest>>,
    replies: Streaming<pb::SessionReply>,
    next_id: u64,
    /// Read, and not asked for yet.
    kept: BTreeMap<u64, Reply>,
    told: Vec<Reply>,
}

impl Stream {
    /// A stream on which nothing was said yet.
    pub(crate) async fn raw(client: &mut RegistryClient<Channel>) -> Self {
        Self::begin(client).await.expect("it streams")
    }

    /// As [`Stream::raw`], where there may be no room for it.
    pub(crate) async fn begin(client: &mut RegistryClient<Channel>) -> Result<Self, Status> {
        let (requests, sent) = mpsc::unbounded_channel();
        let replies = soon(client.session(UnboundedReceiverStream::new(sent))).await?.into_inner();
        Ok(Self { requests: Some(requests), replies, next_id: 0, kept: BTreeMap::new(), told: Vec::new() })
    }

    /// A stream whose session is open.
    pub(crate) async fn open(client: &mut RegistryClient<Channel>, open: pb::Open) -> (Self, pb::Opened) {
        let mut stream = Self::raw(client).await;
        let Reply::Opened(opened) = stream.call(Request::Open(open)).await else { panic!("not opened") };
        (stream, opened)
    }

    /// On a connection of its own.
    pub(crate) async fn new(world: &World) -> (Self, pb::Opened) {
        Self::open(&mut world.client().await, pb::Open::default()).await
    }

    pub(crate) fn say(&mut self, request_id: u64, request: Request) {
        let requests = self.requests.as_ref().expect("not half-closed");
        let _ = requests.send(pb::SessionRequest { request_id, request: Some(request) });
    }

    /// A request of no kind.
    pub(crate) fn say_nothing(&mut self, request_id: u64) {
        let requests = self.requests.as_ref().expect("not half-closed");
        let _ = requests.send(pb::SessionRequest { request_id, request: None });
    }

    /// Sends without waiting for the answer; the request's id.
    pub(crate) fn send(&mut self, request: Request) -> u64 {
        self.next_id += 1;
        self.say(self.next_id, request);
        self.next_id
    }

    pub(crate) async fn call(&mut self, request: Request) -> Reply {
        let id = self.send(request);
        self.answer(id).await
    }

    /// The one answer to a request.
    pub(crate) async fn answer(&mut self, id: u64) -> Reply {
        loop {
            if let Some(reply) = self.kept.remove(&id) {
                return reply;
            }
            self.read().await.expect("the stream goes on");
        }
    }

    /// The next thing that the server says unasked.
    pub(crate) async fn unasked(&mut self) -> Reply {
        while self.told.is_empty() {
            self.read().await.expect("the stream goes on");
        }
        self.told.remove(0)
    }

    pub(crate) async fn event(&mut self) -> (u64, pb::WatchEvent) {
        match self.unasked().await {
            Reply::Event(event) => (event.watch_id, event.event.expect("not the end of a watch")),
            other => panic!("not an event: {other:?}"),
        }
    }

    /// Everything until the end, and the status; `None`: it ended well.
    pub(crate) async fn rest(&mut self) -> (Vec<Reply>, Option<Status>) {
        let end = loop {
            match self.read().await {
                Ok(true) => {}
                Ok(false) => break None,
                Err(status) => break Some(status),
            }
        };
        (std::mem::take(&mut self.told), end)
    }

    /// Reads one reply; false at the end.
    pub(crate) async fn read(&mut self) -> Result<bool, Status> {
        let Some(reply) = soon(self.replies.message()).await? else { return Ok(false) };
        let said = reply.reply.expect("a reply says something");
        if reply.request_id == 0 {
            self.told.push(said);
        } else {
            let twice = self.kept.insert(reply.request_id, said);
            assert!(twice.is_none(), "request {} is answered twice", reply.request_id);
        }
        Ok(true)
    }

    /// Says that no more will come, and goes on reading.
    pub(crate) fn half_close(&mut self) {
        self.requests = None;
    }

    pub(crate) async fn register(&mut self, items: Vec<pb::RegisterItem>) -> pb::RegisterReply {
        let request = pb::RegisterRequest { items, ..pb::RegisterRequest::default() };
        match self.call(Request::Register(request)).await {
            Reply::Registered(reply) => reply,
            other => panic!("not registered: {other:?}"),
        }
    }
}

pub(crate) fn watch(watch_id: u64, services: &[&str]) -> Request {
    let services = services.iter().map(|name| (*name).to_owned()).collect();
    let watch = Some(pb::WatchRequest { services, ..pb::WatchRequest::default() });
    Request::Watch(pb::SessionWatch { watch_id, watch })
}

pub(crate) fn goodbye(deregister: bool) -> Request {
    Request::Goodbye(pb::Goodbye { deregister })
}

pub(crate) fn ping(nonce: u64) -> Request {
    Request::Ping(pb::Ping { nonce })
}
