use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::limits::{
    CHECK_COUNT_MAX, CHECK_INTERVAL_MS_MAX, CHECK_INTERVAL_MS_MIN, CHECK_TARGET_BYTES_MAX, CHECK_TIMEOUT_MS_MAX,
    CHECK_TIMEOUT_MS_MIN, LEASE_MS_MAX, LEASE_MS_MIN, REMOVE_AFTER_MS_DEFAULT, TTL_MS_DEFAULT,
};
use super::{Invalid, SessionId, text};

/// An instance's time-bound right to be listed.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Lease {
    /// Lives by heartbeats: unhealthy after `ttl_ms` without one, removed `remove_after_ms` later.
    Ttl { ttl_ms: u32, remove_after_ms: u32 },
    /// Lives while its session does, plus the session's grace.
    Stream { session: SessionId, remove_after_ms: u32 },
    /// Lives by the registry's own probes. Without `remove_after_ms` a failing instance stays listed as unhealthy:
    /// nobody would register it again when it recovers.
    Checked { check: Box<Check>, remove_after_ms: Option<u32> },
    /// Lives until somebody removes it.
    Permanent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum LeaseKind {
    Ttl,
    Stream,
    Checked,
    Permanent,
}

impl LeaseKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Stream => "stream",
            Self::Checked => "checked",
            Self::Permanent => "permanent",
        }
    }
}

impl Lease {
    pub const DEFAULT: Self = Self::Ttl { ttl_ms: TTL_MS_DEFAULT, remove_after_ms: REMOVE_AFTER_MS_DEFAULT };

    pub fn ttl(ttl_ms: u64, remove_after_ms: u64) -> Result<Self, Invalid> {
        Ok(Self::Ttl {
            ttl_ms: lease_ms("lease.ttl_ms", ttl_ms)?,
            remove_after_ms: lease_ms("lease.remove_after_ms", remove_after_ms)?,
        })
    }

    pub fn stream(session: SessionId, remove_after_ms: u64) -> Result<Self, Invalid> {
        Ok(Self::Stream { session, remove_after_ms: lease_ms("lease.remove_after_ms", remove_after_ms)? })
    }

    pub fn checked(check: Check, remove_after_ms: Option<u64>) -> Result<Self, Invalid> {
        let remove_after_ms = remove_after_ms.map(|ms| lease_ms("lease.remove_after_ms", ms)).transpose()?;
        Ok(Self::Checked { check: Box::new(check), remove_after_ms })
    }

    pub fn kind(&self) -> LeaseKind {
        match self {
            Self::Ttl { .. } => LeaseKind::Ttl,
            Self::Stream { .. } => LeaseKind::Stream,
            Self::Checked { .. } => LeaseKind::Checked,
            Self::Permanent => LeaseKind::Permanent,
        }
    }

    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Stream { session, .. } => Some(*session),
            _ => None,
        }
    }

    /// How long an unhealthy instance stays listed; `None`: until somebody removes it.
    pub fn remove_after(&self) -> Option<Duration> {
        let ms = match self {
            Self::Ttl { remove_after_ms, .. } | Self::Stream { remove_after_ms, .. } => Some(*remove_after_ms),
            Self::Checked { remove_after_ms, .. } => *remove_after_ms,
            Self::Permanent => None,
        };
        ms.map(|ms| Duration::from_millis(u64::from(ms)))
    }
}

fn lease_ms(field: &'static str, value: u64) -> Result<u32, Invalid> {
    text::range(field, value, LEASE_MS_MIN, LEASE_MS_MAX).map(|ms| ms as u32)
}

/// What the registry probes, and how often, to keep a `checked` lease.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Check {
    pub kind: CheckKind,
    pub interval_ms: u32,
    pub timeout_ms: u32,
    /// Failures in a row that make it unhealthy.
    pub failures: u8,
    /// Successes in a row that make it healthy again.
    pub successes: u8,
    /// The port to probe; `None`: the instance's own.
    pub port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum CheckKind {
    /// `GET` of this path answers 2xx.
    Http { path: Box<str> },
    /// A connection opens.
    Tcp,
    /// `grpc.health.v1.Health/Check` of this service name (may be empty) answers `SERVING`.
    Grpc { service: Box<str> },
}

impl CheckKind {
    pub fn http(path: &str) -> Result<Self, Invalid> {
        let graphic = path.bytes().all(|b| b.is_ascii_graphic());
        if !path.starts_with('/') || path.len() > CHECK_TARGET_BYTES_MAX || !graphic {
            let allowed = "a path that starts with /, at most 1024 printable ASCII bytes without spaces";
            return Err(Invalid::new("lease.check.http", path, allowed));
        }
        Ok(Self::Http { path: path.into() })
    }

    pub fn grpc(service: &str) -> Result<Self, Invalid> {
        text::plain("lease.check.grpc", service, CHECK_TARGET_BYTES_MAX)?;
        Ok(Self::Grpc { service: service.into() })
    }
}

impl Check {
    pub fn new(
        kind: CheckKind,
        interval_ms: u64,
        timeout_ms: u64,
        failures: u64,
        successes: u64,
        port: Option<u16>,
    ) -> Result<Self, Invalid> {
        let interval =
            text::range("lease.check.interval_ms", interval_ms, CHECK_INTERVAL_MS_MIN, CHECK_INTERVAL_MS_MAX)?;
        let timeout = text::range("lease.check.timeout_ms", timeout_ms, CHECK_TIMEOUT_MS_MIN, CHECK_TIMEOUT_MS_MAX)?;
        if port == Some(0) {
            return Err(Invalid::new("lease.check.port", 0, "1 to 65535"));
        }
        Ok(Self {
            kind,
            interval_ms: interval as u32,
            timeout_ms: timeout as u32,
            failures: text::range("lease.check.failures", failures, 1, CHECK_COUNT_MAX)? as u8,
            successes: text::range("lease.check.successes", successes, 1, CHECK_COUNT_MAX)? as u8,
            port,
        })
    }
}

/// Where heartbeats of one lease go on this node: two atomics that outlive each replacement of the instance within a
/// generation. Not state: never logged, never stored, different on each node.
///
/// What a client said to this very node is told apart from what is only assumed, because the log told it to every node
/// alike: only the first is evidence that others lack. Were a register that all have applied held for one, any two
/// nodes would vouch for a dead instance for ever, each with what it knows from the other.
#[derive(Debug, Default)]
pub struct LeaseCell {
    /// Twice the monotonic milliseconds from which the lease's time counts, and one if that is a heartbeat that this
    /// node received and that has refuted nothing yet.
    renewed: AtomicU64,
    /// Packed revision of the standing suspicion, 0 for none.
    suspicion: AtomicU64,
}

const HEARD: u64 = 1;

impl LeaseCell {
    /// A lease that is assumed to be fine at that time.
    pub fn new(now_ms: u64) -> Self {
        Self { renewed: AtomicU64::new(now_ms << 1), suspicion: AtomicU64::new(0) }
    }

    /// Notes a heartbeat that came to this node. True when a suspicion stands, so that the caller must refute it through
    /// the log.
    ///
    /// The order of the two accesses, against that of [`LeaseCell::suspect`] and [`LeaseCell::heard_ms`] in the
    /// applier, makes one side see the other: a heartbeat is never lost between them.
    pub fn renew(&self, now_ms: u64) -> bool {
        self.renewed.fetch_max(now_ms << 1 | HEARD, Ordering::SeqCst);
        self.suspicion.load(Ordering::SeqCst) != 0
    }

    /// The lease's time counts from then at the earliest: the log shows a register, another node tells of a heartbeat,
    /// or the lease has become this node's.
    pub fn assume(&self, at_ms: u64) {
        self.renewed.fetch_max(at_ms << 1, Ordering::SeqCst);
    }

    /// The log shows that somebody heard it then. A heartbeat of this node that is no younger has no more to say: it
    /// never refutes twice.
    pub fn refuted(&self, at_ms: u64) {
        self.assume(at_ms);
        self.spend(at_ms);
    }

    /// A heartbeat of this node that came then or before has refuted; the lease's time counts from it as before.
    pub fn spend(&self, until_ms: u64) {
        let spent = |renewed: u64| (renewed >> 1 <= until_ms).then_some(renewed & !HEARD);
        // An error means that something younger is there.
        let _ = self.renewed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spent);
    }

    /// From when the lease's time counts: the newest of all that is known.
    pub fn renewed_ms(&self) -> u64 {
        self.renewed.load(Ordering::SeqCst) >> 1
    }

    /// The newest heartbeat that came to this node, if nothing known is newer and it has refuted nothing.
    pub fn heard_ms(&self) -> Option<u64> {
        let renewed = self.renewed.load(Ordering::SeqCst);
        (renewed & HEARD != 0).then_some(renewed >> 1)
    }

    pub fn suspect(&self, suspicion: super::Revision) {
        self.suspicion.store(suspicion.packed(), Ordering::SeqCst);
    }

    pub fn clear(&self) {
        self.suspicion.store(0, Ordering::SeqCst);
    }

    /// Whether a suspicion stands.
    pub fn is_suspect(&self) -> bool {
        self.suspicion.load(Ordering::SeqCst) != 0
    }
}

#[cfg(test)]
mod tests;
