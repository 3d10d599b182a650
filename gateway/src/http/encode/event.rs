use bytes::Bytes;
use compute::model::{Namespace, Revision};
use compute::view::View;
use compute::watch::{Delta, Removed};

use super::{INSTANCE_BYTES, JSON, Json, instance};

/// A change as a whole server-sent event: made once, shared by every watcher.
pub(crate) fn delta_event(delta: &Delta) -> Bytes {
    delta.encoded.get(JSON, || {
        let mut json = Json::with_capacity(512 + delta.put.len() * INSTANCE_BYTES + delta.removed.len() * 128);
        json.raw(b"event: change\nid: ");
        json.raw(delta.to.to_string().as_bytes());
        json.raw(b"\ndata: ");
        json.object(|json| delta_fields(json, delta));
        json.raw(b"\n\n");
        json.into_bytes()
    })
}

fn delta_fields(json: &mut Json, delta: &Delta) {
    json.text("namespace", delta.service.namespace.as_str());
    json.text("service", delta.service.service.as_str());
    json.flag("exists", delta.row.is_some());
    json.shown("from", &delta.from);
    json.shown("to", &delta.to);
    json.shown("digest", &delta.digest);
    json.flag("protected", delta.protected);
    json.list("put", |json| {
        for put in &delta.put {
            json.element(|json| instance(json, &delta.service, put));
        }
    });
    json.list("removed", |json| {
        for removed in &delta.removed {
            json.element(|json| json.object(|json| removed_fields(json, removed)));
        }
    });
}

fn removed_fields(json: &mut Json, removed: &Removed) {
    json.text("id", removed.id.as_str());
    match &removed.removal {
        Some(removal) => {
            json.text("reason", removal.reason.as_str());
            json.text("author", &removal.author.name);
            json.time("removed_at", removal.at_ms);
            json.revision("revision", removal.revision);
        }
        None => {
            json.text("reason", "filtered");
            json.null("author");
        }
    }
}

/// The data of a snapshot event, as the parts of its one line: the second is shared with discover's answers.
pub(crate) fn snapshot_data(
    namespace: &Namespace,
    view: Option<&View>,
    revision: Revision,
    is_complete: bool,
) -> [Bytes; 2] {
    let mut start = Json::with_capacity(96);
    start.raw(if is_complete { br#"{"complete":true,"to":""# } else { br#"{"complete":false,"to":""# });
    start.raw(revision.to_string().as_bytes());
    start.raw(b"\",");
    // Both are objects: the second goes on where its opening brace was.
    let rest = view.map_or_else(|| without_services(namespace), super::view);
    [start.into_bytes(), rest.slice(1..)]
}

/// The one part of the snapshot of a namespace that has no services.
fn without_services(namespace: &Namespace) -> Bytes {
    Json::of_object(|json| {
        json.text("namespace", namespace.as_str());
        json.null("service");
        json.flag("exists", false);
        json.null("revision");
        json.null("digest");
        json.flag("protected", false);
        json.list("items", |_| {});
    })
}
