//! What the client library calls: its log, its errors, its statistics, and the outcome of each append.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use compute::port::Clock;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;
use tokio::sync::watch;

use super::error::{code, why};
use super::writer::Pending;

/// Lines of the library that are printed in one window; a broker that is down makes it repeat itself.
const LINES_MAX: u32 = 5;
const WINDOW_MS: u64 = 10_000;

/// The context of one client.
#[derive(Clone)]
pub(super) struct Context(Arc<Inner>);

struct Inner {
    /// `producer`, `follower`, ...
    role: &'static str,
    clock: Arc<dyn Clock>,
    quiet: Mutex<Quiet>,
    /// The producer has its id.
    is_ready: watch::Sender<bool>,
    is_fatal: AtomicBool,
    last_error: Mutex<Option<String>>,
}

#[derive(Default)]
struct Quiet {
    since_ms: u64,
    lines: u32,
    held_back: u64,
}

impl Context {
    pub(super) fn new(role: &'static str, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            role,
            clock,
            quiet: Mutex::default(),
            is_ready: watch::Sender::new(false),
            is_fatal: AtomicBool::new(false),
            last_error: Mutex::default(),
        }))
    }

    /// Whether the producer has given up and must be replaced.
    pub(super) fn is_fatal(&self) -> bool {
        self.0.is_fatal.load(Ordering::Acquire)
    }

    pub(super) fn set_fatal(&self) {
        self.0.is_fatal.store(true, Ordering::Release);
    }

    /// Until the producer has its id and sends at once.
    pub(super) async fn ready(&self) {
        // Fails only when the sender is gone, and it is here.
        let _ = self.0.is_ready.subscribe().wait_for(|is_ready| *is_ready).await;
    }

    /// What the library last complained of, in its own words.
    pub(super) fn last_error(&self) -> Option<String> {
        self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn complain(&self, line: &str) {
        *self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.to_owned());
    }

    /// The error, and what the library complained of meanwhile.
    pub(super) fn explain(&self, error: &KafkaError) -> String {
        match self.last_error() {
            Some(last) => format!("{}; last: {last}", why(error)),
            None => why(error),
        }
    }

    /// How many lines were held back, if one more may be printed.
    fn may_print(&self) -> Option<u64> {
        let now_ms = self.0.clock.mono_ms();
        let mut quiet = self.0.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms.saturating_sub(quiet.since_ms) >= WINDOW_MS {
            let held_back = quiet.held_back;
            *quiet = Quiet { since_ms: now_ms, lines: 1, held_back: 0 };
            return Some(held_back);
        }
        if quiet.lines < LINES_MAX {
            quiet.lines += 1;
            return Some(0);
        }
        quiet.held_back += 1;
        None
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, line: &str) {
        let role = self.0.role;
        if fac == "FAIL" {
            self.complain(line);
        }
        match level {
            RDKafkaLogLevel::Debug => tracing::trace!(role, fac, line, "kafka client"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => tracing::debug!(role, fac, line, "kafka client"),
            // A setting of the other kind of client, which both are given.
            _ if fac == "CONFWARN" => tracing::debug!(role, fac, line, "kafka client"),
            _ => match self.may_print() {
                Some(held_back) => tracing::warn!(role, fac, line, held_back, "kafka client"),
                None => tracing::debug!(role, fac, line, "kafka client"),
            },
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if !*self.0.is_ready.borrow() && has_id(statistics) {
            self.0.is_ready.send_replace(true);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if code(&error) == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        if code(&error) == Some(RDKafkaErrorCode::Fatal) {
            self.0.is_fatal.store(true, Ordering::Release);
        }
        // That all are down says less than why.
        if code(&error) != Some(RDKafkaErrorCode::AllBrokersDown) || self.last_error().is_none() {
            self.complain(reason);
        }
        let (role, error) = (self.0.role, why(&error));
        match self.may_print() {
            Some(held_back) => tracing::warn!(role, error, reason, held_back, "kafka client"),
            None => tracing::debug!(role, error, reason, "kafka client"),
        }
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        match result {
            Ok(message) => pending.written(message.offset()),
            Err((error, _)) => {
                if code(error).is_some_and(gives_up) {
                    self.0.is_fatal.store(true, Ordering::Release);
                }
                pending.failed(error);
            }
        }
    }
}

/// Whether an append with this outcome was the producer's last. One whose message outlived its time has to agree with the
/// broker on a new epoch before it sends again, and was seen not to come to that after a broker had stood still: each
/// message timed out from then on. Another producer has nothing to agree on.
fn gives_up(error: RDKafkaErrorCode) -> bool {
    matches!(error, RDKafkaErrorCode::Fatal | RDKafkaErrorCode::MessageTimedOut)
}

/// Whether these statistics say that the producer has its id.
fn has_id(statistics: &[u8]) -> bool {
    let statistics = String::from_utf8_lossy(statistics);
    let state = statistics.split_once("\"idemp_state\"").map(|(_, rest)| rest.trim_start_matches([':', ' ']));
    state.is_some_and(|state| state.starts_with("\"Assigned\""))
}
