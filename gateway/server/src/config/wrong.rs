use std::fmt;
use std::path::PathBuf;

use super::settings::Origin;

/// One thing that is wrong with the configuration; all are told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Nobody knows this key or variable.
    Unknown { name: String, origin: String, nearest: Option<String> },
    /// A value that is not allowed.
    Value { key: String, value: String, origin: Origin, allowed: String },
    /// The file can't be used, or a place in it.
    File { path: PathBuf, line: Option<usize>, why: String },
    /// Values that do not go together.
    Rule(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, origin, nearest } => {
                write!(f, "unknown key {name} in {origin}")?;
                nearest.as_ref().map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest}?"))
            }
            Self::Value { key, value, origin, allowed } => {
                write!(f, "{key} = \"{}\" (from: {origin}); allowed: {allowed}", value.escape_debug())
            }
            Self::File { path, line: Some(line), why } => write!(f, "{} line {line}: {why}", path.display()),
            Self::File { path, line: None, why } => write!(f, "{}: {why}", path.display()),
            Self::Rule(rule) => f.write_str(rule),
        }
    }
}

/// Everything that is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Wrongs(pub Vec<Wrong>);

impl fmt::Display for Wrongs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is wrong:")?;
        self.0.iter().try_for_each(|wrong| write!(f, "\n  {wrong}"))
    }
}
