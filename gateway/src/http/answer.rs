//! Successful answers, and the headers that every answer from state carries.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use compute::model::Revision;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::etag::Etag;

pub(super) const REVISION: HeaderName = HeaderName::from_static("x-thuban-revision");
pub(super) const OVERLAY: HeaderName = HeaderName::from_static("x-thuban-overlay");
pub(super) const CLIENT: HeaderName = HeaderName::from_static("x-thuban-client");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of JSON that no state is behind.
pub(super) fn json(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// What an answer rests on.
#[derive(Clone)]
pub(super) struct Basis {
    pub(super) etag: Etag,
    /// Changes in it that are not in the log yet.
    pub(super) overlay: usize,
}

impl Basis {
    pub(super) fn mark(&self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(ETAG, header(self.etag.bytes()));
        headers.insert(REVISION, header(self.etag.revision_bytes()));
        if self.overlay > 0 {
            headers.insert(OVERLAY, HeaderValue::from(self.overlay));
        }
    }

    pub(super) fn json(&self, status: StatusCode, body: Bytes) -> Response {
        let mut response = json(status, body);
        self.mark(&mut response);
        response
    }

    pub(super) fn not_modified(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        self.mark(&mut response);
        response
    }

    /// Nothing to say but that it was done.
    pub(super) fn no_content(revision: Revision) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if revision != Revision::ZERO {
            response.headers_mut().insert(REVISION, header(revision.to_string().into()));
        }
        response
    }
}

fn header(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).expect("tags and revisions are printable ASCII")
}
