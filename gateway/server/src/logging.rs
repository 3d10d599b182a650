//! Log lines on standard error: text for people, or JSON with one object a line and nothing else.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::Logging;

/// Starts logging for the whole process; a panic is a log line too.
pub(crate) fn start(logging: &Logging) {
    let filter = EnvFilter::new(&logging.filter);
    let lines = fmt::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if logging.json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).init();
    }
    std::panic::set_hook(Box::new(|panicked| {
        let what = panicked.payload_as_str().unwrap_or("no words");
        let place = panicked.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!(panic = what, place, %backtrace, "panicked");
        } else {
            tracing::error!(panic = what, place, "panicked");
        }
    }));
}
