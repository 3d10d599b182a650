use std::ffi::{OsStr, OsString};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::client;
use crate::config::Flags;
use crate::decisions;

/// Thuban: a service registry
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

What a client command asks, and how it prints the answer, may stand before its name or behind it: --server URL,
--namespace NAME, --token-file FILE, --ca-file FILE, --output table|json; or THUBAN_CLIENT_SERVER and so on.

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
    /// Show what a node has decided, and on what each decision rests, from its decision journal
    Journal(decisions::Journal),
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

impl Cli {
    /// What the command line says; what is wrong with it ends the process.
    pub(crate) fn read() -> Self {
        let given = std::env::args_os().collect();
        rearranged(given).and_then(Self::try_parse_from).unwrap_or_else(|error| error.exit())
    }
}

/// Puts what client commands take behind their name, when it stands before it. Not as global arguments of clap: `serve`
/// has a `--token-file` of its own, which is another one.
pub(crate) fn rearranged(given: Vec<OsString>) -> Result<Vec<OsString>, clap::Error> {
    let known = client::flags();
    let mut at = 1;
    while let Some(width) = given.get(at).and_then(|word| width(&known, word)) {
        at += width;
    }
    let (Some((program, early)), Some((command, rest))) =
        (given.get(..at).and_then(<[_]>::split_first), given.get(at..).and_then(<[_]>::split_first))
    else {
        if at == 1 {
            return Ok(given);
        }
        let why = "a command must follow, with a value for each option before it; `thuban --help` lists them";
        return Err(Cli::command().error(ErrorKind::MissingSubcommand, why));
    };
    // `--help`, or what nobody knows: that is about the program as a whole.
    let early = if command.as_encoded_bytes().starts_with(b"-") { &[] } else { early };
    let words = [std::slice::from_ref(program), std::slice::from_ref(command), early, rest];
    Ok(words.concat())
}

/// How many words such an option takes; `None`: it is none.
fn width(known: &clap::Command, word: &OsStr) -> Option<usize> {
    let word = word.to_str()?;
    let is_known = |is: &dyn Fn(&clap::Arg) -> bool| known.get_arguments().any(is);
    if let Some(long) = word.strip_prefix("--") {
        let (name, has_value) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
        return is_known(&|arg| arg.get_long() == Some(name)).then_some(if has_value { 1 } else { 2 });
    }
    let short = word.strip_prefix('-')?.chars().next()?;
    is_known(&|arg| arg.get_short() == Some(short)).then_some(if word.len() > 2 { 1 } else { 2 })
}
