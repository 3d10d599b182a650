//! Reading a request's body: bounded in size and time, and to its end even when it is refused.
//!
//! A client that is still sending when the connection closes may never see why. So what is too large, or was refused
//! for another reason, is read on and dropped for a while before the answer goes out.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::error::{Code, Problem};

/// Most of a body that is read only to be dropped.
const DROPPED_BYTES_MAX: u64 = 8 << 20;
/// How long that may take.
const DROP_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes_max: usize,
    /// Between two pieces.
    pub(super) pause_max: Duration,
    /// For all of it.
    pub(super) whole_max: Duration,
}

/// The whole body of a request that takes JSON.
pub(super) async fn read_json(headers: &HeaderMap, mut body: Body, limits: Limits) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limits.bytes_max as u64 {
        discard(headers, body).await;
        return Err(too_large(limits.bytes_max));
    }
    if !body.is_end_stream()
        && let Err(problem) = check_type(headers.get(CONTENT_TYPE))
    {
        discard(headers, body).await;
        return Err(problem);
    }
    let read = timeout(limits.whole_max, gather(&mut body, limits)).await.unwrap_or(Err(Stopped::Slow));
    match read {
        Ok(whole) => Ok(whole),
        Err(Stopped::TooLarge) => {
            discard(headers, body).await;
            Err(too_large(limits.bytes_max))
        }
        Err(Stopped::Slow) => {
            let detail = format!(
                "the body did not arrive in time: at most {} ms between two pieces and {} ms in all",
                limits.pause_max.as_millis(),
                limits.whole_max.as_millis()
            );
            Err(Problem::new(Code::RequestTimeout, detail).about("body"))
        }
        Err(Stopped::Broken) => Err(Problem::invalid("body", "an early end", "as many bytes as were announced")),
    }
}

enum Stopped {
    TooLarge,
    Slow,
    Broken,
}

async fn gather(body: &mut Body, limits: Limits) -> Result<Bytes, Stopped> {
    let mut first: Option<Bytes> = None;
    let mut more = BytesMut::new();
    loop {
        let frame = timeout(limits.pause_max, body.frame()).await.map_err(|_| Stopped::Slow)?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| Stopped::Broken)?.into_data() else { continue };
        let so_far = first.as_ref().map_or(0, Bytes::len) + more.len();
        if so_far + data.len() > limits.bytes_max {
            return Err(Stopped::TooLarge);
        }
        match &first {
            None if more.is_empty() => first = Some(data),
            _ => {
                if let Some(first) = first.take() {
                    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0);
                    more.reserve(first.len() + data.len() + expected.min(limits.bytes_max));
                    more.extend_from_slice(&first);
                }
                more.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| more.freeze()))
}

/// Reads on and drops, so that the client comes to read the answer.
pub(super) async fn discard(headers: &HeaderMap, mut body: Body) {
    // One who waits for leave to send has not begun, and must not be told to.
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    let dropped = async {
        let mut bytes = 0;
        while bytes < DROPPED_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
    };
    // Whatever did not come in time is not waited for.
    let _ = timeout(DROP_TIMEOUT, dropped).await;
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body is larger than {bytes_max} bytes");
    Problem::new(Code::TooLarge, detail).about("body").allowing(format!("at most {bytes_max} bytes"))
}

/// A body without a type is taken for JSON; one that says it is something else is not looked at.
fn check_type(given: Option<&HeaderValue>) -> Result<(), Problem> {
    let Some(given) = given else { return Ok(()) };
    let text = String::from_utf8_lossy(given.as_bytes());
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let essence = essence.trim();
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || essence.eq_ignore_ascii_case("application/merge-patch+json");
    if is_json && charset_is_utf8(parameters) {
        return Ok(());
    }
    let allowed = "application/json, in UTF-8";
    let invalid = Problem::invalid("content-type", &text, allowed);
    let problem = Problem::new(Code::UnsupportedMediaType, invalid.to_string()).about("content-type").allowing(allowed);
    Err(match &invalid.parts().value {
        Some(value) => problem.of_value(value.clone()),
        None => problem,
    })
}

fn charset_is_utf8(parameters: &str) -> bool {
    parameters.split(';').map(str::trim).filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}
