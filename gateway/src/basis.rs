//! What the answer to a write rests on, the same for every door.

use compute::Registry;
use compute::command::{Outcome, Reached};
use compute::model::Revision;

/// The revision behind which what was written is seen.
pub(crate) fn revision(registry: &Registry, outcome: &Outcome) -> Revision {
    if outcome.revision == Revision::ZERO { registry.progress().applied.last() } else { outcome.revision }
}

/// How many changes of this node are not in the log yet, if one of these writes is among them.
pub(crate) fn unlogged<'a>(registry: &Registry, outcomes: impl IntoIterator<Item = &'a Outcome>) -> usize {
    let waits = outcomes.into_iter().any(|outcome| outcome.reached < Reached::Log);
    // It is told a moment later than the write was answered.
    if waits { registry.status().counted.overlay.max(1) } else { 0 }
}
