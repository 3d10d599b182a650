//! When all is quiet, all nodes show the same, and that is the truth.

use super::{Evidence, Truth};

pub(super) fn check(evidence: &Evidence<'_>, truth: &Truth) -> Vec<String> {
    let mut wrong = Vec::new();
    for (node, services) in evidence.shown {
        for shown in services {
            let known = truth.last(&shown.service).map(|known| (known.revision, known.digest)).unwrap_or_default();
            if (shown.revision, shown.digest) != known || shown.overlay > 0 {
                wrong.push(format!("quiet: {node} shows {shown:?}, and the truth is {known:?}"));
            }
        }
    }
    wrong
}
