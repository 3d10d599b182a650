//! gRPC's framing on an HTTP/2 body: messages out of a request, frames and a status into a reply.
//!
//! Ours and not tonic's codec, for two reasons. What is encoded once (a view, a delta) goes out as the bytes that all
//! readers share, header included, without a copy. And a request that can't be read is the caller's mistake and says
//! so; tonic calls it INTERNAL.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, HeaderValue, header};
use hyper::body::{Body, Frame, SizeHint};
use prost::Message;
use tonic::Status;

use crate::admission::{BodyBytes, Permit};

/// A flag and the length, in front of every message.
pub(crate) const HEADER_BYTES: usize = 5;

/// Why a message can't be read from a request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the message has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("the message is compressed with an encoding that was not offered; send it as it is")]
    Compressed,
    #[error("the message is not as its schema says: {0}")]
    Malformed(String),
    #[error("the request ends within a message")]
    CutShort,
    #[error("the request holds no message")]
    Missing,
    #[error("the request holds more than one message")]
    Surplus,
    #[error("all unfinished messages together are as large as this node allows; try again, in smaller messages")]
    NoRoom,
    #[error("the connection was lost: {0}")]
    Lost(String),
}

impl Unreadable {
    /// True when nobody is left who could be told.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

/// The messages of a request, one after the other. Holds no more than one message and one chunk of the body.
pub(crate) struct Messages<B> {
    body: B,
    /// The start of a message that is not here whole.
    partial: BytesMut,
    /// What has come and is not looked at yet.
    chunk: Bytes,
    bytes_max: usize,
    ended: bool,
    held: BodyBytes,
    /// The message of a request that was read to its end and is not taken yet.
    gathered: Option<Bytes>,
    /// Bytes that have come.
    came: usize,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    pub(crate) fn new(body: B, bytes_max: usize, held: BodyBytes) -> Self {
        let (partial, chunk) = (BytesMut::new(), Bytes::new());
        Self { body, partial, chunk, bytes_max, ended: false, held, gathered: None, came: 0 }
    }

    pub(crate) fn came(&self) -> usize {
        self.came
    }

    /// Reads a request that holds one message to its end; what comes next gives the message.
    pub(crate) fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unreadable>> {
        if self.gathered.is_none() {
            self.gathered = Some(ready!(self.poll_next(cx))?.ok_or(Unreadable::Missing)?);
        }
        match ready!(self.poll_next(cx))? {
            None => Poll::Ready(Ok(())),
            Some(_) => Poll::Ready(Err(Unreadable::Surplus)),
        }
    }

    /// The next message's bytes; `None` at the clean end of the request.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Unreadable>> {
        match self.gathered.take() {
            Some(message) => Poll::Ready(Ok(Some(message))),
            None => self.poll_next(cx),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Unreadable>> {
        loop {
            let taken = self.take()?;
            let kept = self.partial.len() + self.gathered.as_ref().map_or(0, Bytes::len);
            if self.held.set(kept).is_err() {
                return Poll::Ready(Err(Unreadable::NoRoom));
            }
            if let Some(message) = taken {
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                return Poll::Ready(if self.partial.is_empty() { Ok(None) } else { Err(Unreadable::CutShort) });
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    self.chunk = frame.into_data().unwrap_or_default();
                    self.came += self.chunk.len();
                }
                Some(Err(error)) => return Poll::Ready(Err(Unreadable::Lost(error.to_string()))),
                None => self.ended = true,
            }
        }
    }

    /// As [`Messages::poll_bytes`], decoded.
    pub(crate) fn poll_message<M: Message + Default>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<M>, Unreadable>> {
        let bytes = ready!(self.poll_bytes(cx))?;
        Poll::Ready(bytes.map(decode).transpose())
    }

    /// The one message of a request that holds one.
    pub(crate) async fn only<M: Message + Default>(mut self) -> Result<M, Unreadable> {
        let first = std::future::poll_fn(|cx| self.poll_bytes(cx)).await?.ok_or(Unreadable::Missing)?;
        let message = decode(first)?;
        match std::future::poll_fn(|cx| self.poll_bytes(cx)).await? {
            None => Ok(message),
            Some(_) => Err(Unreadable::Surplus),
        }
    }

    /// A whole message out of what is here.
    fn take(&mut self) -> Result<Option<Bytes>, Unreadable> {
        if self.partial.is_empty() {
            let Some(length) = self.length(&self.chunk)? else { return Ok(self.keep()) };
            if self.chunk.len() < HEADER_BYTES + length {
                return Ok(self.keep());
            }
            self.chunk.advance(HEADER_BYTES);
            return Ok(Some(self.chunk.split_to(length)));
        }
        self.fill(HEADER_BYTES);
        let Some(length) = self.length(&self.partial)? else { return Ok(None) };
        self.fill(HEADER_BYTES + length);
        if self.partial.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.partial).freeze();
        message.advance(HEADER_BYTES);
        Ok(Some(message))
    }

    /// The length of the message that begins here, once its header is whole. Checked before anything is kept of it.
    fn length(&self, start: &[u8]) -> Result<Option<usize>, Unreadable> {
        let Some((header, _)) = start.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        if header[0] != 0 {
            return Err(Unreadable::Compressed);
        }
        let bytes = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if bytes > self.bytes_max {
            return Err(Unreadable::TooLarge { bytes, bytes_max: self.bytes_max });
        }
        Ok(Some(bytes))
    }

    /// Keeps the rest of the chunk as the start of a message.
    fn keep(&mut self) -> Option<Bytes> {
        self.partial.extend_from_slice(&std::mem::take(&mut self.chunk));
        None
    }

    /// Moves bytes from the chunk until `partial` has `wanted`, if there are so many.
    fn fill(&mut self, wanted: usize) {
        let missing = wanted.saturating_sub(self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk.split_to(missing));
    }
}

pub(crate) fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Unreadable> {
    M::decode(bytes).map_err(|error| Unreadable::Malformed(error.to_string()))
}

/// A message with its header in front, ready for the wire.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + message.encoded_len());
    put_framed(&mut out, message);
    out.freeze()
}

pub(crate) fn put_framed(out: &mut BytesMut, message: &impl Message) {
    let length = message.encoded_len();
    put_header(out, length);
    out.reserve(length);
    message.encode_raw(out);
}

/// The header of a message of `length` bytes.
pub(crate) fn put_header(out: &mut BytesMut, length: usize) {
    out.reserve(HEADER_BYTES);
    out.put_u8(0);
    // A length beyond 32 bits would be 4 GiB of reply; no view gets there.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// The messages in a run of frames, without their headers.
pub(crate) fn unframed(mut frames: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let (header, _) = frames.split_first_chunk::<HEADER_BYTES>()?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        frames.advance(HEADER_BYTES);
        Some(frames.split_to(length.min(frames.len())))
    })
}

/// Frames as they come, and how it ends: an error is the status of the call.
pub(crate) type Frames = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// The body of a reply.
#[derive(Default)]
pub(crate) enum Reply {
    /// Nothing: the status is in the headers.
    #[default]
    Headers,
    /// One frame and the status.
    Whole {
        frame: Bytes,
    },
    Stream(Frames),
    /// That of a service which is not ours: reflection.
    Foreign {
        body: tonic::body::Body,
        _permit: Permit,
    },
    /// Only the status is still to be sent.
    Trailers(HeaderMap),
}

const GRPC_STATUS: http::HeaderName = http::HeaderName::from_static("grpc-status");
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

impl Reply {
    /// A good answer of one message.
    pub(crate) fn whole(frame: Bytes) -> http::Response<Self> {
        Self::good(Self::Whole { frame })
    }

    pub(crate) fn stream(frames: Frames) -> http::Response<Self> {
        Self::good(Self::Stream(frames))
    }

    fn good(body: Self) -> http::Response<Self> {
        let mut response = http::Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
        response
    }

    /// Nothing but a status.
    pub(crate) fn refusal(status: Status) -> http::Response<Self> {
        status.into_http()
    }
}

fn good_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

fn bad_trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    if status.add_header(&mut trailers).is_err() {
        // Only a message that no header can hold gets here, and percent-encoding lets every text be held.
        trailers.clear();
        trailers.insert(GRPC_STATUS, HeaderValue::from(status.code() as i32));
    }
    trailers
}

/// What a service of tonic's can't read is its caller's fault; it calls that INTERNAL.
fn blamed(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            if trailers.get(GRPC_STATUS).is_some_and(|status| status == "13") {
                trailers.insert(GRPC_STATUS, HeaderValue::from(tonic::Code::InvalidArgument as i32));
            }
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let (frame, next) = match &mut *self {
            Self::Headers => return Poll::Ready(None),
            Self::Whole { frame } => (Frame::data(std::mem::take(frame)), Self::Trailers(good_trailers())),
            Self::Trailers(trailers) => (Frame::trailers(std::mem::take(trailers)), Self::Headers),
            Self::Stream(frames) => match ready!(frames.as_mut().poll_next(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Err(status)) => (Frame::trailers(bad_trailers(&status)), Self::Headers),
                None => (Frame::trailers(good_trailers()), Self::Headers),
            },
            Self::Foreign { body, .. } => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(blamed(frame)))),
                Some(Err(status)) => (Frame::trailers(bad_trailers(&status)), Self::Headers),
                None => return Poll::Ready(None),
            },
        };
        *self = next;
        Poll::Ready(Some(Ok(frame)))
    }

    /// Of one frame it is known that it ends, but not as the exact size that HTTP would announce.
    fn size_hint(&self) -> SizeHint {
        let mut size = SizeHint::default();
        if let Self::Whole { frame } = self {
            size.set_upper(frame.len() as u64);
        }
        size
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Headers => true,
            Self::Foreign { body, .. } => body.is_end_stream(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
