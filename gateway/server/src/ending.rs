use std::process::ExitCode;

use cache_sync::journal;
use gateway::admission::TokenFileError;
use gateway::listen::BindError;

use crate::config::Wrongs;
use crate::home::HomeError;

/// Why a node ended before it was asked to, or in another way than it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    #[error("{0}")]
    Configuration(#[from] Wrongs),
    #[error("{0}")]
    Tokens(#[from] TokenFileError),
    #[error("{0}")]
    Home(#[from] HomeError),
    #[error("{0}; --decision-journal names another directory, or is left out")]
    Journal(#[from] journal::OpenError),
    #[error("{0}")]
    Door(#[from] BindError),
    /// The other nodes do not believe this one.
    #[error(
        "no member of this log believes this node ({0}); --cluster-secret-file is the same for all of them, and --log and --store are another pair for another cluster"
    )]
    Stranger(String),
    /// The store or the log refused for good.
    #[error("{0}")]
    Durable(String),
    /// Asked twice to stop: what was under way is cut off.
    #[error("asked again to stop, so it did not drain")]
    Cut,
    #[error("{0}")]
    Machine(String),
}

impl Ending {
    /// As the contract has them: 2 configuration, 3 a port, 4 store or log.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Cut | Self::Machine(_) => 1,
            Self::Configuration(_) | Self::Tokens(_) | Self::Stranger(_) => 2,
            Self::Home(HomeError::Unmade { .. } | HomeError::Unopened { .. }) => 2,
            Self::Journal(journal::OpenError::Unmade { .. }) => 2,
            Self::Journal(journal::OpenError::InUse { .. }) => 4,
            Self::Door(BindError::Certificate { .. }) => 2,
            Self::Door(error @ BindError::Address { .. }) => {
                // An address that is not this machine's, or a port that is not this user's, waits for no other process.
                if error.is_in_use() { 3 } else { 2 }
            }
            Self::Home(HomeError::Held { .. } | HomeError::Unlocked { .. }) | Self::Durable(_) => 4,
        })
    }
}
