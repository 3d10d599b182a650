//! No live instance is removed, nor shown as unhealthy.

use super::super::truth::{Known, Seen};

/// Whether this list had to show it: acknowledged before the list was asked for, at a revision that the list has.
pub fn must_be_listed(known: &Known, seen: &Seen) -> bool {
    let is_held = known.held.is_some_and(|(at, revision)| at <= seen.asked && revision <= seen.revision);
    is_held && known.died_at.is_none()
}

pub fn removed(known: &Known, seen: &Seen) -> Option<String> {
    if !must_be_listed(known, seen) {
        return None;
    }
    let how = match seen.listed.get(&known.id) {
        Some(true) => return None,
        Some(false) => "unhealthy",
        None => "missing",
    };
    Some(format!("{}/{} lives and is {how} for {} at {}", known.service, known.id, seen.by, seen.revision))
}
