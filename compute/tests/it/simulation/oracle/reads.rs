//! Nobody who hands on what it has seen reads backwards, what a node shows was true at the revision that it names, and
//! an empty list is one.

use compute::model::Revision;

use super::{Evidence, Truth};

pub(super) fn check(evidence: &Evidence<'_>, truth: &Truth) -> Vec<String> {
    let mut wrong = Vec::new();
    for read in &evidence.told.read {
        let least = truth.at(&read.service, read.applied).map_or(Revision::ZERO, |known| known.revision);
        if read.applied.last() < read.token {
            wrong.push(format!("reads: a step back: {read:?}"));
        }
        if read.revision < least {
            wrong.push(format!("reads: the service was at {least} already: {read:?}"));
        }
        let shown = truth.known(&read.service, read.revision);
        let is_unknown = read.revision == Revision::ZERO && read.count == 0;
        if !is_unknown && shown.is_none_or(|known| (known.digest, known.count) != (read.digest, read.count)) {
            wrong.push(format!("reads: it was {shown:?}, and shown as {read:?}"));
        }
    }
    wrong
}
