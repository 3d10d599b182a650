//! A peer that speaks HTTP/2 as it likes: bodies that do not end, windows that do not open.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) struct Peer {
    send: SendRequest<Bytes>,
    driving: JoinHandle<Result<(), h2::Error>>,
}

/// A request that was begun: its answer, and the way to go on.
pub(crate) struct Begun {
    pub(crate) answer: ResponseFuture,
    pub(crate) body: SendStream<Bytes>,
}

impl Begun {
    pub(crate) fn say(&mut self, more: &'static [u8]) {
        self.body.send_data(Bytes::from_static(more), false).expect("the stream is open");
    }
}

impl Peer {
    pub(crate) async fn new(addr: SocketAddr) -> Self {
        Self::with_window(addr, 65_535).await
    }

    /// So much may be sent to it of each answer.
    pub(crate) async fn with_window(addr: SocketAddr, bytes: u32) -> Self {
        let stream = TcpStream::connect(addr).await.expect("it listens");
        let (send, connection) =
            Builder::new().initial_window_size(bytes).handshake(stream).await.expect("it speaks HTTP/2");
        Self { send, driving: tokio::spawn(connection) }
    }

    async fn request(&mut self, method: Method, path: &str, kind: &str, ends: bool) -> Begun {
        let request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        let request = if kind.is_empty() { request } else { request.header("content-type", kind) };
        let mut send = self.send.clone().ready().await.expect("it takes more streams");
        let (answer, body) = send.send_request(request.body(()).expect("a request"), ends).expect("it is sent");
        Begun { answer, body }
    }

    /// A request whose body does not end.
    pub(crate) async fn begin(&mut self, path: &str, kind: &str, start: &'static [u8]) -> Begun {
        let mut begun = self.request(Method::POST, path, kind, false).await;
        begun.say(start);
        begun
    }

    pub(crate) async fn whole(&mut self, path: &str, kind: &str, body: &'static [u8]) -> ResponseFuture {
        let mut begun = self.request(Method::POST, path, kind, false).await;
        begun.body.send_data(Bytes::from_static(body), true).expect("the stream is open");
        begun.answer
    }

    /// The head of an answer whose body is not read.
    pub(crate) async fn get(&mut self, path: &str) -> Response<RecvStream> {
        self.request(Method::GET, path, "", true).await.answer.await.expect("it is answered")
    }

    /// Everything that was sent before has been looked at.
    pub(crate) async fn settle(&mut self) {
        assert_eq!(self.get("/livez").await.status(), 200);
    }

    /// Resolves when the other side has ended the connection.
    pub(crate) async fn cut(self) {
        let _ = self.driving.await;
    }
}
