//! Words for the answers that hyper gives by itself: to a request that it can't read it answers a status and nothing
//! else, before any layer is asked. Every other error of a door is a problem document, and so are these.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Config;
use super::io_stream::IoStream;
use crate::error::Code;

/// How an HTTP/2 connection begins.
const PREFACE_START: &[u8] = b"PRI ";
/// How every answer of an error of the caller's begins.
const START: &[u8] = b"HTTP/1.1 4";
/// Such an answer of hyper's has no body, and a few short headers.
const WITHOUT_BODY: &[u8] = b"\r\ncontent-length: 0\r\n";
const ANSWER_BYTES_MAX: usize = 512;
/// What still comes behind the answer is read and dropped up to here: closed at once, a connection is reset, and its
/// peer never sees the answer.
const DROPPED_BYTES_MAX: usize = 1 << 20;
/// Longest address that hyper reads.
const URI_BYTES_MAX: usize = (u16::MAX - 1) as usize;

pub(super) struct Told {
    io: IoStream,
    header_bytes_max: usize,
    headers_max: usize,
    is_first: bool,
    is_h2: bool,
    /// What goes out in place of an answer without words, as far as it has not gone.
    instead: Bytes,
    has_told: bool,
    dropped: usize,
}

impl Told {
    pub(super) fn new(io: IoStream, config: &Config) -> Self {
        let Config { header_bytes_max, headers_max, .. } = *config;
        let instead = Bytes::new();
        Self { io, header_bytes_max, headers_max, is_first: true, is_h2: false, instead, has_told: false, dropped: 0 }
    }

    /// True when `answer` is one of hyper's own, and something else goes out in its place.
    fn take(&mut self, answer: &[u8]) -> bool {
        if self.is_h2 || !answer.starts_with(START) {
            return false;
        }
        let Some((status, code, detail)) = self.problem(answer) else { return false };
        self.instead = document(status, code, &detail);
        self.has_told = true;
        true
    }

    fn problem(&self, answer: &[u8]) -> Option<(&'static str, Code, String)> {
        let is_whole = answer.len() <= ANSWER_BYTES_MAX && answer.ends_with(b"\r\n\r\n");
        if !is_whole || !answer.windows(WITHOUT_BODY.len()).any(|part| part == WITHOUT_BODY) {
            return None;
        }
        match answer.get(9..12)? {
            b"400" => Some((
                "400 Bad Request",
                Code::InvalidArgument,
                "the request can't be read: its first line or one of its headers is not HTTP/1.1".to_owned(),
            )),
            b"414" => {
                let detail = format!("the address is too long; allowed: at most {URI_BYTES_MAX} bytes");
                Some(("414 URI Too Long", Code::TooLarge, detail))
            }
            b"431" => {
                let (bytes, count) = (self.header_bytes_max, self.headers_max);
                let detail = format!("the head is too large; allowed: at most {bytes} bytes and {count} headers");
                Some(("431 Request Header Fields Too Large", Code::TooLarge, detail))
            }
            _ => None,
        }
    }

    fn poll_tell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.instead.has_remaining() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.instead))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_drop_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; 4 << 10];
        while self.dropped < DROPPED_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => self.dropped += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

fn document(status: &str, code: Code, detail: &str) -> Bytes {
    let (word, title) = (code.as_str(), code.title());
    let number = &status[..3];
    let body = format!(
        r#"{{"type":"urn:thuban:problem:{word}","title":"{title}","status":{number},"code":"{word}","detail":"{detail}"}}"#
    );
    let mut whole = String::with_capacity(512);
    let written = write!(
        whole,
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    debug_assert!(written.is_ok(), "a string takes everything");
    whole.into()
}

impl AsyncRead for Told {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if this.is_first && buf.filled().len() > before {
            this.is_first = false;
            this.is_h2 = buf.filled()[before..].starts_with(PREFACE_START);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Told {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.take(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(this.poll_tell(cx))?;
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // An answer without a body is one piece.
        if let [answer] = bufs
            && this.take(answer)
        {
            return Poll::Ready(Ok(answer.len()));
        }
        ready!(this.poll_tell(cx))?;
        Pin::new(&mut this.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_tell(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_tell(cx))?;
        ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        if this.has_told {
            ready!(this.poll_drop_rest(cx));
        }
        Poll::Ready(Ok(()))
    }
}
