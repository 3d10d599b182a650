/// What the checker found: part of an instance that only lease and check decisions change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// `None` while healthy.
    pub reason: Option<HealthReason>,
    /// Log time of the last change between healthy and not.
    pub since_ms: u64,
}

/// Why an instance is not healthy.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum HealthReason {
    /// No heartbeat within the TTL.
    LeaseLapsed,
    /// Its session was lost and did not come back within the grace.
    SessionLost,
    /// The check failed as often as its threshold; what the last probe saw.
    CheckFailed(Box<str>),
}

impl Health {
    pub fn good(since_ms: u64) -> Self {
        Self { reason: None, since_ms }
    }

    pub fn is_healthy(&self) -> bool {
        self.reason.is_none()
    }
}

impl HealthReason {
    /// The word of the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::LeaseLapsed => "lease_lapsed",
            Self::SessionLost => "session_lost",
            Self::CheckFailed(_) => "check_failed",
        }
    }

    /// What the last probe saw, where a probe decided.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::CheckFailed(detail) => Some(detail),
            Self::LeaseLapsed | Self::SessionLost => None,
        }
    }
}
