use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::keys::{DOORS, KEYS, Key, Kind, Preset, TRANSPORTS};
use super::settings::{Origin, Setting};

/// What the command line says, as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(super) config: Option<PathBuf>,
    pub(super) keys: Vec<(&'static str, Vec<String>)>,
    /// `door.NAME.TRANSPORT` and its value.
    pub(super) doors: Vec<(String, String)>,
}

impl Flags {
    pub(super) fn said(&self, key: &Key) -> Option<Setting> {
        let (_, words) = self.keys.iter().find(|(name, _)| *name == key.name)?;
        Some(Setting { words: words.clone(), origin: Origin::Flag(key.flag()) })
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config").long("config").value_name("FILE").value_parser(clap::value_parser!(PathBuf));
        let config = config.help("TOML file with the keys below, with _ for -; flags and variables go before it");
        let command = command.arg(config.help_heading("Node"));
        let command = KEYS.iter().fold(command, |command, key| command.arg(argument(key)));
        door_names().fold(command, |command, name| command.arg(Arg::new(name.clone()).long(name).hide(true)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let texts = |name: &str| matches.get_many::<String>(name).into_iter().flatten().cloned().collect::<Vec<_>>();
        let keys = KEYS.iter().filter(|key| given(key.name)).map(|key| (key.name, texts(key.name))).collect();
        let doors = door_names().filter_map(|name| Some((name.clone(), texts(&name).pop()?))).collect();
        Ok(Self { config: matches.get_one::<PathBuf>("config").cloned(), keys, doors })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn door_names() -> impl Iterator<Item = String> {
    DOORS.iter().flat_map(|door| TRANSPORTS.iter().map(move |transport| format!("door.{door}.{transport}")))
}

fn argument(key: &Key) -> Arg {
    let preset = match key.preset {
        Preset::Value(value) => value,
        Preset::Found(what) | Preset::Unset(what) => what,
    };
    let argument = Arg::new(key.name)
        .long(key.flag())
        .value_name(key.value_name())
        .help(format!("{} [default: {preset}] [variable: {}]", key.help, key.variable()))
        .help_heading(key.heading);
    match key.kind {
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::List => argument.action(ArgAction::Append).value_delimiter(','),
        _ => argument,
    }
}
