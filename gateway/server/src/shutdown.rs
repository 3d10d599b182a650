//! Being asked to stop: once is politely, twice is at once. And what must not stop it.

use std::io;

use rustix::process::Signal as Named;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// A write beyond the largest size that a file may have: who hears the signal does not die of it, and the write fails
    /// as on a full disk.
    _too_large: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _too_large: signal(SignalKind::from_raw(Named::XFSZ.as_raw()))?,
        })
    }

    /// The name of the next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// What `work` comes to, or `None` when a signal was faster.
    pub(crate) async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            signal = self.next() => {
                tracing::info!(signal, "asked to stop");
                None
            }
            done = work => Some(done),
        }
    }
}
