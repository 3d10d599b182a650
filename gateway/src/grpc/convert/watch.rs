use std::collections::HashSet;

use compute::model::{Revision, ServiceKey};
use compute::view::View;
use compute::watch::{Delta, Removed, Scope};
use prost::Message;
use schemas::thuban::v1 as pb;

use super::selection::removed;
use super::{empty, instance, service, time, token};
use crate::error::Problem;

/// Most services that one watch names.
const SERVICES_MAX: usize = 10_000;
/// A snapshot is cut into parts of about this size, so that a client with the usual limit of 4 MiB a message can take
/// any of them, and no other watch of the same stream waits for long.
const PART_BYTES: usize = 256 << 10;

/// What a watch follows.
pub(crate) fn scope(namespace: &str, services: &[String]) -> Result<Scope, Problem> {
    if services.is_empty() {
        return Ok(Scope::Namespace(super::namespace(namespace)?));
    }
    if services.len() > SERVICES_MAX {
        let allowed = format!("at most {SERVICES_MAX} services");
        return Err(Problem::invalid("services", format_args!("{} services", services.len()), allowed));
    }
    let mut seen = HashSet::with_capacity(services.len());
    let mut keys = Vec::with_capacity(services.len());
    for (at, name) in services.iter().enumerate() {
        if !seen.insert(name.as_str()) {
            return Err(Problem::invalid(format!("services[{at}]"), name, "no service twice"));
        }
        let key = service(namespace, name);
        keys.push(key.map_err(|wrong| wrong.about(format!("services[{at}]")))?);
    }
    Ok(Scope::Services(keys))
}

/// The parts of a view's snapshot, without the revision that it is told at; `complete` marks the last.
pub(crate) fn snapshot_parts(view: &View, complete: bool) -> Vec<pb::WatchEvent> {
    let mut parts = Vec::new();
    let mut items = Vec::new();
    let mut bytes = 0;
    for shown in view.instances.iter() {
        let item = instance(&view.service, shown);
        bytes += item.encoded_len();
        items.push(item);
        if bytes >= PART_BYTES {
            parts.push(part(view, std::mem::take(&mut items)));
            bytes = 0;
        }
    }
    if !items.is_empty() || parts.is_empty() {
        parts.push(part(view, items));
    }
    if let Some(pb::WatchEvent { event: Some(pb::watch_event::Event::Snapshot(last)), .. }) = parts.last_mut() {
        last.complete = complete;
        last.digest = view.digest.to_string();
        last.empty = empty(view);
    }
    parts
}

fn part(view: &View, items: Vec<pb::Instance>) -> pb::WatchEvent {
    let snapshot = pb::Snapshot {
        exists: view.exists(),
        items,
        digest: String::new(),
        complete: false,
        protected: view.protected,
        empty: None,
    };
    about(&view.service, Revision::ZERO, pb::watch_event::Event::Snapshot(snapshot))
}

/// The snapshot of a namespace that holds no service.
pub(crate) fn nothing() -> pb::watch_event::Event {
    pb::watch_event::Event::Snapshot(pb::Snapshot { complete: true, ..pb::Snapshot::default() })
}

pub(crate) fn delta(delta: &Delta) -> pb::WatchEvent {
    let change = pb::Change {
        put: delta.put.iter().map(|put| instance(&delta.service, put)).collect(),
        removed: delta.removed.iter().map(gone).collect(),
        from_revision: delta.from.to_string(),
        to_revision: delta.to.to_string(),
        digest: delta.digest.to_string(),
        protected: delta.protected,
        exists: delta.row.is_some(),
    };
    about(&delta.service, delta.to, pb::watch_event::Event::Change(change))
}

fn gone(removed_one: &Removed) -> pb::Removed {
    let id = removed_one.id.as_str().to_owned();
    let Some(removal) = &removed_one.removal else {
        return pb::Removed { id, reason: pb::Reason::Filtered.into(), ..pb::Removed::default() };
    };
    pb::Removed {
        id,
        reason: removed(removal.reason).into(),
        author: removal.author.name.as_ref().to_owned(),
        door: removal.author.door.as_ref().to_owned(),
        removed_at: Some(time(removal.at_ms)),
        revision: token(removal.revision),
    }
}

/// Nothing new of a whole watch.
pub(crate) fn progress() -> pb::watch_event::Event {
    pb::watch_event::Event::Progress(pb::Progress {})
}

/// What was missed is gone: a snapshot follows.
pub(crate) fn compacted() -> pb::watch_event::Event {
    pb::watch_event::Event::Compacted(pb::Compacted {})
}

fn about(service: &ServiceKey, revision: Revision, event: pb::watch_event::Event) -> pb::WatchEvent {
    pb::WatchEvent {
        namespace: service.namespace.as_str().to_owned(),
        service: service.service.as_str().to_owned(),
        revision: token(revision),
        resume_revision: String::new(),
        event: Some(event),
    }
}
