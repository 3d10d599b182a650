use std::collections::BTreeMap;

use super::Instance;

/// Which instances of a service a reader wants; a field that is not set does not select.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Selector {
    /// Healthy, not isolated, weight above 0.
    pub usable: Option<bool>,
    pub healthy: Option<bool>,
    pub isolated: Option<bool>,
    pub zone: Option<Box<str>>,
    pub version: Option<Box<str>>,
    pub metadata: BTreeMap<Box<str>, Box<str>>,
}

impl Selector {
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// True when it asks for the healthy: then a service's protect threshold applies.
    pub fn asks_for_healthy(&self) -> bool {
        self.usable == Some(true) || self.healthy == Some(true)
    }

    /// The same selection without its demands on health, for a service that is protected.
    #[must_use]
    pub fn protected(&self) -> Self {
        let spared = |wanted: Option<bool>| wanted.filter(|w| !w);
        Self { usable: spared(self.usable), healthy: spared(self.healthy), ..self.clone() }
    }

    pub fn matches(&self, instance: &Instance) -> bool {
        let is = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        let says = |wanted: &Option<Box<str>>, said: &str| wanted.as_deref().is_none_or(|wanted| wanted == said);
        is(self.usable, instance.is_usable())
            && is(self.healthy, instance.is_healthy())
            && is(self.isolated, instance.is_isolated())
            && says(&self.zone, instance.provider.zone())
            && says(&self.version, instance.provider.version())
            && self.metadata.iter().all(|(key, value)| instance.provider.metadata_value(key) == Some(value))
    }
}
