//! A [`Problem`] as this door says it: RFC 9457.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::encode::Json;
use crate::error::{Code, Parts, Problem};

pub(super) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// In the extensions of a response: what it refuses with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused(pub(super) Code);

/// The fields of a problem, for a document of its own and for an item of a batch.
pub(super) fn fields(json: &mut Json, problem: &Problem) {
    let Parts { code, detail, field, value, allowed, retry_after } = problem.parts();
    json.number("status", u64::from(code.status()));
    json.text("code", code.as_str());
    json.text("detail", detail);
    if let Some(field) = field {
        json.text("field", field);
    }
    if let Some(value) = value {
        json.text("value", value);
    }
    if let Some(allowed) = allowed {
        json.text("allowed", allowed);
    }
    if let Some(after) = retry_after {
        json.number("retry_after_ms", after.as_millis() as u64);
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { code, retry_after, .. } = self.parts();
        let body = Json::of_object(|json| {
            json.text("type", &format!("urn:thuban:problem:{}", code.as_str()));
            json.text("title", code.title());
            fields(json, &self);
        });
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status(*code);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        if let Some(after) = retry_after {
            // Whole seconds, upwards: nobody comes back too early, and never at once.
            let seconds = after.as_millis().div_ceil(1_000).clamp(1, 86_400);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds as u32));
        }
        if *code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Refused(*code));
        response
    }
}

pub(crate) fn refuse(problem: &Problem) -> Response {
    problem.clone().into_response()
}

fn status(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).expect("the table holds valid statuses")
}
