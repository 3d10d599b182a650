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

/// They tell in a warning what the other end of a connection does, as often as it does it: who knocks at a port could
/// fill a disk. The node says itself what an operator needs to know of it.
const OTHERS_DECIDE: [&str; 2] = ["h2", "hyper"];

/// What is logged: as the operator said, and from those only errors, unless they are named.
fn filter(said: &str) -> EnvFilter {
    let targets: Vec<_> = said.split(',').filter_map(|directive| directive.trim().split(['=', '[']).next()).collect();
    let is_named = |wanted: &str| {
        let rest = |target: &&str| target.strip_prefix(wanted).map(str::to_owned);
        targets.iter().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let quiet = OTHERS_DECIDE.iter().filter(|target| !is_named(target));
    let directives = quiet.fold(said.to_owned(), |said, target| format!("{said},{target}=error"));
    EnvFilter::new(if said == "off" { said } else { &directives })
}

/// Starts logging for the whole process; a panic is a log line too.
pub(crate) fn start(logging: &Logging) {
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter(&logging.filter)).with_writer(|| Forgiving(io::stderr()));
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
    use std::sync::{Arc, Mutex};

    use super::{Forgiving, filter, lost};

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    /// The messages of a few events that are logged with this level.
    fn logged(said: &str) -> Vec<String> {
        let written = Arc::new(Mutex::new(Vec::<u8>::new()));
        let lines = tracing_subscriber::fmt().with_env_filter(filter(said)).with_ansi(false).with_writer({
            let written = Arc::clone(&written);
            move || Shared(Arc::clone(&written))
        });
        tracing::subscriber::with_default(lines.finish(), || {
            tracing::warn!(target: "h2::proto::streams::streams", "h2 warns");
            tracing::warn!(target: "hyper::proto::h2", "hyper warns");
            tracing::error!(target: "hyper::proto::h1", "hyper fails");
            tracing::warn!(target: "gateway::peer::door", "the door warns");
            tracing::debug!(target: "compute::node", "the node whispers");
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.split_once(": ").unwrap().1.to_owned()).collect()
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_strangers_can_repeat_at_will_is_logged_only_where_it_is_asked_for() {
        assert_eq!(logged("info"), ["hyper fails", "the door warns"]);
        assert_eq!(logged("warn,compute=debug"), ["hyper fails", "the door warns", "the node whispers"]);
        assert_eq!(logged("info,h2=warn"), ["h2 warns", "hyper fails", "the door warns"]);
        assert_eq!(logged("info, hyper::proto::h2=debug"), ["hyper warns", "hyper fails", "the door warns"]);
        assert_eq!(logged("info,h2=warn,hyper=warn"), ["h2 warns", "hyper warns", "hyper fails", "the door warns"]);
        assert_eq!(logged("off"), Vec::<String>::new());
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
