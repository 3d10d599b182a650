//! Where presence lands: durable rows, behind the log.

use async_trait::async_trait;

use crate::model::{LogIdentity, LogState, Position, Rows};

/// The landing role in the store: who holds the highest epoch may land.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Epoch(pub u64);

/// Everything that the store holds, as of one watermark.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// `None`: an empty store, which no log has been bound to yet.
    pub log: Option<LogState>,
    pub rows: Rows,
}

#[async_trait]
pub trait PresenceStore: Send + Sync + 'static {
    /// All rows and the watermark, in one consistent snapshot.
    async fn load(&self) -> Result<Loaded, ReadError>;

    /// Takes the landing role: raises the epoch, so that every earlier holder is fenced. In an empty store it also
    /// binds the log: `identity` and a watermark of [`Position::ZERO`] are written. A store that is bound to another
    /// log refuses ([`LandError::Rejected`]).
    async fn lead(&self, identity: LogIdentity) -> Result<Epoch, LandError>;

    /// One transaction: verifies that `epoch` is still the highest and that the watermark is `from`, writes `rows`,
    /// moves the watermark (and what goes with it) to `upto`. All or nothing, also when the future is dropped.
    ///
    /// A row that is older than the one there (by its revision; an origin by `last_seen`, a member by `seen`) changes nothing, one of the
    /// same age overwrites. Refused ([`LandError::Rejected`]): a key twice in `rows`, an `upto` of another log or
    /// behind `from`.
    async fn land(&self, epoch: Epoch, rows: Rows, from: Position, upto: LogState) -> Result<(), LandError>;

    /// One transaction: the whole state becomes `rows` at `upto`, whatever was there, also of another log, to which
    /// the store is then bound; `epoch` as in `land`.
    async fn replace(&self, epoch: Epoch, rows: Rows, upto: LogState) -> Result<(), LandError>;

    /// Epoch and watermark as they are now: what a lander rereads after an unknown outcome.
    async fn mark(&self) -> Result<Option<(Epoch, LogState)>, ReadError>;
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store does not answer; it may later.
    #[error("the store is away: {0}")]
    Away(String),
    /// What is there can't be used, and waiting does not help: corrupt, newer schema, refused credentials.
    #[error("the store is unusable: {0}")]
    Unusable(String),
}

#[derive(Debug, thiserror::Error)]
pub enum LandError {
    /// Another node lands now, or has landed: nothing was written.
    #[error("fenced: the store is at epoch {} and watermark {watermark}", epoch.0)]
    Fenced { epoch: Epoch, watermark: Position },
    /// The store refused; nothing was written. Full disk, broken constraint, another log.
    #[error("the store refused: {0}")]
    Rejected(String),
    /// It may have happened: reread the mark.
    #[error("unknown whether the store committed: {0}")]
    Unknown(String),
}
