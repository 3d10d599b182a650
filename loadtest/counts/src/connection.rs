//! Clients of the doors. What they do is not counted.

use std::net::SocketAddr;
use std::pin::Pin;

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{Either, select};
use h2::RecvStream;
use h2::client::SendRequest;
use http::Request;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::span::aside;

/// A flag and the length, in front of a message of gRPC.
const HEADER_BYTES: usize = 5;
/// What the node may send ahead: as much as it likes.
const AHEAD_BYTES: u32 = 1 << 30;

/// HTTP/1.1, a request at a time.
pub(crate) struct Web {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Web {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 << 10) })
    }

    /// The bytes of a whole answer; the first must be of this length, where it is known.
    pub(crate) async fn call(&mut self, request: &[u8], expected: Option<usize>) -> Result<usize> {
        aside(async {
            self.stream.write_all(request).await?;
            self.buffer.clear();
            loop {
                ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the node closed the connection");
                match expected {
                    Some(bytes) if self.buffer.len() < bytes => {}
                    Some(_) => return Ok(self.buffer.len()),
                    None if is_whole(&self.buffer)? => return Ok(self.buffer.len()),
                    None => {}
                }
            }
        })
        .await
    }
}

/// A request, ready to be written.
pub(crate) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let mut out = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    if !body.is_empty() {
        out += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    (out + "\r\n" + body).into_bytes()
}

/// Whether a good answer has come to its end.
fn is_whole(answer: &[u8]) -> Result<bool> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(false) };
    ensure!(head.starts_with("HTTP/1.1 20"), "answered {text}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    Ok(body.len() >= length.map_or(Ok(0), str::parse::<usize>)?)
}

type Driving = Pin<Box<dyn Future<Output = Result<(), h2::Error>>>>;

/// gRPC on a connection of its own, which is driven only while somebody waits for it.
pub(crate) struct Rpc {
    requests: SendRequest<Bytes>,
    driving: Driving,
}

impl Rpc {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(AHEAD_BYTES).initial_connection_window_size(AHEAD_BYTES);
        let (requests, connection) = builder.handshake(stream).await?;
        Ok(Self { requests, driving: Box::pin(connection) })
    }

    /// The message of an answer that has one, with its header.
    pub(crate) async fn call(&mut self, method: &str, message: &Bytes) -> Result<Bytes> {
        aside(async {
            let mut body = self.begin(method, message).await?;
            self.drive(async {
                let mut whole = BytesMut::new();
                while let Some(bytes) = body.data().await {
                    let bytes = bytes?;
                    body.flow_control().release_capacity(bytes.len())?;
                    whole.extend_from_slice(&bytes);
                }
                let trailers = body.trailers().await?.context("a call ends with its status")?;
                ensure!(trailers.get("grpc-status").is_some_and(|status| status == "0"), "{method}: {trailers:?}");
                Ok(whole.freeze())
            })
            .await
        })
        .await
    }

    /// A call that goes on, and what comes of it.
    pub(crate) async fn begin(&mut self, method: &str, message: &Bytes) -> Result<RecvStream> {
        let request = Request::post(format!("http://localhost{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "counts")
            .body(())?;
        let requests = self.requests.clone();
        self.drive(async {
            let (answer, mut sending) = requests.ready().await?.send_request(request, false)?;
            sending.send_data(message.clone(), true)?;
            let answer = answer.await?;
            ensure!(answer.status() == 200, "{method}: {answer:?}");
            Ok(answer.into_body())
        })
        .await
    }

    /// Waits for what comes of this connection.
    pub(crate) async fn drive<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match select(std::pin::pin!(work), &mut self.driving).await {
            Either::Left((done, _)) => done,
            Either::Right((ended, _)) => bail!("the node closed the connection: {ended:?}"),
        }
    }
}

/// With its header.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + message.encoded_len());
    out.put_u8(0);
    out.put_u32(message.encoded_len() as u32);
    out.extend_from_slice(&message.encode_to_vec());
    out.freeze()
}

pub(crate) fn read<M: Message + Default>(framed: &Bytes) -> Result<M> {
    Ok(M::decode(framed.get(HEADER_BYTES..).context("a message has a header")?)?)
}
