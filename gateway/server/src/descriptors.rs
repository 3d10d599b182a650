//! How many files and connections the process may have open: as many as it can get, and no more connections than fit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

#[cfg(test)]
mod tests;

/// Listeners that share what there is.
const LISTENERS: u64 = 2;
/// For files, logs, the runtime, and those who are told that a listener is full.
const RESERVED: u64 = 512;
/// With as many it is no alarm that it could have been more.
const CONNECTIONS_ENOUGH: u64 = 4_096;
const LOWERED: &str =
    "the limit of open files is too low for connections_max, which is lowered; raise it (ulimit -n, LimitNOFILE)";
/// Fewer connections than this and the node is of no use.
const CONNECTIONS_MIN: u64 = 16;

/// Raises the soft limit to the hard one, and lowers the connections of a listener to what fits.
pub(crate) fn fit(config: &mut Config) {
    let probes = config.node.probes_max as u64;
    // Without a limit everything fits.
    let Some(limit) = raise() else { return };
    let asked = config.listen.connections_max as u64;
    let fitting = connections(limit, probes);
    if fitting >= asked {
        return;
    }
    let needed = LISTENERS * asked + probes + RESERVED;
    if fitting >= CONNECTIONS_ENOUGH {
        tracing::info!(open_files_limit = limit, needed, connections_max = fitting, LOWERED);
    } else {
        tracing::warn!(open_files_limit = limit, needed, connections_max = fitting, LOWERED);
    }
    config.listen.connections_max = usize::try_from(fitting).unwrap_or(usize::MAX);
}

/// What each listener may take of `limit` open files.
fn connections(limit: u64, probes: u64) -> u64 {
    (limit.saturating_sub(probes + RESERVED) / LISTENERS).max(CONNECTIONS_MIN)
}

/// The limit that is in force then; `None`: there is none.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files can't be raised");
            current
        }
    }
}
