//! Successful answers, and the headers that every answer from state carries.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use compute::model::Revision;
use compute::view::View;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderName, HeaderValue, StatusCode};

use super::App;
use crate::error::Problem;
use crate::etag::Etag;

pub(super) const REVISION: HeaderName = HeaderName::from_static("x-thuban-revision");
pub(super) const OVERLAY: HeaderName = HeaderName::from_static("x-thuban-overlay");
pub(super) const STALE: HeaderName = HeaderName::from_static("x-thuban-stale");
pub(super) const CLIENT: HeaderName = HeaderName::from_static("x-thuban-client");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of JSON that no state is behind.
pub(super) fn json(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// What an answer from the state rests on. Whatever shows what is not in the log yet has a weak tag and says how much it
/// is: there is no other way to make one.
#[derive(Clone)]
pub(super) struct Basis {
    etag: Etag,
    /// Changes in it that are not in the log yet.
    overlay: usize,
}

impl Basis {
    fn new(etag: Etag, overlay: usize) -> Self {
        Self { etag: if overlay > 0 { etag.weak() } else { etag }, overlay }
    }

    pub(super) fn of_view(view: &View) -> Self {
        Self::new(Etag::of(view), view.overlay as usize)
    }

    /// Of what is known by the revision of its last change.
    pub(super) fn of_revision(revision: Revision, overlay: usize) -> Self {
        Self::new(Etag::of_revision(revision), overlay)
    }

    /// Of what only its bytes tell from other content, such as a list.
    pub(super) fn of_content(app: &App, content: &[u8], overlay: usize) -> Self {
        Self::new(Etag::of_content(app.registry.progress().applied.last(), content), overlay)
    }

    /// Of this node's state as a whole.
    pub(super) fn of_state(app: &App, overlay: usize) -> Self {
        Self::of_revision(app.registry.progress().applied.last(), overlay)
    }

    /// Of what is not there: the tag of everything that nobody registered.
    pub(super) fn nothing() -> Self {
        Self::of_revision(Revision::ZERO, 0)
    }

    /// The same, of an answer that says that less was reached than asked.
    pub(super) fn weak(self) -> Self {
        Self { etag: self.etag.weak(), ..self }
    }

    /// Whether a condition of a reader names it.
    pub(super) fn matches(&self, condition: &str) -> bool {
        self.etag.matches(condition)
    }

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
        self.without_body(StatusCode::NOT_MODIFIED)
    }

    /// Nothing to say but that it was done.
    pub(super) fn no_content(&self) -> Response {
        self.without_body(StatusCode::NO_CONTENT)
    }

    fn without_body(&self, status: StatusCode) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        self.mark(&mut response);
        response
    }

    /// That something is not there is an answer from the state too.
    pub(super) fn absent(&self, why: impl Into<Problem>) -> Response {
        let mut response = why.into().into_response();
        self.mark(&mut response);
        response
    }
}

fn header(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).expect("tags and revisions are printable ASCII")
}
