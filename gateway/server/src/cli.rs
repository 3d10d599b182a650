use clap::{Parser, Subcommand};

use crate::client;
use crate::config::Flags;

/// Thuban: a service registry and configuration center
#[derive(Parser)]
#[command(
    name = "thuban",
    version,
    arg_required_else_help = true,
    after_help = "Start here:
  thuban serve                                      a node on 127.0.0.1:7800, files in ~/.local/share/thuban
  thuban register orders --host 10.0.0.7 --port 8080 --keep
  thuban instances orders
  thuban watch orders

Exit codes: 0 done, asked to stop and drained; 1 refused, failed; 2 the command line or the configuration is wrong;
3 a port can't be had; 4 the store or the log refused for good; 5 the node can't be reached."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a node
    #[command(
        after_help = "A flag goes before its variable, that before the file, that before the default; `thuban config print` shows
what is in force and why. Standard output holds one line, `ready http=ADDR grpc=ADDR`, once the node answers.

Examples:
  thuban serve
  thuban serve --data-dir /var/lib/thuban --http 127.0.0.1:0 --grpc 127.0.0.1:0
  thuban serve --http 0.0.0.0:7800 --grpc 0.0.0.0:7801 --token-file tokens --tls-cert cert.pem --tls-key key.pem"
    )]
    Serve(Box<Flags>),
    /// Show or check the configuration, without starting anything
    Config {
        #[command(subcommand)]
        what: Configuration,
    },
    /// Print the version
    Version,
    #[command(flatten)]
    Client(Box<client::Command>),
}

#[derive(Subcommand)]
pub(crate) enum Configuration {
    /// Every key with its value and where that comes from; takes the flags of serve
    Print(Box<Flags>),
    /// Say what is wrong with the configuration, if anything is; takes the flags of serve
    Check(Box<Flags>),
}
