//! Gathers raw values from flags, variables, the file and the defaults: the first of them that speaks is heard.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::file;
use super::flags::Flags;
use super::keys::{DOORS, KEYS, Key, Kind, Preset, TRANSPORTS, nearest};
use super::wrong::Wrong;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(String),
    Variable(String),
    File { path: PathBuf, line: usize },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value as it was written; a list has any number of words, everything else one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) words: Vec<String>,
    pub(super) origin: Origin,
}

/// The environment's variables that matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(pub BTreeMap<OsString, OsString>);

impl Environment {
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(std::ffi::OsStr::new(name))?.to_str().filter(|text| !text.is_empty())
    }
}

/// What each source says, by key.
pub(super) type Said = BTreeMap<&'static str, Setting>;

/// The value in force of each key that has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(super) said: Said,
}

const PREFIX: &str = "THUBAN_";
/// The client commands' own variables.
const CLIENT_PREFIX: &str = "THUBAN_CLIENT_";
const CONFIG_VARIABLE: &str = "THUBAN_CONFIG";

impl Settings {
    pub(super) fn gather(flags: &Flags, environment: &Environment, wrongs: &mut Vec<Wrong>) -> Self {
        for (door, value) in &flags.doors {
            wrongs.push(no_such_door(door, value, Origin::Flag(door.clone())));
        }
        let variables = variables(environment, wrongs);
        let path = flags.config.clone().or_else(|| environment.text(CONFIG_VARIABLE).map(PathBuf::from));
        let in_file = path.map(|path| file::read(&path, wrongs)).unwrap_or_default();
        let mut said = Said::new();
        for key in KEYS {
            let spoken = flags.said(key).or_else(|| variables.get(key.name).cloned());
            let setting = spoken.or_else(|| in_file.get(key.name).cloned()).or_else(|| preset(key));
            said.extend(setting.map(|setting| (key.name, setting)));
        }
        Self { said }
    }

    /// Every limit that is a number, by its key.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (&'static str, f64)> {
        KEYS.iter().filter(|key| matches!(key.kind, Kind::Count { .. })).filter_map(|key| {
            let limit = self.get(key.name)?.words.last()?.parse().ok()?;
            Some((key.name, limit))
        })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.said.get(name)
    }
}

fn preset(key: &Key) -> Option<Setting> {
    match key.preset {
        Preset::Value(value) => Some(Setting { words: words(key, value), origin: Origin::Default }),
        Preset::Found(_) | Preset::Unset(_) => None,
    }
}

/// A value of one piece, as variables have it: a list has commas between its words.
pub(super) fn words(key: &Key, value: &str) -> Vec<String> {
    if key.is_list() {
        value.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    } else {
        vec![value.to_owned()]
    }
}

fn variables(environment: &Environment, wrongs: &mut Vec<Wrong>) -> Said {
    let mut said = Said::new();
    for (name, value) in &environment.0 {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || name.starts_with(CLIENT_PREFIX) || name == CONFIG_VARIABLE {
            continue;
        }
        if is_of_kubernetes(&name) {
            continue;
        }
        let Some(value) = value.to_str() else {
            wrongs.push(Wrong::Rule(format!("the variable {name} is not UTF-8")));
            continue;
        };
        let origin = Origin::Variable(name.clone().into_owned());
        if let Some(key) = KEYS.iter().find(|key| key.variable() == name) {
            said.insert(key.name, Setting { words: words(key, value), origin });
        } else if let Some(door) = door_of_variable(&name) {
            wrongs.push(no_such_door(&door, value, origin));
        } else {
            let known: Vec<_> = KEYS.iter().map(Key::variable).chain([CONFIG_VARIABLE.to_owned()]).collect();
            let nearest = nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
            wrongs.push(Wrong::Unknown { name: name.into_owned(), origin: "the environment".to_owned(), nearest });
        }
    }
    said
}

/// What Kubernetes gives every container of a namespace that has a Service named `thuban`: where that Service is.
fn is_of_kubernetes(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    if rest == "SERVICE_HOST" || rest == "SERVICE_PORT" || rest == "PORT" {
        return true;
    }
    // The name of a port of the Service.
    if let Some(port) = rest.strip_prefix("SERVICE_PORT_") {
        return !port.is_empty();
    }
    let Some((port, rest)) = rest.strip_prefix("PORT_").and_then(|rest| rest.split_once('_')) else { return false };
    let (protocol, part) = rest.split_once('_').map_or((rest, None), |(protocol, part)| (protocol, Some(part)));
    port.parse::<u16>().is_ok()
        && ["TCP", "UDP", "SCTP"].contains(&protocol)
        && part.is_none_or(|part| ["PROTO", "PORT", "ADDR"].contains(&part))
}

/// `door.nacos.http` of `THUBAN_DOOR_NACOS_HTTP`.
fn door_of_variable(name: &str) -> Option<String> {
    let rest = name.strip_prefix("THUBAN_DOOR_")?.to_lowercase();
    let (door, transport) = rest.split_once('_')?;
    (DOORS.contains(&door) && TRANSPORTS.contains(&transport)).then(|| format!("door.{door}.{transport}"))
}

pub(super) fn no_such_door(door: &str, value: &str, origin: Origin) -> Wrong {
    let allowed = "nothing: this build has no doors but the native ones, which --http and --grpc move".to_owned();
    Wrong::Value { key: door.to_owned(), value: value.to_owned(), origin, allowed }
}
