use std::path::{Path, PathBuf};
use std::sync::Arc;

use gateway::http::Config;
use gateway::listen::Tls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http_world::{Listening, SOON, World};

pub(crate) struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn tls(&self) -> Tls {
        let at = |name: &str| self.folder.path().join(name);
        Tls::Files { certificate: at("chain.pem"), key: at("key.pem") }
    }

    /// Writes a new certificate and gives what trusts it.
    pub(crate) fn write(&self) -> String {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        std::fs::write(self.folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
        std::fs::write(self.folder.path().join("chain.pem"), made.cert.pem()).expect("a file");
        made.cert.pem()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where a file is, or would be, that is called so.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn connect(listening: &Listening, trusted: &str, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(listening.addr).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").expect("a name"), stream).await
}

async fn live(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.expect("it reads");
    let mut all = Vec::new();
    // A peer that closes without a farewell of TLS has said all it had to say.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut all)).await.expect("in time");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let world = World::new().await;
    let files = Files::new();
    let trusted = files.write();
    let listening = world.listen(Config::default(), &files.tls()).await;
    let mut first = connect(&listening, &trusted, b"http/1.1").await.expect("trusted");
    let answer = live(&mut first).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("alive\n"), "{answer}");
    let second = connect(&listening, &trusted, b"h2").await.expect("trusted");
    assert_eq!(second.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(second);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let request = http::Request::get("https://localhost/livez").body(http_body_util::Empty::<bytes::Bytes>::new());
    assert_eq!(client.send_request(request.expect("a request")).await.expect("an answer").status(), 200);
    driving.abort();
}

#[tokio::test]
async fn who_does_not_speak_tls_harms_nobody() {
    let world = World::new().await;
    let files = Files::new();
    let trusted = files.write();
    let listening = world.listen(Config::default(), &files.tls()).await;
    for start in [&b"GET /livez HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\xff\xff", b""] {
        let mut plain = TcpStream::connect(listening.addr).await.expect("it listens");
        plain.write_all(start).await.expect("it reads");
        let mut all = Vec::new();
        let reading = plain.read_to_end(&mut all);
        let _ = world.until_done(reading).await;
        assert!(!String::from_utf8_lossy(&all).contains("HTTP/"), "{all:?}");
    }
    let mut stream = connect(&listening, &trusted, b"http/1.1").await.expect("trusted");
    assert!(live(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let world = World::new().await;
    let files = Files::new();
    let old = files.write();
    let listening = world.listen(Config::default(), &files.tls()).await;
    std::fs::write(files.path().join("chain.pem"), "nonsense").expect("a file");
    for _ in 0..20 {
        world.clock.advance(1_000);
        tokio::task::yield_now().await;
    }
    connect(&listening, &old, b"http/1.1").await.expect("the old one stays");
    let new = files.write();
    let search = async {
        while connect(&listening, &new, b"http/1.1").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    world.until_done(search).await;
    assert!(connect(&listening, &old, b"http/1.1").await.is_err());
}

#[tokio::test]
async fn certificates_that_can_not_be_used_are_said() {
    let world = World::new().await;
    let files = Files::new();
    let refused = |files: &Files| {
        let (door, tls) = (world.door.clone(), files.tls());
        async move { door.bind(([127, 0, 0, 1], 0).into(), &tls).await.err().expect("refused").to_string() }
    };
    assert!(refused(&files).await.contains("chain.pem"));
    files.write();
    std::fs::write(files.path().join("key.pem"), "nonsense").expect("a file");
    let said = refused(&files).await;
    assert!(said.contains("key") && said.contains("http"), "{said}");
    files.write();
    let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    std::fs::write(files.path().join("key.pem"), other).expect("a file");
    assert!(!refused(&files).await.is_empty());
}

#[tokio::test]
async fn a_port_in_use_names_the_door_and_its_option() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let error = world.door.clone().bind(listening.addr, &Tls::Off).await.err().expect("in use");
    assert!(error.is_in_use(), "{error}");
    let said = error.to_string();
    assert!(said.contains(&listening.addr.to_string()) && said.contains("http") && said.contains("--http"), "{said}");
}
