use crate::model::{LogIdentity, Position, Revision};

/// What apply did with a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Applied(Revision),
    /// Its origin was seen before: an append was repeated. Nothing changed now.
    Duplicate,
    Refused(Refusal),
}

impl Verdict {
    pub fn is_applied(&self) -> bool {
        matches!(self, Self::Applied(_))
    }
}

/// Why a change no longer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Refusal {
    /// What the accepting node saw is not so any more, or not yet.
    Base,
    /// What it saw is so old that removals since may have been forgotten.
    BaseTooOld,
    /// It is another life of the instance.
    Generation,
    /// The suspicion it rests on does not stand.
    Suspicion,
    /// A suspicion stands already, or the instance is so already.
    Already,
    /// The session has moved on, or is gone.
    Epoch,
    /// There is no such thing.
    Absent,
    /// It holds something.
    NotEmpty,
    /// The node that says so is gone.
    Gone,
    /// Not every member has shown that it has read the suspicion: one of them may have heard the suspect.
    Barrier,
}

/// The log is not the one that this state came from. Nothing of it may be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogBroken {
    #[error("a frame at {at} follows {applied}: frames are missing, or come again")]
    Gap { applied: Position, at: Position },
    #[error("the frame at {at} belongs to log {found}, not {expected}")]
    Foreign { at: Position, expected: LogIdentity, found: LogIdentity },
    #[error("the frame at {at} has {changes} changes, more than a revision can count")]
    TooMany { at: Position, changes: usize },
}
