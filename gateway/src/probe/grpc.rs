//! `grpc.health.v1.Health/Check`: `SERVING` is success. Over a bare HTTP/2 connection that belongs to the probe alone:
//! when the probe is dropped, so is the connection, and nothing is left running.

use std::pin::pin;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Method, Request};
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::READ_BYTES_MAX;
use super::connect::Target;

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// Flag and length in front of a message.
const PREFIX_BYTES: usize = 5;

pub(super) async fn check(
    stream: TcpStream,
    target: &Target<'_>,
    service: &str,
    timeout: Duration,
) -> Result<(), String> {
    let request = request(target, timeout)?;
    let (reader, writer) = stream.into_split();
    // Everything counts, the frames of HTTP/2 too: no stream of settings, pings or headers keeps a probe busy.
    let limited = tokio::io::join(reader.take(READ_BYTES_MAX as u64), writer);
    let size = READ_BYTES_MAX as u32;
    let mut builder = Builder::new();
    builder.enable_push(false).initial_window_size(size).max_header_list_size(size).max_concurrent_streams(1);
    let (sender, connection) = builder.handshake::<_, Bytes>(limited).await.map_err(|error| broken(&error))?;
    let mut asking = pin!(ask(sender, request, service));
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        // The whole answer may have come before the end.
        _ = connection => asking.await,
    }
}

fn request(target: &Target<'_>, timeout: Duration) -> Result<Request<()>, String> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}{METHOD}", target.authority()))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, super::USER_AGENT)
        .header("grpc-timeout", format!("{}m", timeout.as_millis()))
        .body(())
        .map_err(|error| format!("the target can't be asked: {error}"))
}

async fn ask(sender: SendRequest<Bytes>, request: Request<()>, service: &str) -> Result<(), String> {
    let mut sender = sender.ready().await.map_err(|error| broken(&error))?;
    let (response, mut body) = sender.send_request(request, false).map_err(|error| broken(&error))?;
    body.send_data(framed(service), true).map_err(|error| broken(&error))?;
    let (head, mut answer) = response.await.map_err(|error| broken(&error))?.into_parts();
    if !head.status.is_success() {
        return Err(format!("HTTP status {}", head.status.as_u16()));
    }
    if head.headers.contains_key("grpc-status") {
        return read_status(&head.headers).and_then(|()| Err("answered without a message".to_owned()));
    }
    let message = read_message(&mut answer).await?;
    let trailers = answer.trailers().await.map_err(|error| broken(&error))?;
    read_status(&trailers.unwrap_or_default())?;
    let message = message.ok_or("answered without a message")?;
    let health = HealthCheckResponse::decode(message).map_err(|_| "answered with another message than a health's")?;
    match health.status() {
        ServingStatus::Serving => Ok(()),
        other => Err(other.as_str_name().to_owned()),
    }
}

fn framed(service: &str) -> Bytes {
    let message = HealthCheckRequest { service: service.to_owned() };
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(message.encoded_len() as u32);
    message.encode(&mut frame).expect("a growing buffer has room");
    frame.freeze()
}

/// The one message of the answer, if there is one.
async fn read_message(answer: &mut RecvStream) -> Result<Option<Bytes>, String> {
    let mut body = BytesMut::new();
    while let Some(part) = answer.data().await {
        let part = part.map_err(|error| broken(&error))?;
        if body.len() + part.len() > READ_BYTES_MAX {
            return Err(format!("answered with more than {READ_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&part);
    }
    let Some((prefix, message)) = body.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let [flag, length @ ..] = *prefix;
    if flag != 0 || u32::from_be_bytes(length) as usize != message.len() {
        return Err("answered with a broken message".to_owned());
    }
    Ok(Some(Bytes::copy_from_slice(message)))
}

fn read_status(headers: &HeaderMap) -> Result<(), String> {
    let Some(status) = headers.get("grpc-status") else { return Err("answered without a gRPC status".to_owned()) };
    match Code::from_bytes(status.as_bytes()) {
        Code::Ok => Ok(()),
        code => Err(format!("gRPC status {}: {}", code as i32, code.description())),
    }
}

fn broken(error: &h2::Error) -> String {
    match error.get_io() {
        Some(error) => super::connect::words(error),
        None => format!("not in order as HTTP/2: {error}"),
    }
}
