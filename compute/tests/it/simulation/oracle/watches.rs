//! Every watcher's chain is whole, which it checks itself as it goes, and its end is the truth.

use super::{Evidence, Truth};

pub(super) fn check(evidence: &Evidence<'_>, truth: &Truth) -> Vec<String> {
    let mut wrong = Vec::new();
    for (service, at, digest, count) in &evidence.told.watched {
        let known = truth.last(service);
        let (expected, all) = known.map_or_else(Default::default, |known| (known.digest, known.count));
        if (expected, all) != (*digest, *count) {
            wrong.push(format!("watches: at {at} {service} had {all}, {expected}; its watcher {count}, {digest}"));
        }
    }
    wrong
}
