//! What is held of something, in all and for one connection: bytes, names.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge};

use super::lanes::RETRY_AFTER;
use crate::error::{Code, Problem};

/// What one connection holds of each budget.
#[derive(Debug, Default)]
pub struct Shares {
    /// Bodies that have not come whole.
    pub(super) bodies: AtomicUsize,
    unsent_bytes: AtomicUsize,
    names: AtomicUsize,
}

/// Of which share something is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Only counted in all.
    Unshared,
    UnsentBytes,
    Names,
}

impl Shares {
    fn of(&self, kind: Kind) -> Option<&AtomicUsize> {
        match kind {
            Kind::Unshared => None,
            Kind::UnsentBytes => Some(&self.unsent_bytes),
            Kind::Names => Some(&self.names),
        }
    }
}

/// So much of something for the whole process, and so much of it for one connection. Clones are one.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    kind: Kind,
    max: usize,
    share_max: usize,
    taken: AtomicUsize,
    meters: OnceLock<Meters>,
}

#[derive(Debug)]
struct Meters {
    held: Gauge,
    shed: Counter,
}

/// Why there is no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spent {
    Share(usize),
    All(usize),
}

impl Budget {
    /// For the bytes of answers that wait for their readers, in all and of one connection.
    pub fn of_unsent_bytes(max: usize, share_max: usize) -> Self {
        Self::new("bytes of answers", Kind::UnsentBytes, max, share_max)
    }

    pub(crate) fn new(name: &'static str, kind: Kind, max: usize, share_max: usize) -> Self {
        let (taken, meters) = (AtomicUsize::new(0), OnceLock::new());
        Self(Arc::new(Inner { name, kind, max, share_max, taken, meters }))
    }

    /// Makes its metrics known; the recorder must be in place.
    pub(crate) fn show(&self) {
        self.meters();
    }

    fn meters(&self) -> &Meters {
        let name = self.0.name;
        self.0.meters.get_or_init(|| {
            metrics::gauge!("thuban_held_limit", "limit" => name).set(self.0.max as f64);
            let held = metrics::gauge!("thuban_held", "limit" => name);
            Meters { held, shed: metrics::counter!("thuban_shed_total", "limit" => name) }
        })
    }

    /// Takes `amount` until what this gives is dropped.
    pub(crate) fn take(&self, shares: Option<&Arc<Shares>>, amount: usize) -> Result<Held, Spent> {
        self.add(shares, amount)?;
        Ok(Held { budget: self.clone(), shares: shares.cloned(), amount })
    }

    fn add(&self, shares: Option<&Arc<Shares>>, amount: usize) -> Result<(), Spent> {
        let Inner { max, share_max, taken, .. } = &*self.0;
        let share = shares.and_then(|shares| shares.of(self.0.kind));
        let refused = |spent| {
            self.meters().shed.increment(1);
            Err(spent)
        };
        if let Some(share) = share {
            let before = share.fetch_add(amount, Relaxed);
            // What is larger than a share by itself comes alone.
            if before > 0 && before.saturating_add(amount) > *share_max {
                share.fetch_sub(amount, Relaxed);
                return refused(Spent::Share(*share_max));
            }
        }
        if taken.fetch_add(amount, Relaxed).saturating_add(amount) > *max {
            taken.fetch_sub(amount, Relaxed);
            if let Some(share) = share {
                share.fetch_sub(amount, Relaxed);
            }
            return refused(Spent::All(*max));
        }
        self.meters().held.increment(amount as f64);
        Ok(())
    }

    fn give_back(&self, shares: Option<&Arc<Shares>>, amount: usize) {
        self.0.taken.fetch_sub(amount, Relaxed);
        if let Some(share) = shares.and_then(|shares| shares.of(self.0.kind)) {
            share.fetch_sub(amount, Relaxed);
        }
        self.meters().held.decrement(amount as f64);
    }

    /// Makes of what is `held` so much; where there is no more, it stays as it was.
    pub(super) fn change(&self, shares: Option<&Arc<Shares>>, held: &mut usize, amount: usize) -> Result<(), Spent> {
        if amount > *held {
            self.add(shares, amount - *held)?;
        } else if amount < *held {
            self.give_back(shares, *held - amount);
        }
        *held = amount;
        Ok(())
    }

    /// What is taken of it.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Relaxed)
    }
}

/// What is taken of a budget; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Budget,
    shares: Option<Arc<Shares>>,
    amount: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.shares.as_ref(), self.amount);
    }
}

impl Spent {
    /// As the caller is told, who should come back later.
    pub(crate) fn overloaded(self, what: impl Display) -> Problem {
        let detail = match self {
            Self::Share(max) => format!("{what} of one connection are at their limit of {max}; try again"),
            Self::All(max) => format!("{what} of this node are at their limit of {max}; try again"),
        };
        Problem::new(Code::Overloaded, detail).retry_after(RETRY_AFTER)
    }
}
