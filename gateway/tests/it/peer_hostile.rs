//! What the door makes of callers that are no peers, or bad ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use compute::model::NodeIncarnation;
use compute::port::Peers;
use compute::port::clock::SystemClock;
use compute::port::peers::PeerError;
use compute::testing::peers::{Delivery, Inbox, InboxHost};
use gateway::listen::Tls;
use gateway::peer::{Config, GrpcPeers, Limits, Timeouts};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use schemas::thuban::peer::v1 as pb;
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::grpc_world::soon;
use crate::peer_world::{SECRET, Serving, config};

const ME: u64 = 0xa1;
const THERE: u64 = 0xb1;
pub(crate) const HEARTBEATS: &str = "/thuban.peer.v1.Peers/Heartbeats";

type Piece = Result<Frame<Bytes>, std::convert::Infallible>;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// As `peer.proto` and the code's words have it, written a second time.
fn proof(secret: &str, way: u8, path: &str, from: u64, to: u64) -> String {
    let key = mac(secret.as_bytes(), &[b"thuban peer calls v1"]);
    hex(&mac(&key, &[&[way], &from.to_be_bytes(), &to.to_be_bytes(), path.as_bytes()]))
}

/// A door, and what its host was told.
pub(crate) async fn door(config: Config) -> (Serving, Inbox) {
    let (host, inbox) = InboxHost::new(NodeIncarnation(THERE));
    (Serving::start(host, config, &Tls::Off).await, inbox)
}

pub(crate) struct Raw(SendRequest<Body>);

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(addr).await.expect("it listens"));
        let (client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self(client)
    }

    pub(crate) fn signed(path: &str) -> http::request::Builder {
        Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("thuban-peer-from", format!("{ME:016x}"))
            .header("thuban-peer-to", format!("{THERE:016x}"))
            .header("thuban-peer-proof", proof(SECRET, 1, path, ME, THERE))
    }

    /// The status of a call.
    pub(crate) async fn call(&mut self, request: http::request::Builder, body: Body) -> (Code, String) {
        let (status, _) = self.answer(request, body).await;
        status
    }

    async fn answer(&mut self, request: http::request::Builder, body: Body) -> ((Code, String), HeaderMap) {
        self.0.ready().await.expect("the connection stands");
        let response = soon(self.0.send_request(request.body(body).unwrap())).await.expect("an answer");
        let (head, body) = response.into_parts();
        let mut found = head.headers.clone();
        if let Some(trailers) = soon(body.collect()).await.expect("whole").trailers() {
            found.extend(trailers.clone());
        }
        let code = found["grpc-status"].to_str().unwrap().parse::<i32>().unwrap();
        let words = found.get("grpc-message").map(|words| words.to_str().unwrap().replace("%20", " "));
        ((Code::from(code), words.unwrap_or_default()), found)
    }
}

pub(crate) fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(flag);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

pub(crate) fn heartbeats(ids: usize) -> Vec<u8> {
    let ages = pb::ServiceAges {
        namespace: "default".into(),
        service: "orders".into(),
        ids: (0..ids).map(|n| format!("10.0.0.1:{n}")).collect(),
        generations: vec![1; ids],
        ages_ms: vec![1; ids],
    };
    pb::HeartbeatsRequest { services: vec![ages] }.encode_to_vec()
}

#[tokio::test]
async fn without_the_secret_there_is_only_a_refusal() {
    let (serving, mut inbox) = door(config()).await;
    let mut raw = Raw::connect(serving.addr).await;
    let good = || Body::from(framed(0, &heartbeats(1)));
    let plain = || Request::post(format!("http://localhost{HEARTBEATS}")).header("content-type", "application/grpc");
    let of = |from: u64, to: u64, proof: String| {
        let named = plain().header("thuban-peer-from", format!("{from:016x}"));
        named.header("thuban-peer-to", format!("{to:016x}")).header("thuban-peer-proof", proof)
    };
    let wrong = [
        plain(),
        plain().header("authorization", format!("Bearer {SECRET}")),
        of(ME, THERE, String::new()),
        of(ME, THERE, SECRET.to_owned()),
        of(ME, THERE, proof("the secret of another", 1, HEARTBEATS, ME, THERE)),
        // A proof that was heard somewhere: of an answer, of another method, caller or callee.
        of(ME, THERE, proof(SECRET, 2, HEARTBEATS, ME, THERE)),
        of(ME, THERE, proof(SECRET, 1, "/thuban.peer.v1.Peers/Ask", ME, THERE)),
        of(ME + 1, THERE, proof(SECRET, 1, HEARTBEATS, ME, THERE)),
        of(ME, THERE + 1, proof(SECRET, 1, HEARTBEATS, ME, THERE)),
    ];
    for request in wrong {
        let shown = format!("{:?}", request.headers_ref());
        let ((code, words), found) = raw.answer(request, good()).await;
        assert_eq!(code, Code::Unauthenticated, "{shown}");
        assert!(!words.contains(SECRET));
        assert!(!found.contains_key("thuban-peer-proof"), "{shown}");
    }
    assert!(inbox.try_recv().is_err());
    // Nothing is read of what such a caller sends: the refusal comes before the body.
    let (_held, never) = mpsc::channel::<Piece>(1);
    let refused = raw.call(plain(), Body::new(StreamBody::new(ReceiverStream::new(never)))).await;
    assert_eq!(refused.0, Code::Unauthenticated);
    let ((code, _), found) = raw.answer(Raw::signed(HEARTBEATS), good()).await;
    assert_eq!(code, Code::Ok);
    assert_eq!(found["thuban-peer-proof"].to_str().unwrap(), proof(SECRET, 2, HEARTBEATS, THERE, ME));
    assert!(matches!(inbox.try_recv(), Ok(Delivery::Heartbeats { from: NodeIncarnation(ME), .. })));
}

#[tokio::test]
async fn another_incarnation_is_not_served() {
    let (serving, mut inbox) = door(config()).await;
    let mut raw = Raw::connect(serving.addr).await;
    let other = THERE + 1;
    let request = Request::post(format!("http://localhost{HEARTBEATS}"))
        .header("thuban-peer-from", format!("{ME:016x}"))
        .header("thuban-peer-to", format!("{other:016x}"))
        .header("thuban-peer-proof", proof(SECRET, 1, HEARTBEATS, ME, other));
    let (code, words) = raw.call(request, Body::from(framed(0, &heartbeats(1)))).await;
    assert_eq!(code, Code::FailedPrecondition, "{words}");
    assert!(inbox.try_recv().is_err());
}

#[tokio::test]
async fn what_is_no_message_is_the_callers_fault() {
    let (serving, mut inbox) = door(config()).await;
    let mut raw = Raw::connect(serving.addr).await;
    let good = framed(0, &heartbeats(1));
    let bodies = [
        Bytes::new(),
        good.slice(..good.len() - 1),
        framed(1, &heartbeats(1)),
        [good.clone(), good.clone()].concat().into(),
        framed(0, b"\xff\xff\xff\xff"),
        framed(0, &heartbeats(8_193)),
        framed(0, &pb::HeartbeatsRequest { services: vec![pb::ServiceAges::default()] }.encode_to_vec()),
    ];
    for body in bodies {
        let shown = body.len();
        let (code, words) = raw.call(Raw::signed(HEARTBEATS), Body::from(body)).await;
        assert_eq!(code, Code::InvalidArgument, "{shown} bytes: {words}");
    }
    let compressed = Raw::signed(HEARTBEATS).header("grpc-encoding", "gzip");
    assert_eq!(raw.call(compressed, Body::from(good)).await.0, Code::InvalidArgument);
    let absent = Raw::signed("/thuban.peer.v1.Peers/Nothing");
    assert_eq!(raw.call(absent, Body::empty()).await.0, Code::Unimplemented);
    assert!(inbox.try_recv().is_err());
    // The most that is allowed is taken.
    let most = Body::from(framed(0, &heartbeats(8_192)));
    assert_eq!(raw.call(Raw::signed(HEARTBEATS), most).await.0, Code::Ok);
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused() {
    let limits = Limits { message_bytes_max: 10_000, ..Limits::default() };
    let (serving, mut inbox) = door(Config { limits, ..config() }).await;
    let mut raw = Raw::connect(serving.addr).await;
    let large = framed(0, &vec![b'x'; 10_001]);
    let (code, words) = raw.call(Raw::signed(HEARTBEATS), Body::from(large)).await;
    assert_eq!(code, Code::OutOfRange, "{words}");
    assert!(words.contains("10000 bytes"), "{words}");
    let good = Body::from(framed(0, &heartbeats(1)));
    assert_eq!(raw.call(Raw::signed(HEARTBEATS), good).await.0, Code::Ok);
    assert!(matches!(inbox.try_recv(), Ok(Delivery::Heartbeats { .. })));
}

#[tokio::test]
async fn who_sends_slowly_holds_a_place_for_a_while_and_no_more() {
    let timeouts = Timeouts { read: Duration::from_millis(300), ..Timeouts::default() };
    let limits = Limits { calls_max: 1, ..Limits::default() };
    let (serving, _inbox) = door(Config { timeouts, limits, ..config() }).await;
    let mut slow = Raw::connect(serving.addr).await;
    let mut other = Raw::connect(serving.addr).await;
    let mut refused = false;
    let ended = soon(async {
        loop {
            let ended = beside(slowly(&mut slow), async || {
                let (code, _) = other.call(Raw::signed(HEARTBEATS), Body::from(framed(0, &heartbeats(1)))).await;
                assert!(matches!(code, Code::Ok | Code::ResourceExhausted), "{code:?}");
                refused |= code == Code::ResourceExhausted;
            })
            .await;
            // It may have come just when the other held the place.
            if ended.0 != Code::ResourceExhausted {
                return ended;
            }
        }
    })
    .await;
    assert_eq!(ended.0, Code::DeadlineExceeded, "{}", ended.1);
    assert!(refused, "there was room for one, and for another");
    let good = Body::from(framed(0, &heartbeats(1)));
    assert_eq!(other.call(Raw::signed(HEARTBEATS), good).await.0, Code::Ok);
}

/// A call of which only the start comes.
async fn slowly(raw: &mut Raw) -> (Code, String) {
    let (pieces, body) = mpsc::channel::<Piece>(1);
    pieces.send(Ok(Frame::data(framed(0, &heartbeats(1)).slice(..8)))).await.unwrap();
    raw.call(Raw::signed(HEARTBEATS), Body::new(StreamBody::new(ReceiverStream::new(body)))).await
}

/// What `call` comes to, beside which the other is made again and again.
async fn beside<T>(call: impl Future<Output = T>, mut other: impl AsyncFnMut()) -> T {
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            ended = &mut call => return ended,
            () = other() => {}
        }
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let (serving, _inbox) = door(Config { limits, ..config() }).await;
    let good = || Body::from(framed(0, &heartbeats(1)));
    let mut first = Raw::connect(serving.addr).await;
    assert_eq!(first.call(Raw::signed(HEARTBEATS), good()).await.0, Code::Ok);
    let mut second = Raw::connect(serving.addr).await;
    let (code, words) = second.call(Raw::signed(HEARTBEATS), good()).await;
    assert_eq!(code, Code::Unavailable, "{words}");
    assert!(words.contains("as many peers as it takes"), "{words}");
}

/// Someone who answers at the address of a node, well-meant or not, and does not have the secret.
#[tokio::test]
async fn who_answers_without_the_secret_is_not_believed() {
    let answer = || async {
        let reply = pb::AskReply { node: THERE, log: vec![7; 16], applied: 1, landed: 1, reading: 1 };
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames: [Piece; 2] = [Ok(Frame::data(framed(0, &reply.encode_to_vec()))), Ok(Frame::trailers(trailers))];
        let body = Body::new(StreamBody::new(futures::stream::iter(frames)));
        Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address: Arc<str> = listener.local_addr().unwrap().to_string().into();
    let serving = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let peers = GrpcPeers::new(config(), SystemClock::new());
    peers.know(NodeIncarnation(ME), &[(NodeIncarnation(THERE), address)]);
    match peers.ask(NodeIncarnation(THERE)).await {
        Err(PeerError::Away(why)) => assert!(why.contains("does not show that it has the cluster secret"), "{why}"),
        other => panic!("believed: {other:?}"),
    }
    assert!(peers.reachable().is_empty());
    serving.abort();
}
