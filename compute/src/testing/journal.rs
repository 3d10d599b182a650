//! The `Journal` port in memory: what a node decided, in the order in which it did.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{Entry, LogIdentity, Position};
use crate::port::Journal;
pub use crate::port::journal::{Decided, Raised, Record};
use crate::state::Verdict;

/// A journal that outlives the node: give it to the next one too, and it shows what both decided.
#[derive(Default)]
pub struct MemoryJournal {
    records: Mutex<Vec<Record>>,
}

/// What is wrong with a journal, whatever the decisions were.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JournalBroken {
    #[error("the frame at {at} follows {after}: frames are missing")]
    Gap { after: Position, at: Position },
    #[error("the frame at {at} was another one when it was decided again")]
    OtherFrame { at: Position },
    #[error("the frame at {at} was decided otherwise when it was decided again")]
    OtherVerdicts { at: Position },
    #[error("the frame at {at} has {changes} changes and {verdicts} verdicts")]
    Uncounted { at: Position, changes: usize, verdicts: usize },
}

impl MemoryJournal {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Everything, as it was written: after a restart frames come again.
    pub fn records(&self) -> Vec<Record> {
        self.lock().clone()
    }

    /// The frames of it.
    pub fn decided(&self) -> Vec<Decided> {
        let decided = |record: &Record| match record {
            Record::Decided(decided) => Some(decided.clone()),
            _ => None,
        };
        self.lock().iter().filter_map(decided).collect()
    }

    /// The lives of the log that the node has begun.
    pub fn raised(&self) -> Vec<Raised> {
        let raised = |record: &Record| match record {
            Record::Raised(raised) => Some(*raised),
            _ => None,
        };
        self.lock().iter().filter_map(raised).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn begun(&self, log: LogIdentity, at: Position) {
        self.lock().push(Record::Begun { log, at });
    }

    fn record(&self, entry: &Entry, verdicts: &[Verdict]) {
        let decided = Decided { entry: entry.clone(), verdicts: verdicts.to_vec() };
        self.lock().push(Record::Decided(decided));
    }

    fn raised(&self, raised: Raised) {
        self.lock().push(Record::Raised(raised));
    }
}

/// Each frame once, from the log's first on without a gap. What was decided again must have been decided the same.
pub fn in_order(decided: &[Decided]) -> Result<Vec<Decided>, JournalBroken> {
    let mut ordered: Vec<Decided> = Vec::new();
    for one in decided {
        let at = one.entry.position;
        let (changes, verdicts) = (one.entry.frame.changes.len(), one.verdicts.len());
        if changes != verdicts {
            return Err(JournalBroken::Uncounted { at, changes, verdicts });
        }
        let before = ordered.iter().rev().find(|before| before.entry.position <= at);
        match before {
            Some(before) if before.entry.position == at => {
                if before.entry.checksum != one.entry.checksum || before.entry.frame != one.entry.frame {
                    return Err(JournalBroken::OtherFrame { at });
                }
                if before.verdicts != one.verdicts {
                    return Err(JournalBroken::OtherVerdicts { at });
                }
            }
            _ => {
                let after = ordered.last().map_or(Position::ZERO, |last| last.entry.position);
                if at.offset() != after.offset() + 1 {
                    return Err(JournalBroken::Gap { after, at });
                }
                ordered.push(one.clone());
            }
        }
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests;
