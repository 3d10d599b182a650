//! An answer on its way to its reader.
//!
//! Bytes that other readers share cost nothing here. What was made for this reader alone is counted against a budget
//! until the last of it is sent or dropped, wherever it waits: here, or in the buffers of HTTP/2. A reader that leaves
//! an answer alone for too long loses its connection, and with it all that waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{HeaderMap, Response};
use hyper::body::{Frame, SizeHint};

use super::activity::Activity;
use super::unread::Unread;
use super::{OfOneReader, Refuse};
use crate::admission::Held;

/// What takes up no more than this is not worth counting: a stream itself takes as much.
const FREE_BYTES: usize = 4 << 10;
/// From here on shared bytes too are watched until HTTP/2 has sent the last of them.
const WATCHED_BYTES: usize = 16 << 10;
/// So much is handed over at a time; the next when it is asked for, which is when there is room.
const PIECE_BYTES: usize = 128 << 10;

/// What waits, and the rest.
pub(crate) struct Sent {
    ready: Bytes,
    trailers: Option<HeaderMap>,
    rest: Body,
    has_exact_size: bool,
    unread: Option<Unread>,
    /// What it holds of the budget; `Some` and empty where only its way is watched.
    last: Option<Option<Held>>,
}

/// The last piece, until nobody needs it any more.
struct LastPiece {
    bytes: Bytes,
    _unread: Option<Unread>,
    _held: Option<Held>,
}

impl AsRef<[u8]> for LastPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

pub(super) fn send(response: Response<Body>, activity: Arc<Activity>, refuse: Refuse) -> Response<Sent> {
    let (parts, mut body) = response.into_parts();
    let size = body.size_hint();
    if size.upper().is_none() || body.is_end_stream() {
        return Response::from_parts(parts, Sent::flowing(body));
    }
    let mut sent = Sent::flowing(Body::empty());
    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(bytes) => sent.ready = bytes,
            Err(frame) => sent.trailers = frame.into_trailers().ok(),
        },
        Poll::Ready(None) | Poll::Pending | Poll::Ready(Some(Err(_))) => {}
    }
    sent.rest = body;
    sent.has_exact_size = size.exact().is_some();
    if sent.ready.is_empty() {
        return Response::from_parts(parts, sent);
    }
    let bytes = sent.ready.len();
    // Whatever says so, and what nobody else has a hold of.
    let is_own = bytes > FREE_BYTES && (parts.extensions.get::<OfOneReader>().is_some() || sent.ready.is_unique());
    if is_own {
        match activity.unsent().take(Some(activity.shares()), bytes) {
            Ok(held) => sent.last = Some(Some(held)),
            Err(spent) => {
                let problem = spent.overloaded("the bytes of answers that wait for their readers");
                return refuse(&problem).map(Sent::flowing);
            }
        }
    } else if bytes > WATCHED_BYTES && activity.is_h2() {
        sent.last = Some(None);
    }
    sent.unread = Some(Unread::new(activity));
    Response::from_parts(parts, sent)
}

impl Sent {
    fn flowing(rest: Body) -> Self {
        Self { ready: Bytes::new(), trailers: None, rest, has_exact_size: false, unread: None, last: None }
    }

    fn piece(&mut self) -> Bytes {
        if let Some(unread) = &mut self.unread {
            unread.moved();
        }
        if self.ready.len() > PIECE_BYTES {
            return self.ready.split_to(PIECE_BYTES);
        }
        let bytes = std::mem::take(&mut self.ready);
        let unread = self.unread.take();
        match self.last.take() {
            Some(held) => Bytes::from_owner(LastPiece { bytes, _unread: unread, _held: held }),
            None => bytes,
        }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if !self.ready.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.piece()))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.ready.is_empty() {
            return self.rest.size_hint();
        }
        if self.has_exact_size { SizeHint::with_exact(self.ready.len() as u64) } else { SizeHint::default() }
    }
}
