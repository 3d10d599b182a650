use std::future::{Future, poll_fn};
use std::time::Duration;

use bytes::Bytes;
use compute::model::CheckKind;
use compute::port::prober::Probed;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::ServingStatus;

use super::server::{ClosedPort, Server};
use super::{check, failure, probe, probe_patiently};

fn grpc(service: &str) -> CheckKind {
    CheckKind::grpc(service).expect("a valid service")
}

/// A server of gRPC over `routes`.
async fn serve(routes: tonic::service::Routes) -> (std::net::SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let serving = tonic::transport::Server::builder().add_routes(routes);
    let task = tokio::spawn(async move {
        serving.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
    });
    (address, task)
}

#[tokio::test]
async fn serving_is_success_and_every_other_status_is_not() {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("down", ServingStatus::NotServing).await;
    reporter.set_service_status("odd", ServingStatus::Unknown).await;
    reporter.set_service_status("shop.Orders", ServingStatus::Serving).await;
    let (address, task) = serve(tonic::service::Routes::new(service)).await;
    for (name, expected) in [
        ("", Probed::Success),
        ("shop.Orders", Probed::Success),
        ("down", failure("NOT_SERVING")),
        ("odd", failure("UNKNOWN")),
        ("absent", failure("gRPC status 5: Some requested entity was not found")),
    ] {
        assert_eq!(probe_patiently(address, grpc(name)).await, expected, "{name:?}");
    }
    task.abort();
}

#[tokio::test]
async fn a_server_without_the_health_service_has_failed() {
    let (address, task) = serve(tonic::service::Routes::default()).await;
    let expected = failure(&format!("gRPC status 12: {}", tonic::Code::Unimplemented.description()));
    assert_eq!(probe_patiently(address, grpc("")).await, expected);
    task.abort();
}

/// A server of HTTP/2 that answers each request as `script` says.
async fn h2_server<F, A>(script: F) -> Server
where
    F: Fn(SendResponse<Bytes>) -> A + Clone + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    Server::start(move |stream| {
        let script = script.clone();
        async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((_, respond))) = connection.accept().await {
                tokio::spawn(script(respond));
            }
        }
    })
    .await
}

fn ok() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).expect("an answer")
}

fn trailers(status: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static(status))])
}

/// What comes of a target that answers with this body and, unless it is empty, this gRPC status.
async fn answer(body: Vec<u8>, status: &'static str) -> Probed {
    let body = Bytes::from(body);
    let server = h2_server(move |mut respond| {
        let body = body.clone();
        async move {
            let mut answer = respond.send_response(ok(), false).expect("it is open");
            answer.send_data(body, status.is_empty()).expect("it is open");
            if !status.is_empty() {
                answer.send_trailers(trailers(status)).expect("it is open");
            }
        }
    })
    .await;
    probe_patiently(server.address, grpc("")).await
}

#[tokio::test]
async fn only_a_whole_and_right_answer_is_success() {
    let serving = vec![0, 0, 0, 0, 2, 8, 1];
    assert_eq!(answer(serving.clone(), "0").await, Probed::Success);
    assert_eq!(answer(serving.clone(), "13").await, failure("gRPC status 13: Internal error"));
    assert_eq!(answer(serving.clone(), "").await, failure("answered without a gRPC status"));
    assert_eq!(answer(Vec::new(), "0").await, failure("answered without a message"));
    assert_eq!(answer(vec![0, 0, 0, 0, 0], "0").await, failure("UNKNOWN"));
    let compressed = vec![1, 0, 0, 0, 2, 8, 1];
    assert_eq!(answer(compressed, "0").await, failure("answered with a broken message"));
    let long = vec![0, 0xff, 0xff, 0xff, 0xff, 8, 1];
    assert_eq!(answer(long, "0").await, failure("answered with a broken message"));
    let twice = [serving.clone(), serving].concat();
    assert_eq!(answer(twice, "0").await, failure("answered with a broken message"));
    let other = vec![0, 0, 0, 0, 2, 0xff, 0xff];
    assert_eq!(answer(other, "0").await, failure("answered with another message than a health's"));
}

#[tokio::test]
async fn another_status_of_http_has_failed() {
    for status in [302, 404, 503] {
        let server = h2_server(move |mut respond| async move {
            let answer = Response::builder().status(status).header("location", "/").body(()).expect("an answer");
            respond.send_response(answer, true).expect("it is open");
        })
        .await;
        assert_eq!(probe_patiently(server.address, grpc("")).await, failure(&format!("HTTP status {status}")));
    }
}

/// The probe ends long before its time, and not well.
async fn assert_fails_early(server: &Server) {
    let probed = tokio::time::timeout(Duration::from_secs(20), probe(server.address, &check(grpc(""), 60_000))).await;
    let Ok(Probed::Failure(why)) = probed else { panic!("{probed:?}") };
    assert!(!why.contains("within"), "{why}");
}

#[tokio::test]
async fn an_answer_without_end_is_read_to_the_limit() {
    let data = h2_server(|mut respond| async move {
        let mut answer = respond.send_response(ok(), false).expect("it is open");
        loop {
            answer.reserve_capacity(1_024);
            match poll_fn(|context| answer.poll_capacity(context)).await {
                Some(Ok(bytes)) if answer.send_data(vec![0; bytes].into(), false).is_ok() => {}
                _ => return,
            }
        }
    })
    .await;
    assert_fails_early(&data).await;
    let header = h2_server(|mut respond| async move {
        let long = Response::builder().header("x-long", "x".repeat(12_000)).body(()).expect("an answer");
        let _ = respond.send_response(long, false);
    })
    .await;
    assert_fails_early(&header).await;
    let pings = raw(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).await;
    assert_fails_early(&pings).await;
    let settings = raw(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    assert_fails_early(&settings).await;
}

/// A server that sends its settings and then one frame over and over.
async fn raw(frame: &'static [u8]) -> Server {
    Server::start(move |mut stream: TcpStream| async move {
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        while stream.write_all(frame).await.is_ok() {}
    })
    .await
}

#[tokio::test]
async fn other_protocols_have_failed() {
    for garbage in ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\u{15}\u{3}\u{3}\0\u{2}\u{2}F"] {
        let server = Server::start(move |mut stream| async move {
            let _ = stream.write_all(garbage.as_bytes()).await;
        })
        .await;
        assert_fails_early(&server).await;
    }
}

#[tokio::test]
async fn who_does_not_answer_in_time_has_failed() {
    let expected = failure("connected, but no answer within 1000 ms");
    let silent = Server::silent().await;
    assert_eq!(probe(silent.address, &check(grpc(""), 1_000)).await, expected);
    let pending = h2_server(|respond| async move {
        let _kept = respond;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(probe(pending.address, &check(grpc(""), 1_000)).await, expected);
}

#[tokio::test]
async fn where_nobody_listens_the_connection_is_refused() {
    let closed = ClosedPort::new();
    assert_eq!(probe_patiently(closed.address, grpc("")).await, failure("connection refused"));
}
