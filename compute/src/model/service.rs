use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use super::limits::{
    METADATA_BYTES_MAX, METADATA_KEY_BYTES_MAX, METADATA_KEYS_MAX, METADATA_VALUE_BYTES_MAX, NOTE_BYTES_MAX,
};
use super::{Invalid, text};

/// Pairs of text within the limits, by key.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Metadata(Box<[(Box<str>, Box<str>)]>);

impl Metadata {
    pub fn new(pairs: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        Self::check(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))?;
        Ok(Self(pairs.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect()))
    }

    /// Whether `pairs` are within the limits.
    pub(super) fn check<'a>(pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>) -> Result<(), Invalid> {
        if pairs.len() > METADATA_KEYS_MAX {
            return Err(Invalid::new("metadata", format!("{} keys", pairs.len()), "at most 64 keys"));
        }
        let mut bytes = 0;
        for (key, value) in pairs {
            if key.is_empty() {
                return Err(Invalid::new("metadata", key, "keys of 1 to 128 bytes"));
            }
            text::plain("metadata", key, METADATA_KEY_BYTES_MAX)?;
            text::prose("metadata", value, METADATA_VALUE_BYTES_MAX)
                .map_err(|wrong| Invalid { field: format!("metadata.{key}").into(), ..wrong })?;
            bytes += key.len() + value.len();
        }
        if bytes > METADATA_BYTES_MAX {
            return Err(Invalid::new("metadata", format!("{bytes} bytes"), "at most 16384 bytes in all"));
        }
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What people say about a service.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ServiceSettings {
    pub description: Box<str>,
    pub owner: Box<str>,
    pub metadata: Metadata,
    /// When healthy/all falls below it, filters for the healthy return all. 0: never.
    pub protect_threshold: f64,
}

impl ServiceSettings {
    pub fn check(&self) -> Result<(), Invalid> {
        text::prose("description", &self.description, NOTE_BYTES_MAX)?;
        text::plain("owner", &self.owner, NOTE_BYTES_MAX)?;
        if !(0.0..=1.0).contains(&self.protect_threshold) {
            return Err(Invalid::new("protect_threshold", self.protect_threshold, "0 to 1"));
        }
        Ok(())
    }
}

impl Hash for ServiceSettings {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.description, &self.owner, &self.metadata).hash(state);
        // Adding 0 makes one of the two zeros, which are equal and so must hash alike.
        (self.protect_threshold + 0.0).to_bits().hash(state);
    }
}

/// What people say about a namespace.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct NamespaceSettings {
    pub description: Box<str>,
    pub metadata: Metadata,
}

impl NamespaceSettings {
    pub fn check(&self) -> Result<(), Invalid> {
        text::prose("description", &self.description, NOTE_BYTES_MAX)
    }
}
