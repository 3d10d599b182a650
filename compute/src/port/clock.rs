//! Time. The only file of the domain that may ask the machine for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A time on this process's monotonic clock, in milliseconds since its start; not comparable between processes.
pub type MonoMs = u64;

pub trait Clock: Send + Sync + 'static {
    /// Never goes back, and does not care for the wall clock.
    fn mono_ms(&self) -> MonoMs;

    /// The same clock, as fine as it goes: for latencies and rates.
    fn mono_us(&self) -> u64 {
        self.mono_ms() * 1_000
    }

    /// Milliseconds since 1970, as the machine believes. Goes only into log records and log lines.
    fn wall_ms(&self) -> u64;

    /// Until the monotonic clock shows at least `until`.
    fn sleep_until(&self, until: MonoMs) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.sleep_until(self.mono_ms().saturating_add(span.as_millis() as u64))
    }
}

/// The machine's clocks.
pub struct SystemClock {
    start: tokio::time::Instant,
}

impl SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { start: tokio::time::Instant::now() })
    }
}

impl Clock for SystemClock {
    fn mono_ms(&self) -> MonoMs {
        self.start.elapsed().as_millis() as u64
    }

    fn mono_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn wall_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| d.as_millis() as u64)
    }

    fn sleep_until(&self, until: MonoMs) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep_until(self.start + Duration::from_millis(until)))
    }
}
