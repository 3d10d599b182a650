//! The configuration: a flag goes before a `THUBAN_*` variable, that before the file, that before the default.
//!
//! It is read and checked as a whole before anything starts, and everything that is wrong is told at once: which key,
//! which value, where it came from, what is allowed. Unknown keys and variables are wrong too: a typing error must not
//! silently mean the default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use ipnet::IpNet;

mod check;
mod file;
mod flags;
mod keys;
mod print;
mod settings;
#[cfg(test)]
mod tests;
mod wrong;

pub(crate) use flags::Flags;
pub(crate) use settings::{Environment, Settings};
pub(crate) use wrong::Wrongs;

/// What is in force, checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) store: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
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

/// `thuban config print`.
pub(crate) fn print(flags: &Flags) -> ExitCode {
    let environment = Environment::of_process();
    let Loaded { settings, config } = load(flags, &environment);
    print!("{}", settings.print(&environment, config.as_ref().ok()));
    verdict(config)
}

/// `thuban config check`.
pub(crate) fn check(flags: &Flags) -> ExitCode {
    verdict(load(flags, &Environment::of_process()).config)
}

fn verdict(config: Result<Config, Wrongs>) -> ExitCode {
    match config {
        Ok(_) => ExitCode::SUCCESS,
        Err(wrongs) => {
            eprintln!("error: {wrongs}");
            ExitCode::from(2)
        }
    }
}
