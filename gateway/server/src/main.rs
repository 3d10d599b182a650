//! The process: `thuban serve` and the client commands.

mod chance;
mod cli;
mod client;
mod config;
mod doors;
mod durable;
mod ending;
mod home;
mod logging;
mod shutdown;
mod vitals;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, Configuration};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(flags) => wire::serve(&flags),
        Command::Config { what: Configuration::Print(flags) } => config::print(&flags),
        Command::Config { what: Configuration::Check(flags) } => config::check(&flags),
        Command::Version => {
            println!("thuban {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Command::Client(command) => client::run(*command),
    }
}
