//! Answers as JSON, written straight into bytes: what a view, an event or an outcome looks like on this door.

use bytes::Bytes;
use compute::model::{Removal, Revision};
use compute::view::{Emptied, Format, View};

mod event;
mod instance;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use event::{delta_event, snapshot_data};
pub(super) use instance::{instance, instance_fields, operator};
pub(super) use rows::{kept_override, namespace, service};
pub(super) use writer::Json;

/// Under which a view or a change is kept in the form of this door.
const JSON: Format = Format("json");
/// What one instance takes, about: so that a list is written without growing again and again.
const INSTANCE_BYTES: usize = 640;

/// The whole view, as discover answers it: made once, shared by every reader.
pub(super) fn view(view: &View) -> Bytes {
    view.encoded.get(JSON, || {
        let mut json = Json::with_capacity(256 + view.instances.len() * INSTANCE_BYTES);
        json.object(|json| view_fields(json, view, view.instances.len()));
        json.into_bytes()
    })
}

/// The first instances of a view.
pub(super) fn view_cut(view: &View, limit: usize) -> Bytes {
    let shown = limit.min(view.instances.len());
    let mut json = Json::with_capacity(256 + shown * INSTANCE_BYTES);
    json.object(|json| {
        view_fields(json, view, shown);
        json.flag("truncated", shown < view.instances.len());
    });
    json.into_bytes()
}

fn view_fields(json: &mut Json, view: &View, shown: usize) {
    json.text("namespace", view.service.namespace.as_str());
    json.text("service", view.service.service.as_str());
    json.flag("exists", view.exists());
    json.revision("revision", view.revision);
    json.shown("digest", &view.digest);
    json.flag("protected", view.protected);
    json.list("items", |json| {
        for each in view.instances.iter().take(shown) {
            json.element(|json| instance(json, &view.service, each));
        }
    });
    if view.exists()
        && let Some(emptied) = view.emptied()
    {
        json.key("empty");
        json.object(|json| empty_fields(json, view, &emptied));
    }
}

/// The proof of an empty list.
fn empty_fields(json: &mut Json, view: &View, emptied: &Emptied<'_>) {
    match emptied {
        Emptied::Removed(Removal { at_ms, reason, author, revision }) => {
            json.time("last_removed_at", *at_ms);
            json.text("reason", reason.as_str());
            json.text("author", &author.name);
            json.revision("revision", *revision);
        }
        Emptied::Filtered => {
            json.null("last_removed_at");
            json.text("reason", "filtered");
            json.revision("revision", view.revision);
        }
        Emptied::Never => {
            json.null("last_removed_at");
            json.null("reason");
            json.revision("revision", Revision::ZERO);
        }
    }
}
