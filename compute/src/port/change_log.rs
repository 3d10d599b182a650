//! The one ordered stream of frames.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{Entry, Frame, LogGeneration, LogIdentity, Position};

/// Which log, and which life of it.
pub type Life = (LogIdentity, LogGeneration);

/// What there is where a log is kept, of whichever life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Offset up to which frames were forgotten; 0: none.
    pub trimmed: u64,
    /// Offset of the last frame or other record; equal to `trimmed` when there is none.
    pub last: u64,
    /// Of whom the first and the last frame are; `None`: there is none, and what there is was written by no node.
    pub lives: Option<(Life, Life)>,
}

/// What the log holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    pub identity: LogIdentity,
    /// The frames up to here were trimmed; [`Position::ZERO`]: none.
    pub trimmed: Position,
    /// The last frame; equal to `trimmed` when there is none.
    pub last: Position,
}

impl Bounds {
    /// Whether there is something to read behind `after`, or the error that a read of it gets. A position that this
    /// log does not reach is another log's, or this one lost its end: waiting for it would hide that.
    pub fn has_behind(&self, after: Position) -> Result<bool, LogReadError> {
        let lost = |why: String| LogReadError::Unusable(format!("asked for what is behind {after}, but {why}"));
        if after.offset() == 0 {
            return match self.trimmed {
                Position::ZERO => Ok(self.last != Position::ZERO),
                trimmed => Err(LogReadError::Trimmed { trimmed }),
            };
        }
        if self.last == Position::ZERO {
            return Err(lost("the log is empty".into()));
        }
        if after.generation() != self.last.generation() {
            return Err(lost(format!("the log is of generation {}", self.last.generation())));
        }
        if after < self.trimmed {
            return Err(LogReadError::Trimmed { trimmed: self.trimmed });
        }
        if after > self.last { Err(lost(format!("the log ends at {}", self.last))) } else { Ok(after < self.last) }
    }
}

#[async_trait]
pub trait ChangeLog: Send + Sync + 'static {
    /// Identity, start and end, as observed now. A log that was never written has the identity it will be written with.
    async fn bounds(&self) -> Result<Bounds, LogReadError>;

    /// Appends one frame, durably, behind all others. Appends of one caller keep their order only when each waits for
    /// the one before. Dropping the future does not take the append back. A frame of another identity is refused, and
    /// one beyond [`FRAME_CHANGES_MAX`](crate::model::limits::FRAME_CHANGES_MAX) or, encoded,
    /// [`FRAME_BYTES_MAX`](crate::model::limits::FRAME_BYTES_MAX); one whose weight is within the latter is not.
    async fn append(&self, frame: Arc<Frame>) -> Result<Position, AppendError>;

    /// The frames behind `after`, in order, without a gap, at least one and at most `max`: waits until there is one.
    /// Never shows a frame that could still be lost. A position that the log does not reach is
    /// [`Unusable`](LogReadError::Unusable), see [`Bounds::has_behind`]. Cancel-safe.
    async fn read(&self, after: Position, max: usize) -> Result<Vec<Entry>, LogReadError>;

    /// Forgets the frames up to `upto`; the last frame is always kept.
    async fn trim(&self, upto: Position) -> Result<(), AppendError>;

    /// What is there now, whichever log and life this handle follows; where there is nothing at all, it is made, empty.
    /// Only of a log that several nodes share; one that has a process to itself is [`Unusable`](LogReadError::Unusable).
    async fn look(&self) -> Result<Found, LogReadError> {
        Err(LogReadError::Unusable("it has one life only".into()))
    }

    /// From now on this handle is of this life, and whatever it has shown before counts no more. A frame of an earlier
    /// generation of the same log, which a node has written that did not know of a later one, is shown in its place as a
    /// frame without changes, and so is what no node has written: every reader reads it alike. A frame of a later one makes the handle
    /// [`Unusable`](LogReadError::Unusable) until it follows that. As [`look`](Self::look), only of a shared log.
    async fn follow(&self, life: Life) -> Result<(), LogReadError> {
        let _ = life;
        Err(LogReadError::Unusable("it has one life only".into()))
    }
}

/// What a frame is to the readers of a later life of its log: its place is taken, and it says nothing.
pub fn outlived(frame: &Frame) -> Frame {
    Frame { identity: frame.identity, writer: frame.writer, time_ms: 0, changes: Vec::new() }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written, and the log is as it was. Full disk, frame too large.
    #[error("the log refused: {0}")]
    Refused(String),
    /// It may have been written, or still be: append the same frame's changes again, under the same origins.
    #[error("unknown whether the log took it: {0}")]
    Unknown(String),
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum LogReadError {
    /// The log does not answer; it may later.
    #[error("the log is away: {0}")]
    Away(String),
    /// `after` is before what is kept: load rows first.
    #[error("trimmed up to {trimmed}")]
    Trimmed { trimmed: Position },
    /// It is another log than before, or what is there can't be read: no answer from it may be used.
    #[error("the log is unusable: {0}")]
    Unusable(String),
}
