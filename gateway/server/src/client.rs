//! The client commands: what a person or a script asks of a node, over its HTTP API.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

mod failure;
mod instances;
mod json;
mod names;
mod node;
mod nodes;
mod operate;
mod output;
mod register;
mod secret;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;
mod watch;

use failure::Failure;
use node::Node;
use output::Output;

/// The variables that client commands read; another one of this kind is a typing error.
const VARIABLES: &[&str] = &[
    "THUBAN_CLIENT_SERVER",
    "THUBAN_CLIENT_NAMESPACE",
    "THUBAN_CLIENT_TOKEN",
    "THUBAN_CLIENT_TOKEN_FILE",
    "THUBAN_CLIENT_TOKEN_COMMAND",
    "THUBAN_CLIENT_CA_FILE",
    "THUBAN_CLIENT_OUTPUT",
];

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Register an instance, or replace what it registered before
    Register(Box<register::Register>),
    /// Remove an instance
    Deregister(instances::Deregister),
    /// List the services of a namespace, or delete one
    Services(names::Services),
    /// Discover the instances of a service, or look at one
    Instances(instances::Instances),
    /// Follow a service, or all of a namespace: a line for each event
    Watch(watch::Watch),
    /// List, make, change or delete namespaces
    Namespaces(names::Namespaces),
    /// Take an instance out of what callers use, whatever its health, or put it back
    Isolate(operate::Isolate),
    /// Set the weight of an instance over its provider's head, or give it back
    Weight(operate::Weight),
    /// List the nodes
    Nodes(nodes::Nodes),
    /// Ask a node to finish what it has and to take nothing new
    Drain(nodes::Drain),
    /// Write the whole registry to standard output, a JSON object a line
    Export(transfer::Export),
    /// Read what `export` wrote and register it
    Import(transfer::Import),
    /// What a node says of itself
    Status(nodes::Status),
}

/// What every client command takes.
#[derive(Args, Clone)]
#[command(next_help_heading = "Node and output")]
pub(crate) struct Reach {
    /// The node to ask
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "THUBAN_CLIENT_SERVER",
        default_value = "http://127.0.0.1:7800"
    )]
    server: String,
    /// File with the token to show; else the variable THUBAN_CLIENT_TOKEN, or what THUBAN_CLIENT_TOKEN_COMMAND prints
    #[arg(long, global = true, value_name = "FILE", env = "THUBAN_CLIENT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust with https; without it the system's
    #[arg(long, global = true, value_name = "FILE", env = "THUBAN_CLIENT_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// How to print what comes back
    #[arg(long, global = true, value_name = "FORMAT", env = "THUBAN_CLIENT_OUTPUT", default_value = "table")]
    output: Shape,
}

#[derive(Args, Clone)]
#[command(next_help_heading = "Node and output")]
pub(crate) struct Within {
    /// The namespace
    #[arg(short, long, global = true, value_name = "NAME", env = "THUBAN_CLIENT_NAMESPACE", default_value = "default")]
    namespace: String,
    #[command(flatten)]
    reach: Reach,
}

/// The options that may stand before the name of a command.
pub(crate) fn flags() -> clap::Command {
    Within::augment_args(clap::Command::new("thuban"))
}

/// How far a write must have come before it is answered.
#[derive(Args, Clone)]
pub(crate) struct Acknowledged {
    /// How far the write must have come before it counts as done
    #[arg(long, value_name = "LEVEL", default_value = "log")]
    ack: Level,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
enum Level {
    Memory,
    Log,
    Store,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Log => "log",
            Self::Store => "store",
        }
    }
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Shape {
    Table,
    Json,
}

/// Runs one command to its end.
pub(crate) fn run(command: Command) -> ExitCode {
    let ended = check_variables().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Usage(format!("no runtime: {error}")))?;
        runtime.block_on(dispatch(command))
    });
    match ended {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Register(register) => register.run().await,
        Command::Deregister(deregister) => deregister.run().await,
        Command::Services(services) => services.run().await,
        Command::Instances(instances) => instances.run().await,
        Command::Watch(watch) => watch.run().await,
        Command::Namespaces(namespaces) => namespaces.run().await,
        Command::Isolate(isolate) => isolate.run().await,
        Command::Weight(weight) => weight.run().await,
        Command::Nodes(nodes) => nodes.run().await,
        Command::Drain(drain) => drain.run().await,
        Command::Export(export) => export.run().await,
        Command::Import(import) => import.run().await,
        Command::Status(status) => status.run().await,
    }
}

fn check_variables() -> Result<(), Failure> {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("THUBAN_CLIENT_") && !VARIABLES.contains(&name.as_ref()) {
            let known = VARIABLES.join(", ");
            return Err(Failure::Usage(format!("unknown variable {name}; known are {known}")));
        }
    }
    Ok(())
}

impl Reach {
    fn node(&self) -> Result<Node, Failure> {
        let target = target::Target::parse(&self.server)?;
        let token = secret::token(self.token_file.as_deref())?;
        let tls = target.is_encrypted.then(|| tls::connector(self.ca_file.as_deref())).transpose()?;
        Ok(Node::new(target, token, tls))
    }

    fn output(&self) -> Output {
        Output::new(self.output)
    }
}
