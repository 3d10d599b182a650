use std::fmt;

use compute::model::limits::LABEL_BYTES_MAX;
use compute::model::{Metadata, Removal, RemovalReason, Selector};
use compute::view::{Emptied, View};
use schemas::thuban::v1 as pb;

use super::{instance, time, token};
use crate::error::Problem;

pub(crate) fn selector(filter: Option<pb::Filter>) -> Result<Selector, Problem> {
    let Some(filter) = filter else { return Ok(Selector::default()) };
    for (field, label) in [("filter.zone", &filter.zone), ("filter.version", &filter.version)] {
        if let Some(label) = label.as_ref().filter(|label| label.len() > LABEL_BYTES_MAX) {
            return Err(Problem::invalid(field, label, format!("at most {LABEL_BYTES_MAX} bytes")));
        }
    }
    // What no instance can have can't be asked for either.
    Metadata::new(&filter.metadata).map_err(|wrong| wrong.within("filter"))?;
    let boxed = |(key, value): (String, String)| (key.into_boxed_str(), value.into_boxed_str());
    Ok(Selector {
        usable: filter.usable,
        healthy: filter.healthy,
        isolated: filter.isolated,
        zone: filter.zone.map(String::into_boxed_str),
        version: filter.version.map(String::into_boxed_str),
        metadata: filter.metadata.into_iter().map(boxed).collect(),
    })
}

/// Everything that a view shows, or its first `limit` instances. `stale`: of a node that has started without its log.
pub(crate) fn discover_reply(
    view: &View,
    limit: Option<usize>,
    etag: impl fmt::Display,
    stale: bool,
) -> pb::DiscoverReply {
    let shown = limit.unwrap_or(usize::MAX).min(view.instances.len());
    pb::DiscoverReply {
        namespace: view.service.namespace.as_str().to_owned(),
        service: view.service.service.as_str().to_owned(),
        exists: view.exists(),
        not_modified: false,
        revision: view.revision.to_string(),
        digest: view.digest.to_string(),
        etag: etag.to_string(),
        items: view.instances[..shown].iter().map(|shown| instance(&view.service, shown)).collect(),
        truncated: shown < view.instances.len(),
        protected: view.protected,
        empty: empty(view),
        overlay: u64::from(view.overlay),
        stale,
    }
}

/// The proof that a view of a service which exists is empty.
pub(crate) fn empty(view: &View) -> Option<pb::Empty> {
    if !view.exists() {
        return None;
    }
    let removal = view.row.as_ref().and_then(|row| row.last_removal.as_ref());
    let reason = match view.emptied()? {
        Emptied::Removed(removal) => removed(removal.reason),
        Emptied::Filtered => pb::Reason::Filtered,
        Emptied::Never => pb::Reason::Unspecified,
    };
    Some(with_reason(reason, removal))
}

fn with_reason(reason: pb::Reason, removal: Option<&Removal>) -> pb::Empty {
    let text = |of: fn(&Removal) -> &str| removal.map_or_else(String::new, |removal| of(removal).to_owned());
    pb::Empty {
        last_removed_at: removal.map(|removal| time(removal.at_ms)),
        reason: reason.into(),
        revision: removal.map_or_else(String::new, |removal| token(removal.revision)),
        author: text(|removal| &removal.author.name),
        door: text(|removal| &removal.author.door),
    }
}

pub(super) fn removed(reason: RemovalReason) -> pb::Reason {
    match reason {
        RemovalReason::Deregistered => pb::Reason::Deregistered,
        RemovalReason::Expired => pb::Reason::Expired,
        RemovalReason::Operator => pb::Reason::Operator,
    }
}
