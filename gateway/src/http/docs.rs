//! The browsable reference and the front page: files that are in the binary, and a document that is made once.

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use utoipa::openapi::OpenApi;

use super::App;
use super::gate::{GateLayer, Needs};
use super::query::Query;
use crate::error::Problem;

/// A page may use what this door serves, and nothing of anybody else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// One file, as it is served.
#[derive(Clone)]
struct Asset {
    kind: HeaderValue,
    etag: HeaderValue,
    content: Bytes,
}

impl Asset {
    fn new(kind: &'static str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let hash = Sha256::digest(&content);
        let digits: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::try_from(format!("\"{digits}\"")).expect("hexadecimal digits are fit for a header");
        Self { kind: HeaderValue::from_static(kind), etag, content }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let is_known = asked.get(IF_NONE_MATCH) == Some(&self.etag);
        let body = if is_known { Body::empty() } else { Body::from(self.content.clone()) };
        let mut response = Response::new(body);
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.kind.clone());
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The pages, each behind its gate.
pub(super) fn router(reference: &OpenApi, gate: impl Fn(Needs, &'static str) -> GateLayer) -> Router<App> {
    let document = serde_json::to_vec(reference).expect("a document can be written");
    let front = || Asset::new(HTML, include_str!("docs/front.html"));
    let assets = [
        ("/openapi.json", Asset::new("application/json", document)),
        ("/docs", Asset::new(HTML, include_str!("docs/reference.html"))),
        ("/docs/reference.js", Asset::new(SCRIPT, include_str!("docs/reference.js"))),
        ("/docs/style.css", Asset::new(STYLE, include_str!("docs/style.css"))),
        ("/", front()),
        ("/ui", front()),
        ("/ui/{*rest}", front()),
    ];
    assets.into_iter().fold(Router::new(), |router, (path, asset)| {
        // The console reads its own queries.
        let is_page = path == "/" || path.starts_with("/ui");
        let serve = get(move |RawQuery(query): RawQuery, headers: HeaderMap| async move {
            if !is_page {
                Query::read(query.as_deref())?.finish()?;
            }
            Ok::<_, Problem>(asset.answer(&headers))
        });
        router.route(path, serve.route_layer(gate(Needs::Nothing, path)))
    })
}
