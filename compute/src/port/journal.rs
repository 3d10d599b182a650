//! A record of every decision, for whoever wants to check them, or to know why something was done: each change with
//! what it rested on, and the verdict.

use crate::model::{Entry, LogIdentity, Position};
use crate::state::Verdict;

/// Its calls come from the applier, or on its way into being: each must be quick and wait for nothing.
pub trait Journal: Send + Sync + 'static {
    /// This node's state is that of the rows as of `at`; what is recorded from here on follows that.
    fn begun(&self, log: LogIdentity, at: Position);

    /// A frame was applied, as it came or, after a restart, again; one verdict for each of its changes, in order.
    fn record(&self, entry: &Entry, verdicts: &[Verdict]);

    /// The log was lost, and this node has begun the next life of it.
    fn raised(&self, raised: Raised);
}

/// The next life of a log that was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raised {
    pub log: LogIdentity,
    /// What its state is that of; what was decided behind it in the life before is void.
    pub from: Position,
    /// Where it begins.
    pub next: Position,
    /// All services are shown as of `next`, because what somebody was shown of them may be lost.
    pub is_lifted: bool,
}

impl Raised {
    /// Whether what was decided there is void.
    pub fn voids(&self, at: Position) -> bool {
        self.from < at && at < self.next
    }
}

/// A frame, and what apply said of each of its changes.
#[derive(Clone, Debug)]
pub struct Decided {
    pub entry: Entry,
    pub verdicts: Vec<Verdict>,
}

/// What a journal holds, in the order in which it came.
#[derive(Clone, Debug)]
pub enum Record {
    Begun {
        log: LogIdentity,
        at: Position,
    },
    Decided(Decided),
    Raised(Raised),
    /// So many frames were decided and are not here: they came faster than they could be written, or could not be.
    Lost {
        frames: u64,
    },
}
