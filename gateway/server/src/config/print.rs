//! `thuban config print`: what is in force, as a file that could be used again, with each value's source beside it.

use std::fmt::Write;

use super::keys::{self, KEYS, Key, Kind, Preset};
use super::settings::{Environment, Settings};
use super::{Config, check};

impl Settings {
    /// A line for each key; secrets are masked.
    pub(crate) fn print(&self, environment: &Environment, config: Option<&Config>) -> String {
        let mut out = String::new();
        for key in KEYS {
            let line = match self.get(key.name) {
                Some(setting) => {
                    let value = literal(key, &setting.words);
                    format!("{} = {value}", key.name) + &format!("  # {}", setting.origin)
                }
                None => self.unset(key, environment, config),
            };
            // A String takes everything.
            let _ = writeln!(out, "{line}");
        }
        out
    }

    fn unset(&self, key: &Key, environment: &Environment, config: Option<&Config>) -> String {
        let found = match key.name {
            "data_dir" => check::default_data_dir(environment).map(|dir| dir.display().to_string()),
            "node_name" => config.map(|config| config.node.name.to_string()),
            "store" => config.map(|config| config.store.to_string()),
            "log" => config.map(|config| config.log.to_string()),
            _ => None,
        };
        match (found, key.preset) {
            (Some(found), _) => format!("{} = {}  # default", key.name, literal(key, &[found])),
            (None, Preset::Found(what) | Preset::Unset(what)) => format!("# {} is not set: {what}", key.name),
            (None, Preset::Value(value)) => format!("{} = {}  # default", key.name, literal(key, &[value.to_owned()])),
        }
    }
}

/// The value as TOML has it.
fn literal(key: &Key, words: &[String]) -> String {
    let text = |word: &String| toml::Value::String(shown(key.name, word)).to_string();
    let word = words.last().cloned().unwrap_or_default();
    let is_bare = match key.kind {
        // TOML knows no zero in front.
        Kind::Count { .. } | Kind::Millis { .. } => word.parse::<u64>().is_ok_and(|number| number.to_string() == word),
        Kind::Switch => word.parse::<bool>().is_ok(),
        _ => false,
    };
    match key.kind {
        Kind::List => format!("[{}]", words.iter().map(text).collect::<Vec<_>>().join(", ")),
        _ if is_bare => word,
        _ => text(&word),
    }
}

/// A value, fit to be seen by whoever reads over a shoulder: without the password of a URL, or of a setting for Kafka.
pub(super) fn shown(name: &str, value: &str) -> String {
    if name == "kafka_setting" {
        return kafka_settings(value);
    }
    let is_url = keys::find(name).is_some_and(|key| key.value_name() == "URL");
    let masked = || {
        let (scheme, rest) = value.split_once("://")?;
        let (authority, path) = rest.split_at(rest.rfind('@')?);
        let (user, _) = authority.split_once(':')?;
        Some(format!("{scheme}://{user}:***{path}"))
    };
    if is_url { masked().unwrap_or_else(|| value.to_owned()) } else { value.to_owned() }
}

/// `NAME=VALUE[,NAME=VALUE]`. What has no name is a part of what stands before it: a password may have commas.
fn kafka_settings(text: &str) -> String {
    let mut is_secret = false;
    let shown = text.split(',').map(|word| match word.split_once('=') {
        Some((name, _)) => {
            is_secret = cache_sync::kafka::is_secret(name);
            if is_secret { format!("{name}=***") } else { word.to_owned() }
        }
        None if is_secret => "***".to_owned(),
        None => word.to_owned(),
    });
    shown.collect::<Vec<_>>().join(",")
}
