//! No list is empty, or shorter than the truth.

use super::super::truth::{Known, Seen};
use super::alive::must_be_listed;

/// `known`: of this service.
pub fn untrue(known: &[Known], seen: &Seen) -> Option<String> {
    let must = known.iter().filter(|known| must_be_listed(known, seen));
    let (there, missing): (Vec<_>, Vec<_>) = must.partition(|known| seen.listed.contains_key(&known.id));
    if missing.is_empty() {
        return None;
    }
    let (missing, all) = (missing.len(), missing.len() + there.len());
    Some(format!("{} lacks {missing} of {all} live instances for {} at {}", seen.service, seen.by, seen.revision))
}
