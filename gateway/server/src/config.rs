//! The configuration: a flag goes before a `THUBAN_*` variable, that before the file, that before the default.
//!
//! It is read and checked as a whole before anything starts, and everything that is wrong is told at once: which key,
//! which value, where it came from, what is allowed. Unknown keys and variables are wrong too: a typing error must not
//! silently mean the default. Only the variables that Kubernetes makes of a Service named `thuban` are passed over.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use cache_sync::journal;
use compute::port::Clock;
use compute::port::clock::SystemClock;
use gateway::admission::Admission;
use ipnet::IpNet;

mod check;
mod durable;
mod file;
mod flags;
mod keys;
mod print;
mod settings;
#[cfg(test)]
mod tests;
mod wrong;

pub(crate) use durable::{Cluster, Log, Store};
pub(crate) use flags::Flags;
pub(crate) use settings::{Environment, Settings};
use wrong::Wrong;
pub(crate) use wrong::Wrongs;

/// What is in force, checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) store: Store,
    pub(crate) log: Log,
    /// `None`: this node has its log to itself.
    pub(crate) cluster: Option<Cluster>,
    /// The change log is lost, and a new one takes its place.
    pub(crate) adopt_store: bool,
    /// While the change log is away at the start, reads are answered from what has landed.
    pub(crate) serve_stale: bool,
    /// Where decisions are written down, if anywhere.
    pub(crate) decision_journal: Option<journal::Config>,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) hosts: gateway::http::Hosts,
    pub(crate) logging: Logging,
    pub(crate) check_allow: Vec<IpNet>,
    pub(crate) tls: gateway::listen::Tls,
    pub(crate) listen: gateway::listen::Config,
    pub(crate) admission: gateway::admission::Config,
    pub(crate) node: compute::node::Config,
}

#[derive(Clone, Debug)]
pub(crate) struct Logging {
    pub(crate) json: bool,
    /// As `tracing` has its directives.
    pub(crate) filter: String,
}

/// The values as they were said, and what they come to.
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) config: Result<Config, Wrongs>,
}

/// Reads every source and checks all values.
pub(crate) fn load(flags: &Flags, environment: &Environment) -> Loaded {
    let mut wrongs = Vec::new();
    let settings = Settings::gather(flags, environment, &mut wrongs);
    let config = check::check(&settings, environment, &mut wrongs);
    let config = match config {
        Some(config) if wrongs.is_empty() => Ok(config),
        _ => Err(Wrongs(wrongs)),
    };
    Loaded { settings, config }
}

/// Looks into the files that the configuration names, as those who use them will.
pub(crate) async fn verify(config: &Config, clock: &Arc<dyn Clock>) -> Result<(), Wrongs> {
    let mut wrongs = Vec::new();
    if let Err(error) = Admission::open(config.admission.clone(), Arc::clone(clock)).await {
        wrongs.push(Wrong::Rule(error.to_string()));
    }
    if let Err(error) = config.tls.check(gateway::http::Door::NAMED).await {
        wrongs.push(Wrong::Rule(error.to_string()));
    }
    if wrongs.is_empty() { Ok(()) } else { Err(Wrongs(wrongs)) }
}

/// `thuban config print`.
pub(crate) fn print(flags: &Flags) -> ExitCode {
    let environment = Environment::of_process();
    let Loaded { settings, config } = load(flags, &environment);
    // Whoever reads this may have read enough.
    let _ = std::io::stdout().write_all(settings.print(&environment, config.as_ref().ok()).as_bytes());
    verdict(config)
}

/// `thuban config check`.
pub(crate) fn check(flags: &Flags) -> ExitCode {
    verdict(load(flags, &Environment::of_process()).config)
}

fn verdict(config: Result<Config, Wrongs>) -> ExitCode {
    let verified = config.and_then(|config| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Wrongs(vec![Wrong::Rule(format!("no runtime: {error}"))]))?;
        let clock: Arc<dyn Clock> = SystemClock::new();
        runtime.block_on(verify(&config, &clock))
    });
    match verified {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrongs) => {
            crate::logging::complain(format_args!("error: {wrongs}"));
            ExitCode::from(2)
        }
    }
}
