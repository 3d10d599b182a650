//! Reading a request's body: bounded in size and time, and to its end even when it is refused.
//!
//! A client that is still sending when the connection closes may never see why. So what is too large, or was refused
//! for another reason, is read on and dropped for a while before the answer goes out.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::admission::{Admission, BodyBytes, FREE_BODY_BYTES, Reading, Shares};
use crate::error::{Code, Problem};

/// Most of a body that is read only to be dropped.
const DROPPED_BYTES_MAX: u64 = 8 << 20;
/// How long that may take.
const DROP_TIMEOUT: Duration = Duration::from_secs(10);
/// How much is made ready for a body because it says that it comes; more as it does come.
const RESERVED_BYTES_MAX: usize = 64 << 10;

/// Bounds of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes_max: usize,
    /// Between two pieces.
    pub(super) pause_max: Duration,
    /// For all of it.
    pub(super) whole_max: Duration,
}

/// What reading a body takes of the process.
pub(super) struct Room<'a> {
    pub(super) admission: &'a Admission,
    /// What its connection holds.
    pub(super) shares: Option<&'a Arc<Shares>>,
}

/// A body that has come whole, and what it holds until it is worked off.
pub(super) struct Received {
    pub(super) whole: Bytes,
    pub(super) held: Option<BodyBytes>,
}

/// The whole body of a request that takes JSON.
pub(super) async fn receive(
    room: Room<'_>,
    headers: &HeaderMap,
    mut body: Body,
    limits: Limits,
) -> Result<Received, Problem> {
    let keeps = body.size_hint().lower() <= limits.bytes_max as u64;
    // One who waits for leave to send what is too much has not begun.
    if !keeps && headers.contains_key(EXPECT) {
        return Err(too_large(limits.bytes_max));
    }
    if keeps && let Err(problem) = check_type(headers.get(CONTENT_TYPE), !body.is_end_stream()) {
        discard(headers, body).await;
        return Err(problem);
    }
    let gathered = timeout(limits.whole_max, gather(&room, &mut body, limits, keeps)).await;
    match gathered.unwrap_or(Err(Stopped::Slow)) {
        Ok(received) => Ok(received),
        // As large as it says, or larger: either way the same is read of it.
        Err(Stopped::TooLarge) => {
            discard(headers, body).await;
            Err(too_large(limits.bytes_max))
        }
        Err(Stopped::NoBytes(problem)) => {
            discard(headers, body).await;
            Err(problem)
        }
        Err(Stopped::Refused(problem)) => Err(problem),
        Err(Stopped::Slow) if !keeps => Err(too_large(limits.bytes_max)),
        Err(Stopped::Slow) => {
            let detail = format!(
                "the body did not arrive in time: at most {} ms between two pieces and {} ms in all",
                limits.pause_max.as_millis(),
                limits.whole_max.as_millis()
            );
            Err(Problem::new(Code::RequestTimeout, detail).about("body"))
        }
        Err(Stopped::Broken) => Err(broken()),
    }
}

/// The body of a request that came through its gate, which has read it.
pub(super) async fn whole(body: Body) -> Result<Bytes, Problem> {
    Ok(body.collect().await.map_err(|_| broken())?.to_bytes())
}

/// Whether the header says what an empty body may be said to be.
pub(super) fn check_empty(headers: &HeaderMap) -> Result<(), Problem> {
    check_type(headers.get(CONTENT_TYPE), false)
}

enum Stopped {
    TooLarge,
    Slow,
    Broken,
    /// What has come of it is all that it may hold.
    NoBytes(Problem),
    Refused(Problem),
}

/// Reads to the end; `keeps`: what comes is wanted.
async fn gather(room: &Room<'_>, body: &mut Body, limits: Limits, keeps: bool) -> Result<Received, Stopped> {
    let mut first: Option<Bytes> = None;
    let mut more = BytesMut::new();
    let mut held: Option<BodyBytes> = None;
    let mut reading = None;
    let mut came = 0;
    while let Some(data) = next(room, body, limits, &mut reading, came).await? {
        came += data.len();
        if came > limits.bytes_max {
            return Err(Stopped::TooLarge);
        }
        if !keeps {
            continue;
        }
        if came > FREE_BODY_BYTES {
            held.get_or_insert_with(|| room.admission.body_bytes()).set(came).map_err(Stopped::NoBytes)?;
        }
        match &first {
            None if more.is_empty() => first = Some(data),
            _ => {
                if let Some(first) = first.take() {
                    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0);
                    more.reserve(first.len() + data.len() + expected.min(RESERVED_BYTES_MAX));
                    more.extend_from_slice(&first);
                }
                more.extend_from_slice(&data);
            }
        }
    }
    let whole = first.unwrap_or_else(|| more.freeze());
    Ok(Received { whole, held })
}

/// The next piece. Only a body that is waited for takes room: as a rule it is here already.
async fn next(
    room: &Room<'_>,
    body: &mut Body,
    limits: Limits,
    reading: &mut Option<Reading>,
    came: usize,
) -> Result<Option<Bytes>, Stopped> {
    loop {
        if body.is_end_stream() {
            return Ok(None);
        }
        let frame = match futures::poll!(body.frame()) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let reading = match reading {
                    Some(reading) => reading,
                    None => reading.insert(room.admission.read_body(room.shares).map_err(Stopped::Refused)?),
                };
                reading.came(came);
                tokio::select! {
                    biased;
                    frame = timeout(limits.pause_max, body.frame()) => frame.map_err(|_| Stopped::Slow)?,
                    problem = reading.too_slow() => return Err(Stopped::Refused(problem)),
                }
            }
        };
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Stopped::Broken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
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

fn broken() -> Problem {
    Problem::invalid("body", "an early end", "as many bytes as were announced")
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body is larger than {bytes_max} bytes");
    Problem::new(Code::TooLarge, detail).about("body").allowing(format!("at most {bytes_max} bytes"))
}

/// A body must say that it is JSON, and an empty one must not say that it is something else: what a browser sends unasked
/// for any page has no type, or that of a form.
fn check_type(given: Option<&HeaderValue>, has_body: bool) -> Result<(), Problem> {
    let allowed = "application/json, in UTF-8";
    let Some(given) = given else {
        let missing =
            || Problem::new(Code::UnsupportedMediaType, format!("content-type is missing; allowed: {allowed}"));
        return if has_body { Err(missing().about("content-type").allowing(allowed)) } else { Ok(()) };
    };
    let text = String::from_utf8_lossy(given.as_bytes());
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let essence = essence.trim();
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || essence.eq_ignore_ascii_case("application/merge-patch+json");
    if is_json && charset_is_utf8(parameters) {
        return Ok(());
    }
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
