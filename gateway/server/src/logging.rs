//! Log lines on standard error: text for people, or JSON with one object a line and nothing else.
//!
//! Nobody may be there to read them, or no room where they go: a line that can't be written is counted and forgotten.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;

use crate::config::Logging;

static LOST: AtomicU64 = AtomicU64::new(0);

/// Starts logging for the whole process; a panic is a log line too.
pub(crate) fn start(logging: &Logging) {
    let filter = EnvFilter::new(&logging.filter);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Forgiving(io::stderr()));
    // It would tell of them on standard error, and panic when it can't.
    let lines = lines.log_internal_errors(false);
    if logging.json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    } else {
        lines.with_ansi(io::stderr().is_terminal()).init();
    }
    // Nothing in it may panic: a panic within the hook ends the process.
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

/// How many log lines could not be written.
pub(crate) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// A line for whoever started the program, where there is no log yet.
pub(crate) fn complain(line: impl fmt::Display) {
    let _ = writeln!(Forgiving(io::stderr()), "{line}");
}

/// A writer that always says it wrote. It is given whole lines.
struct Forgiving<W>(W);

impl<W: Write> Write for Forgiving<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write_all(line).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What it writes to has no buffer.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::{Forgiving, lost};

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn what_can_not_be_written_is_counted() {
        let before = lost();
        let mut writer = Forgiving(Full);
        writer.write_all(b"a line\n").expect("it says so");
        writer.flush().expect("it says so");
        assert!(lost() > before);
        let mut written = Vec::new();
        Forgiving(&mut written).write_all(b"a line\n").expect("a vector takes all");
        assert_eq!(written, b"a line\n");
    }
}
