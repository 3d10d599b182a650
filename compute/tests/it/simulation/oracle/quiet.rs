//! When all is quiet, all nodes show the same, and that is the truth. None of them has ever found that another, or the
//! store, has other instances than it has.

use super::{Evidence, Shown, Truth};

pub(super) fn check(evidence: &Evidence<'_>, truth: &Truth) -> Vec<String> {
    let mut wrong = Vec::new();
    for Shown { node, views, status } in evidence.shown {
        for view in views {
            let known = truth.last(&view.service).map(|known| (known.revision, known.digest)).unwrap_or_default();
            let shown = (view.revision, view.digest);
            if shown != known || view.overlay > 0 {
                let (service, overlay) = (&view.service, view.overlay);
                wrong.push(format!(
                    "quiet: {node} shows {service} as {shown:?} and {overlay} more, and it is {known:?}"
                ));
            }
        }
        let differences = (status.divergences, status.repairs, status.unrepaired);
        if differences != (0, 0, 0) {
            wrong.push(format!(
                "quiet: {node} has found differences, or has mended some, or could not: {differences:?}"
            ));
        }
    }
    wrong
}
