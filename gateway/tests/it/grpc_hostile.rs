//! Callers that are wrong, broken, slow or many.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use gateway::grpc::Config;
use gateway::{admission, listen};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_request::Request as Asked;
use tokio::net::TcpStream;
use tonic::Code;

use crate::grpc_stream::Stream;
use crate::grpc_world::{Wishes, World, ask, item, must_register, reason, register, soon, token_lines, with};

const DISCOVER: &str = "/thuban.v1.Registry/Discover";
pub(crate) const SESSION: &str = "/thuban.v1.Registry/Session";

pub(crate) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

/// What came back: HTTP's status, gRPC's (of headers or trailers), and the data.
pub(crate) struct Came {
    http: StatusCode,
    headers: HeaderMap,
    pub(crate) data: Bytes,
}

impl Came {
    pub(crate) fn code(&self) -> Option<Code> {
        self.headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
    }

    pub(crate) fn message(&self) -> String {
        let text = self.headers.get("grpc-message").map_or("", |text| text.to_str().expect("percent-encoded"));
        percent_encoding::percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned()
    }
}

fn request(path: &str) -> http::request::Builder {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://thuban{path}"))
        .header("content-type", "application/grpc")
}

/// One request over HTTP/2, as it is.
pub(crate) async fn send<B>(addr: SocketAddr, request: Request<B>) -> Came
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(addr).await.expect("it listens");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let response = soon(sender.send_request(request)).await.expect("answered");
    let (head, body) = response.into_parts();
    let body = soon(body.collect()).await.expect("whole");
    let mut headers = head.headers;
    headers.extend(body.trailers().cloned().unwrap_or_default());
    connection.abort();
    Came { http: head.status, headers, data: body.to_bytes() }
}

pub(crate) async fn bytes(world: &World, path: &str, body: Vec<u8>) -> Came {
    send(world.addr, request(path).body(Full::new(Bytes::from(body))).unwrap()).await
}

fn question() -> Vec<u8> {
    framed(0, &ask("orders").encode_to_vec())
}

#[tokio::test]
async fn what_is_not_grpc_is_told_so_in_http() {
    let world = World::new().await;
    let html = Request::builder().method(Method::POST).uri("http://thuban/").header("content-type", "text/html");
    let came = send(world.addr, html.body(Full::new(Bytes::new())).unwrap()).await;
    assert_eq!(came.http, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let get = request(DISCOVER).method(Method::GET).body(Full::new(Bytes::new())).unwrap();
    assert_eq!(send(world.addr, get).await.http, StatusCode::METHOD_NOT_ALLOWED);
    let web = Request::builder().method(Method::POST).uri(format!("http://thuban{DISCOVER}"));
    let web = web.header("content-type", "application/grpc-web+proto").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(send(world.addr, web).await.http, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let world = World::new().await;
    for path in ["/thuban.v1.Registry/Forget", "/thuban.v2.Registry/Discover", "/", "/thuban.v1.Registry"] {
        let came = bytes(&world, path, question()).await;
        assert_eq!((came.http, came.code()), (StatusCode::OK, Some(Code::Unimplemented)), "{path}");
    }
}

#[tokio::test]
async fn no_malformed_message_is_internal() {
    let world = World::new().await;
    let good = question();
    let broken = [
        ("nothing", Vec::new(), Code::InvalidArgument),
        ("half a header", good[..3].to_vec(), Code::InvalidArgument),
        ("half a message", good[..7].to_vec(), Code::InvalidArgument),
        ("two messages", [&good[..], &good[..]].concat(), Code::InvalidArgument),
        ("compressed", framed(1, b"x"), Code::Unimplemented),
        ("a wrong flag", framed(7, b"x"), Code::Unimplemented),
        ("a wrong wire type", framed(0, &[0x0f, 1]), Code::InvalidArgument),
        ("a length beyond the end", framed(0, &[0x0a, 0x7f, b'x']), Code::InvalidArgument),
        ("no UTF-8", framed(0, &[0x12, 2, 0xff, 0xfe]), Code::InvalidArgument),
        (
            "an endless number",
            framed(0, &[0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Code::InvalidArgument,
        ),
        ("too large", framed(0, &vec![0; 65_537]), Code::ResourceExhausted),
        ("a length of 4 GiB", vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3], Code::ResourceExhausted),
    ];
    for (what, body, code) in broken {
        let came = bytes(&world, DISCOVER, body).await;
        assert_eq!((came.http, came.code()), (StatusCode::OK, Some(code)), "{what}: {}", came.message());
        assert!(came.data.is_empty() && !came.message().is_empty(), "{what}");
    }
    // An unknown field is what a newer client sends.
    let newer = [&ask("orders").encode_to_vec()[..], &[0xfa, 0x7f, 1, b'x']].concat();
    let came = bytes(&world, DISCOVER, framed(0, &newer)).await;
    assert_eq!(came.code(), Some(Code::Ok));
}

#[tokio::test]
async fn nesting_has_its_end() {
    let world = World::new().await;
    // A message in a message in a message, where the schema knows none.
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        let mut outer = vec![0xa3, 0x06];
        outer.append(&mut nested);
        outer.extend([0xa4, 0x06]);
        nested = outer;
    }
    let came = bytes(&world, DISCOVER, framed(0, &nested)).await;
    assert_eq!(came.code(), Some(Code::InvalidArgument), "{}", came.message());
}

#[tokio::test]
async fn a_batch_may_be_large_and_no_larger() {
    let world =
        World::with(Wishes { config: Config { batch_bytes_max: 1 << 20, ..Config::default() }, ..Wishes::default() })
            .await;
    let mut client = world.client().await;
    let heavy = |n: usize| {
        let mut heavy = item("orders", &n.to_string());
        heavy.metadata.extend((0..10).map(|k| (k.to_string(), "x".repeat(1_000))));
        heavy
    };
    must_register(&mut client, (0..50).map(heavy)).await;
    let refused = client.register(register((0..200).map(heavy))).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "too_large"));
}

#[tokio::test]
async fn an_encoding_that_was_not_offered_is_named() {
    let world = World::new().await;
    let zipped = request(DISCOVER).header("grpc-encoding", "gzip").body(Full::new(Bytes::from(question()))).unwrap();
    let came = send(world.addr, zipped).await;
    assert_eq!(came.code(), Some(Code::Unimplemented));
    assert!(came.message().contains("gzip") && came.message().contains("identity"), "{}", came.message());
    let plain = request(DISCOVER).header("grpc-encoding", "identity").body(Full::new(Bytes::from(question()))).unwrap();
    assert_eq!(send(world.addr, plain).await.code(), Some(Code::Ok));
}

#[tokio::test]
async fn metadata_that_is_wrong_is_named() {
    let world = World::new().await;
    for (name, value) in [
        ("grpc-timeout", "soon"),
        ("grpc-timeout", "123456789S"),
        ("grpc-timeout", "S"),
        ("grpc-timeout", ""),
        ("thuban-client", ""),
    ] {
        let asked = request(DISCOVER).header(name, value).body(Full::new(Bytes::from(question()))).unwrap();
        let came = send(world.addr, asked).await;
        assert_eq!(came.code(), Some(Code::InvalidArgument), "{name}: {value}");
        assert!(came.message().contains(name), "{}", came.message());
    }
}

#[tokio::test]
async fn a_request_that_never_ends_is_given_up() {
    let world = World::new().await;
    let start = Ok(Frame::data(Bytes::from(question()[..7].to_vec())));
    let body = StreamBody::new(futures::StreamExt::chain(
        futures::stream::iter([start]),
        futures::stream::pending::<Result<Frame<Bytes>, Infallible>>(),
    ));
    let came = world.until_done(send(world.addr, request(DISCOVER).body(body).unwrap())).await;
    assert_eq!(came.code(), Some(Code::DeadlineExceeded), "{}", came.message());
}

#[tokio::test]
async fn a_session_that_is_malformed_ends_with_its_reason() {
    let world = World::new().await;
    let open = pb::SessionRequest { request_id: 1, request: Some(Asked::Open(pb::Open::default())) };
    let open = framed(0, &open.encode_to_vec());
    for (what, behind, code) in [
        ("garbage", framed(0, &[0x0f, 1]), Code::InvalidArgument),
        ("compressed", framed(1, b"x"), Code::Unimplemented),
        ("cut short", vec![0, 0, 0, 0, 9, 1], Code::InvalidArgument),
        ("too large", vec![0, 0xff, 0, 0, 0], Code::ResourceExhausted),
    ] {
        let came = bytes(&world, SESSION, [&open[..], &behind[..]].concat()).await;
        assert_eq!((came.http, came.code()), (StatusCode::OK, Some(code)), "{what}");
        // The session was opened, and then told why it ends.
        let first = pb::SessionReply::decode(&came.data[5..5 + usize::from(came.data[4])]).unwrap();
        assert!(matches!(first.reply, Some(pb::session_reply::Reply::Opened(_))), "{first:?}");
    }
    let garbage = bytes(&world, SESSION, framed(0, &[0x0f, 1])).await;
    assert_eq!(garbage.code(), Some(Code::InvalidArgument));
}

#[tokio::test]
async fn a_token_is_asked_for_and_its_rights_are_kept() {
    let viewer = ("viewer", "viewer-token", "* read");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), token_lines(&[("ci", "ci-token", "default read,register"), viewer])).expect("written");
    let admission = admission::Config {
        tokens: Some(file.path().to_owned()),
        reread: Duration::from_millis(500),
        ..admission::Config::default()
    };
    let world = World::with(Wishes { admission, ..Wishes::default() }).await;
    let mut client = world.client().await;
    let none = client.register(register([item("orders", "a")])).await.unwrap_err();
    assert_eq!((none.code(), reason(&none).as_str()), (Code::Unauthenticated, "unauthenticated"));
    let wrong = client.register(with("x", register([item("orders", "a")]))).await.unwrap_err();
    assert_eq!(wrong.code(), Code::Unauthenticated);
    // A right that is missing is a matter of each item.
    let seen = client.register(with("viewer-token", register([item("orders", "a")]))).await.unwrap().into_inner();
    assert_eq!(crate::grpc_world::problem(&seen.items[0]).code, "forbidden");
    let elsewhere = pb::RegisterItem { namespace: "team-b".into(), ..item("orders", "b") };
    let asked = register([item("orders", "a"), elsewhere]);
    let reply = client.register(with("ci-token", asked)).await.unwrap().into_inner();
    assert_eq!(crate::grpc_world::made(&reply.items[0]).id, "a");
    assert_eq!(crate::grpc_world::problem(&reply.items[1]).code, "forbidden");

    // A token that is taken away ends what it had open.
    let mut request =
        tonic::Request::new(pb::WatchRequest { services: vec!["orders".into()], ..pb::WatchRequest::default() });
    request.metadata_mut().insert("authorization", "Bearer ci-token".parse().unwrap());
    let mut events = client.watch(request).await.unwrap().into_inner();
    soon(events.message()).await.unwrap().unwrap();
    std::fs::write(file.path(), token_lines(&[viewer])).unwrap();
    let ended = world
        .until_done(async {
            loop {
                if let Err(status) = events.message().await {
                    return status;
                }
            }
        })
        .await;
    assert_eq!(ended.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn beyond_its_connections_a_listener_says_that_it_is_full() {
    let listen = listen::Config { connections_max: 1, ..listen::Config::default() };
    let world = World::with(Wishes { listen, ..Wishes::default() }).await;
    let mut first = world.client().await;
    first.discover(ask("orders")).await.unwrap();
    let refused = world.client().await.discover(ask("orders")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "overloaded"));
    first.discover(ask("orders")).await.unwrap();
}

#[tokio::test]
async fn beyond_its_streams_a_door_sheds_new_ones() {
    let admission = admission::Config { waiting_max: 2, ..admission::Config::default() };
    let world = World::with(Wishes { admission, ..Wishes::default() }).await;
    let (one, _) = Stream::new(&world).await;
    let (_two, _) = Stream::new(&world).await;
    let watch = pb::WatchRequest { services: vec!["orders".into()], ..pb::WatchRequest::default() };
    let refused = world.client().await.watch(watch.clone()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "overloaded"));
    // What does not wait is answered all the same.
    assert!(world.client().await.discover(ask("orders")).await.is_ok());
    drop(one);
    world.becomes(|| async { world.client().await.watch(watch.clone()).await.ok().map(drop) }).await;
}
