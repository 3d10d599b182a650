//! What a lease lives by, and how long.

use crate::model::{Check, Lease};
use crate::port::clock::MonoMs;

use super::LeaseTable;
use super::sessions::Held;
use super::trouble::{Stage, Trouble};
use crate::state::freeze::LeaseId;

/// What is known now of what a lease lives by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Term {
    /// From when its time counts, and the same or when this node became ready if that is later.
    Ttl {
        ttl: MonoMs,
        renewed: MonoMs,
        base: MonoMs,
    },
    /// Its session has a connection here.
    Attached {
        grace: MonoMs,
    },
    Lost {
        grace: MonoMs,
        since: MonoMs,
    },
    /// Another node answers for it.
    Elsewhere,
    Checked {
        span: MonoMs,
        timeout: MonoMs,
    },
    /// Nothing ends it.
    Endless,
}

/// When a lease of this length is suspect.
pub(super) fn two_thirds(span: MonoMs) -> MonoMs {
    (span * 2).div_ceil(3)
}

/// How long a check takes to find out anew.
fn check_span(check: &Check) -> MonoMs {
    MonoMs::from(check.failures) * MonoMs::from(check.interval_ms) + 2 * MonoMs::from(check.timeout_ms)
}

impl LeaseTable {
    pub(super) fn term(&self, lease: LeaseId) -> Term {
        let instance = self.slots.get(lease);
        match instance.lease() {
            Lease::Ttl { ttl_ms, .. } => {
                let renewed = instance.cell.renewed_ms();
                let base = renewed.max(self.ready_at.unwrap_or(0));
                Term::Ttl { ttl: MonoMs::from(*ttl_ms), renewed, base }
            }
            Lease::Stream { .. } => {
                let Some(session) = self.sessions.get(self.slots.list(lease)) else { return Term::Endless };
                match session.held {
                    Held::Here => Term::Attached { grace: session.grace() },
                    Held::Lost { since } => Term::Lost { grace: session.grace(), since },
                    Held::Elsewhere => Term::Elsewhere,
                }
            }
            Lease::Checked { check, .. } => {
                Term::Checked { span: check_span(check), timeout: MonoMs::from(check.timeout_ms) }
            }
            Lease::Permanent => Term::Endless,
        }
    }

    /// When the lease of a suspect ends (not yet unhealthy) or it is removed (unhealthy); `None`: never by itself.
    pub(super) fn due_at(&self, lease: LeaseId, trouble: &Trouble) -> Option<MonoMs> {
        match trouble.stage {
            Stage::Unhealthy { since, .. } => {
                let (span, floor) = (self.term(lease).span()?, trouble.floor_ms);
                let remove_after = self.slots.get(lease).lease().remove_after()?.as_millis() as MonoMs;
                let after_floor = if floor == 0 { 0 } else { floor + span };
                Some((since + remove_after).max(after_floor))
            }
            Stage::Wanting | Stage::Standing { .. } => self.ends_at(lease, trouble),
        }
    }

    /// When a lease's time is over; `None`: never.
    pub(super) fn ends_at(&self, lease: LeaseId, trouble: &Trouble) -> Option<MonoMs> {
        let term = self.term(lease);
        term.span().map(|span| term.ends_at(span, trouble.floor_ms))
    }
}

impl Term {
    /// How long it lasts unheard.
    pub(super) fn span(self) -> Option<MonoMs> {
        match self {
            Self::Ttl { ttl, .. } => Some(ttl),
            Self::Attached { grace } | Self::Lost { grace, .. } => Some(grace),
            Self::Checked { span, .. } => Some(span),
            Self::Elsewhere | Self::Endless => None,
        }
    }

    /// From when it counts.
    fn starts(self, floor: MonoMs) -> MonoMs {
        match self {
            Self::Ttl { base, .. } => base.max(floor),
            Self::Lost { since, .. } => since.max(floor),
            _ => floor,
        }
    }

    /// A check's verdict needs no more time, unless it must be found anew.
    fn ends_at(self, span: MonoMs, floor: MonoMs) -> MonoMs {
        match self {
            Self::Checked { .. } if floor == 0 => 0,
            _ => self.starts(floor) + span,
        }
    }

    /// When the owner suspects it.
    pub(super) fn suspect_at(self, floor: MonoMs) -> MonoMs {
        match self {
            Self::Ttl { ttl: span, .. } | Self::Lost { grace: span, .. } => self.starts(floor) + two_thirds(span),
            _ => 0,
        }
    }

    /// How old it is, in the words of a suspicion.
    pub(super) fn age(self, floor: MonoMs, now: MonoMs) -> MonoMs {
        match self {
            Self::Ttl { .. } | Self::Lost { .. } => now.saturating_sub(self.starts(floor)),
            _ => 0,
        }
    }
}
