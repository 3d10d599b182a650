use std::time::Duration;

use compute::port::prober::Probed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::server::{ClosedPort, Server, read_request};
use super::{check, failure, http, probe, probe_patiently};

/// What comes of a target that answers with `bytes`.
async fn answer(bytes: impl Into<Vec<u8>>) -> Probed {
    let server = Server::answering(bytes).await;
    probe_patiently(server.address, http("/health")).await
}

#[tokio::test]
async fn the_request_says_who_asks_for_what() {
    let (requests, mut heard) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let requests = requests.clone();
        async move {
            requests.send(read_request(&mut stream).await).expect("the test listens");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("it reads");
        }
    })
    .await;
    assert_eq!(probe_patiently(server.address, http("/health?deep=1")).await, Probed::Success);
    let request = heard.recv().await.expect("a request");
    let lines: Vec<_> = request.split("\r\n").collect();
    let (host, version) = (format!("Host: {}", server.address), env!("CARGO_PKG_VERSION"));
    let user_agent = format!("User-Agent: thuban/{version} (health check)");
    let expected = ["GET /health?deep=1 HTTP/1.1", &host, &user_agent, "Accept: */*", "Connection: close", "", ""];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn every_2xx_is_success_and_nothing_else_is() {
    for status in [200, 201, 204, 299] {
        assert_eq!(answer(format!("HTTP/1.1 {status} Fine\r\n\r\n")).await, Probed::Success, "{status}");
    }
    for status in [101, 400, 404, 500, 503, 600, 999] {
        let expected = failure(&format!("status {status}"));
        assert_eq!(answer(format!("HTTP/1.1 {status} No\r\n\r\n")).await, expected);
    }
    assert_eq!(answer("HTTP/1.0 200 OK\r\n\r\n").await, Probed::Success);
    assert_eq!(
        answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 204\r\n\r\n").await,
        Probed::Success
    );
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Server::answering("HTTP/1.1 200 OK\r\n\r\n").await;
    for status in [301, 302, 303, 307, 308] {
        let redirect = format!("HTTP/1.1 {status} Else\r\nLocation: http://{}/\r\n\r\n", elsewhere.address);
        assert_eq!(answer(redirect).await, failure(&format!("status {status}: redirects are not followed")));
    }
    assert_eq!(elsewhere.accepted(), 0);
}

#[tokio::test]
async fn nothing_of_the_targets_own_text_is_repeated() {
    let told = answer("HTTP/1.1 500 secret\r\nX-Secret: secret\r\n\r\nsecret").await;
    assert_eq!(told, failure("status 500"));
}

#[tokio::test]
async fn who_does_not_answer_in_time_has_failed() {
    let server = Server::silent().await;
    let probed = probe(server.address, &check(http("/"), 1_000)).await;
    assert_eq!(probed, failure("connected, but no answer within 1000 ms"));
}

#[tokio::test]
async fn who_answers_drop_by_drop_has_failed_in_time() {
    let server = Server::start(|mut stream| async move {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        while stream.write_all(b"\n").await.is_ok() {
            pace.tick().await;
        }
    })
    .await;
    let probed = probe(server.address, &check(http("/"), 1_000)).await;
    assert_eq!(probed, failure("connected, but no answer within 1000 ms"));
}

#[tokio::test]
async fn an_answer_without_end_is_read_to_the_limit_and_closed() {
    let endless = [
        ("HTTP/1.1 200 OK\r\n\r\n", "body", Probed::Success),
        ("HTTP/1.1 200 OK\r\n", "a: b\r\n", Probed::Success),
        ("HTTP/1.1 200 ", "reason", failure("no status in the first 4096 bytes")),
        ("", "HTTP/1.1 100 Continue\r\n\r\n", failure("no status in the first 4096 bytes")),
        ("", "\r\n", failure("no status in the first 4096 bytes")),
    ];
    for (start, more, expected) in endless {
        let (ends, mut ended) = mpsc::unbounded_channel();
        let server = Server::start(move |mut stream| {
            let ends = ends.clone();
            async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(start.as_bytes()).await;
                while stream.write_all(more.as_bytes()).await.is_ok() {}
                let _ = ends.send(());
            }
        })
        .await;
        assert_eq!(probe_patiently(server.address, http("/")).await, expected, "{start}{more}...");
        let end = tokio::time::timeout(Duration::from_secs(20), ended.recv()).await;
        end.expect("the connection is closed").expect("by the prober");
    }
}

#[tokio::test]
async fn the_sender_of_a_short_answer_does_not_meet_a_closed_door() {
    let (ends, mut ended) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let ends = ends.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await.expect("it reads");
            tokio::task::yield_now().await;
            stream.write_all(&[b'x'; 2_000]).await.expect("it still reads");
            stream.shutdown().await.expect("it is still there");
            let _ = ends.send(stream.read(&mut [0]).await);
        }
    })
    .await;
    assert_eq!(probe_patiently(server.address, http("/")).await, Probed::Success);
    let end = ended.recv().await.expect("the server saw the end");
    assert_eq!(end.expect("a clean end, not a reset"), 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_does_not_spoil_the_status() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await.expect("it reads");
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(probe_patiently(server.address, http("/")).await, Probed::Success);
}

#[tokio::test]
async fn what_is_not_http_has_failed() {
    for garbage in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2 200 OK\r\n\r\n", "200 OK\r\n", "\u{1}\u{2}\u{3}"] {
        assert_eq!(answer(garbage).await, failure("answered, but not in HTTP/1"), "{garbage:?}");
    }
    assert_eq!(answer("HTTP/1.1 2").await, failure("closed in the middle of its answer"));
    assert_eq!(answer("").await, failure("closed without an answer"));
}

#[tokio::test]
async fn a_connection_that_is_reset_has_failed() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.set_zero_linger().expect("it can be reset");
    })
    .await;
    assert_eq!(probe_patiently(server.address, http("/")).await, failure("connection reset"));
}

#[tokio::test]
async fn where_nobody_listens_the_connection_is_refused() {
    let closed = ClosedPort::new();
    assert_eq!(probe_patiently(closed.address, http("/")).await, failure("connection refused"));
}

#[tokio::test]
async fn a_target_that_talks_tls_is_told_apart() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der());
    let config = tokio_rustls::rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.expect("a key"))
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            assert!(acceptor.accept(stream).await.is_err(), "nobody spoke TLS");
        }
    })
    .await;
    assert_eq!(probe_patiently(server.address, http("/")).await, failure("answered in TLS, not in HTTP"));
}
