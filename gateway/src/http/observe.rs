//! What is counted and logged of requests.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::response::Response;
use http::{StatusCode, Uri};
use metrics::{Counter, Gauge, Histogram};

use super::App;
use super::problem::Refused;
use crate::error::Code;

/// In the extensions of a response: it was held back on purpose, so its latency says nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waited;

/// One route's metrics, looked up once.
pub(super) struct Route {
    method: &'static str,
    path: &'static str,
    by_class: [Counter; CLASSES.len()],
    seconds: Histogram,
}

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

impl Route {
    pub(super) fn new(method: &'static str, path: &'static str) -> Self {
        let counter = |class| metrics::counter!("thuban_http_requests_total", "method" => method, "route" => path, "status" => class);
        Self {
            method,
            path,
            by_class: CLASSES.map(counter),
            seconds: metrics::histogram!("thuban_http_request_seconds", "method" => method, "route" => path),
        }
    }

    pub(super) fn note(&self, app: &App, started_us: u64, asked: Option<&Uri>, response: &Response) {
        let took_us = app.clock.mono_us().saturating_sub(started_us);
        let status = response.status();
        let class = usize::from(status.as_u16() / 100).saturating_sub(2).min(CLASSES.len() - 1);
        self.by_class[class].increment(1);
        if response.extensions().get::<Waited>().is_none() {
            self.seconds.record(took_us as f64 / 1_000_000.0);
        }
        if let Some(uri) = asked {
            tracing::debug!(method = self.method, %uri, status = status.as_u16(), took_us, "request");
        }
        if status.is_server_error() {
            self.complain(app, status, response);
        }
    }

    fn complain(&self, app: &App, status: StatusCode, response: &Response) {
        let code = response.extensions().get::<Refused>().map(|refused| refused.0);
        // A node that starts, drains or has not applied a revision yet says so, and nothing is wrong with it.
        if matches!(code, Some(Code::NotReady | Code::Behind)) {
            return;
        }
        let Some(withheld) = app.muffler.pass(app.clock.mono_ms()) else { return };
        let code = code.map_or("", Code::as_str);
        tracing::warn!(
            method = self.method,
            route = self.path,
            status = status.as_u16(),
            code,
            withheld,
            "request failed"
        );
    }
}

/// Lets a few lines of one kind through in each window of time, and counts the rest.
pub(super) struct Muffler {
    /// The number of the window in the upper half, the lines in it in the lower.
    window: AtomicU64,
    withheld: AtomicU64,
}

const WINDOW_MS: u64 = 10_000;
const LINES_MAX: u64 = 10;

impl Muffler {
    pub(super) fn new() -> Self {
        Self { window: AtomicU64::new(0), withheld: AtomicU64::new(0) }
    }

    /// How many were withheld before this one; `None`: this one is.
    pub(super) fn pass(&self, now_ms: u64) -> Option<u64> {
        let now = now_ms / WINDOW_MS;
        let count = |seen: u64| if seen >> 32 == now { seen & u64::from(u32::MAX) } else { 0 };
        let next = |seen: u64| Some(now << 32 | (count(seen) + 1).min(u64::from(u32::MAX)));
        let seen = self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0);
        if count(seen) < LINES_MAX {
            return Some(self.withheld.swap(0, Ordering::Relaxed));
        }
        self.withheld.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// How many streams are open.
pub(super) struct Streams(Gauge);

/// One open stream.
pub(super) struct Streaming(Gauge);

impl Streams {
    pub(super) fn new() -> Self {
        Self(metrics::gauge!("thuban_http_streams"))
    }

    pub(super) fn open(&self) -> Streaming {
        self.0.increment(1);
        Streaming(self.0.clone())
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
