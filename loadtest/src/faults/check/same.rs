//! After quiescence all nodes and the store show the same.

use std::collections::BTreeMap;

/// The digest of each service, as one place shows it.
pub type Digests = BTreeMap<String, String>;

/// `shown`: by each node and the store, by name. `None`: it did not answer.
pub fn differs(shown: &BTreeMap<String, Option<Digests>>) -> Option<String> {
    let silent: Vec<_> = shown.iter().filter(|(_, digests)| digests.is_none()).map(|(name, _)| &**name).collect();
    if !silent.is_empty() {
        return Some(format!("{} did not answer", silent.join(", ")));
    }
    let (first, digests) = shown.iter().next()?;
    let other = shown.iter().find(|(_, other)| *other != digests);
    other.map(|(name, other)| format!("{first} shows {digests:?} and {name} {other:?}"))
}
