//! A connection's bytes, plain or encrypted, with what the sweeper wants to know of them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;

/// How an HTTP/2 connection without TLS begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) enum Bytes {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

pub(super) struct IoStream {
    bytes: Bytes,
    activity: Arc<Activity>,
    /// How much of what came is a preface; `None`: what came is something else, or it has come whole.
    preface: Option<usize>,
}

impl IoStream {
    pub(super) fn new(bytes: Bytes, activity: Arc<Activity>) -> Self {
        Self { bytes, activity, preface: Some(0) }
    }

    /// Only with all of it a connection is one of HTTP/2: a start of it is a head that does not end.
    fn look_for_preface(&mut self, came: &[u8]) {
        let Some(seen) = self.preface else { return };
        let missing = &PREFACE[seen..];
        let count = missing.len().min(came.len());
        self.preface = (missing[..count] == came[..count]).then_some(seen + count);
        if self.preface == Some(PREFACE.len()) {
            self.preface = None;
            self.activity.speaks_h2();
        }
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(count)) if *count > 0 => self.activity.sent(true),
            Poll::Pending => self.activity.sent(false),
            Poll::Ready(_) => {}
        }
        result
    }
}

impl AsyncRead for IoStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let result = ready!(match &mut this.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Bytes::Encrypted(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        });
        if buf.filled().len() > before {
            this.look_for_preface(&buf.filled()[before..]);
            this.activity.received();
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for IoStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Bytes::Encrypted(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        };
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Bytes::Encrypted(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        };
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(stream) => stream.is_write_vectored(),
            Bytes::Encrypted(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Bytes::Encrypted(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Bytes::Encrypted(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
