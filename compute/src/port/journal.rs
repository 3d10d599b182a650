//! A record of every decision, for whoever wants to check them: each change with what it rested on, and the verdict.

use crate::model::{Entry, Position};
use crate::state::Verdict;

pub trait Journal: Send + Sync + 'static {
    /// A frame was applied, as it came or, after a restart, again; one verdict for each of its changes, in order. Called
    /// by the applier: must be quick.
    fn record(&self, entry: &Entry, verdicts: &[Verdict]);

    /// The log was lost, and this node has begun the next life of it at `next`, from a state of `from`.
    fn raised(&self, from: Position, next: Position);
}
