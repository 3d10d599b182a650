//! Server-sent events, as a client reads them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;

use crate::caller::{Answer, Caller};

#[derive(Debug, Clone, Default)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) id: Option<String>,
    pub(crate) body: Value,
}

pub(crate) struct Stream {
    body: Incoming,
    pending: String,
    ready: VecDeque<Event>,
    _caller: Caller,
}

/// What opening a stream came to.
pub(crate) enum Opened {
    Stream(Stream),
    Refused(Answer),
}

impl Stream {
    pub(crate) async fn open(address: SocketAddr, path: &str, last: Option<&str>) -> io::Result<Opened> {
        let mut caller = Caller::connect(address).await?;
        let mut request = Request::builder().uri(path).header("host", "localhost");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Full::<Bytes>::default()).map_err(io::Error::other)?;
        let (head, body) = caller.send(request).await?.into_parts();
        if head.status.is_success() {
            return Ok(Opened::Stream(Self { body, pending: String::new(), ready: VecDeque::new(), _caller: caller }));
        }
        let text = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let body = serde_json::from_slice(&text).unwrap_or_default();
        Ok(Opened::Refused(Answer { status: head.status, headers: head.headers, body }))
    }

    /// The next event; `None` when the stream is over, in whatever way.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let bytes = self.body.frame().await?.ok()?.into_data().ok()?;
            self.pending.push_str(std::str::from_utf8(&bytes).expect("events are UTF-8 and cut at characters"));
            while let Some(end) = self.pending.find("\n\n") {
                let text: String = self.pending.drain(..end + 2).collect();
                self.ready.extend(event(&text));
            }
        }
    }
}

fn event(text: &str) -> Option<Event> {
    let mut event = Event::default();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("event", kind)) => event.kind = kind.to_owned(),
            Some(("id", id)) => event.id = Some(id.to_owned()),
            Some(("data", json)) => event.body = serde_json::from_str(json).expect("data is one line of JSON"),
            Some(("retry", _)) | None => {}
            Some((other, _)) => panic!("an unknown field {other} in {text}"),
        }
    }
    (!event.kind.is_empty()).then_some(event)
}
