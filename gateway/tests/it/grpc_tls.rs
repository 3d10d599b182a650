//! The gRPC door with encryption: who speaks it is served, who does not is told so, and a token is asked for all the
//! same.

use std::sync::Arc;

use gateway::admission;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::registry_client::RegistryClient;
use schemas::thuban::v1::session_reply::Reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Error};
use tonic::{Code, Status};

use crate::grpc_stream::{Stream, ping, watch};
use crate::grpc_world::{
    Wishes, World, ask, field, item, key, must_register, permanent, reason, renew, soon, token_lines, with,
};
use crate::http_tls::Files;

async fn encrypted(files: &Files, admission: admission::Config) -> World {
    World::with(Wishes { tls: files.tls(), admission, ..Wishes::default() }).await
}

/// A client that speaks TLS and trusts one certificate.
async fn client(world: &World, trusted: &str) -> Result<RegistryClient<Channel>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (connector, addr) = (TlsConnector::from(Arc::new(config)), world.addr);
    let connect = tower::service_fn(move |_: http::Uri| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(addr).await?;
            let stream = connector.connect(ServerName::try_from("localhost").expect("a name"), stream).await?;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://localhost:{}", addr.port())).unwrap();
    soon(endpoint.connect_with_connector(connect)).await.map(RegistryClient::new)
}

#[tokio::test]
async fn everything_works_over_tls() {
    let files = Files::new();
    let trusted = files.write();
    let world = encrypted(&files, admission::Config::default()).await;
    let mut client = client(&world, &trusted).await.expect("trusted");
    must_register(&mut client, [permanent(item("orders", "a"))]).await;
    let of = pb::WatchRequest { services: vec!["orders".into()], ..pb::WatchRequest::default() };
    let mut events = soon(client.watch(of)).await.unwrap().into_inner();
    assert!(soon(events.message()).await.unwrap().is_some());
    let (mut stream, _) = Stream::open(&mut client, pb::Open::default()).await;
    stream.register(vec![item("orders", "b")]).await;
    assert!(matches!(stream.call(watch(1, &["orders"])).await, Reply::Watching(_)));
    stream.event().await;
    assert!(matches!(stream.call(ping(1)).await, Reply::Pong(_)));
    assert!(soon(events.message()).await.unwrap().is_some());
    assert_eq!(crate::grpc_world::ids(&mut client, "orders").await, ["a", "b"]);
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_so_and_harms_nobody() {
    let files = Files::new();
    let trusted = files.write();
    let world = encrypted(&files, admission::Config::default()).await;
    let plain = Endpoint::from_shared(format!("http://{}", world.addr)).unwrap().connect_lazy();
    let refused = soon(RegistryClient::new(plain).discover(ask("orders"))).await.unwrap_err();
    assert!(matches!(refused.code(), Code::Unavailable | Code::Unknown | Code::Internal), "{refused:?}");
    // What it was told is TLS's own word: a fatal alert, and the end.
    let mut stream = TcpStream::connect(world.addr).await.expect("it listens");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it reads");
    let mut told = Vec::new();
    let _ = soon(stream.read_to_end(&mut told)).await;
    assert!(matches!(told[..], [0x15, 3, _, 0, 2, 2, _]), "{told:?}");
    // Nor does it speak to who trusts another.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    assert!(client(&world, &other.cert.pem()).await.is_err());
    let mut trusting = client(&world, &trusted).await.expect("trusted");
    must_register(&mut trusting, [item("orders", "a")]).await;
}

/// The status of a session's call that is refused.
async fn session(client: &mut RegistryClient<Channel>, token: &str) -> Result<(), Status> {
    let open = pb::session_request::Request::Open(pb::Open::default());
    let open = pb::SessionRequest { request_id: 1, request: Some(open) };
    let asked = futures::StreamExt::chain(futures::stream::iter([open]), futures::stream::pending());
    let mut replies = soon(client.session(with(token, asked))).await?.into_inner();
    soon(replies.message()).await.map(|reply| assert!(reply.is_some()))
}

#[tokio::test]
async fn a_token_is_asked_for_over_tls_too() {
    let files = Files::new();
    let trusted = files.write();
    let tokens = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(tokens.path(), token_lines(&[("ci", "ci-token", "* read,register")])).expect("written");
    let admission = admission::Config { tokens: Some(tokens.path().to_owned()), ..admission::Config::default() };
    let world = encrypted(&files, admission).await;
    let mut client = client(&world, &trusted).await.expect("trusted");
    let refused = |status: &Status| {
        assert_eq!((status.code(), reason(status).as_str()), (Code::Unauthenticated, "unauthenticated"));
        assert_eq!(field(status), "authorization");
        assert!(!status.message().contains("ci-token"), "{}", status.message());
        status.message().to_owned()
    };
    let none = refused(&client.discover(ask("orders")).await.unwrap_err());
    assert!(none.contains("authorization: Bearer TOKEN"), "{none}");
    let wrong = refused(&client.discover(with("other", ask("orders"))).await.unwrap_err());
    assert!(wrong.contains("allowed: a token of this node's token file"), "{wrong}");
    let mut basic = tonic::Request::new(ask("orders"));
    basic.metadata_mut().insert("authorization", "Basic Y2k6Y2ktdG9rZW4=".parse().unwrap());
    let basic = refused(&client.discover(basic).await.unwrap_err());
    assert!(basic.contains("Bearer TOKEN"), "{basic}");
    refused(&client.renew(with("other", renew([key("orders", "a")]))).await.unwrap_err());
    refused(&client.watch(with("other", pb::WatchRequest::default())).await.unwrap_err());
    refused(&session(&mut client, "other").await.unwrap_err());
    session(&mut client, "ci-token").await.expect("the token is good");
    let right = client.register(with("ci-token", crate::grpc_world::register([item("orders", "a")]))).await;
    crate::grpc_world::made(&right.expect("the token is good").into_inner().items[0]);
}
