use compute::model::limits::{
    HOST_BYTES_MAX, KEEP_MS_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX, NOTE_BYTES_MAX, PORTS_MAX, WEIGHT_MAX,
};
use serde_json::{Value, json};

use super::{define_shapes, object, page_of, reference, spread_of};
use crate::error::Code;

fn text() -> Value {
    json!({ "type": "string" })
}

fn nullable_text() -> Value {
    json!({ "type": ["string", "null"] })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn nullable_count() -> Value {
    json!({ "type": ["integer", "null"], "minimum": 0 })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn nullable_time() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

/// Opaque; `null` while only an overlay knows it.
fn revision() -> Value {
    json!({
        "type": ["string", "null"],
        "description": "Opaque: hand it back, compare for equality; null while it is not in the log",
        "examples": ["1.57.2"],
    })
}

fn texts() -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "string" } })
}

fn name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX })
}

fn weight() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": WEIGHT_MAX })
}

fn list_of(item: &str) -> Value {
    json!({ "type": "array", "items": reference(item) })
}

fn with(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

/// What an instance's properties are, in every place.
fn instance_properties() -> Value {
    let port = json!({ "type": "integer", "minimum": 0, "maximum": u16::MAX });
    let label = json!({ "type": "string", "maxLength": LABEL_BYTES_MAX });
    json!({
        "namespace": name(), "service": name(), "id": name(),
        "host": { "type": "string", "minLength": 1, "maxLength": HOST_BYTES_MAX },
        "port": port.clone(),
        "ports": { "type": "object", "additionalProperties": port, "maxProperties": PORTS_MAX },
        "protocol": label.clone(),
        "weight": with(weight(), json!({ "description": "In force: the operator's, else the provider's" })),
        "version": label.clone(), "zone": label.clone(), "region": label,
        "metadata": texts(),
        "lease": reference("Lease"),
        "incarnation": text(),
        "healthy": flag(),
        "health_reason": {
            "type": ["string", "null"],
            "enum": ["lease_lapsed", "session_lost", "check_failed", null],
        },
        "health_detail": with(text(), json!({ "description": "What the last probe saw" })),
        "health_changed_at": time(),
        "isolated": flag(),
        "operator": reference("Operator"),
        "provider_weight": with(weight(), json!({ "description": "Given when the operator's weight stands before it" })),
        "registered_at": time(),
        "generation": revision(),
        "revision": revision(),
        "ack": reference("Reached"),
    })
}

const INSTANCE_REQUIRED: &[&str] = &[
    "namespace",
    "service",
    "id",
    "host",
    "port",
    "ports",
    "protocol",
    "weight",
    "version",
    "zone",
    "region",
    "metadata",
    "lease",
    "healthy",
    "health_reason",
    "isolated",
    "operator",
    "registered_at",
    "generation",
    "revision",
];

fn view_properties() -> Value {
    json!({
        "namespace": name(),
        "service": { "type": ["string", "null"] },
        "exists": flag(),
        "revision": revision(),
        "digest": {
            "type": ["string", "null"],
            "description": "Proof that the view is complete: the sum, modulo 2^128, of the first 16 bytes of \
                SHA-256 over each instance's id, a line feed and its revision",
        },
        "protected": with(flag(), json!({
            "description": "So few are healthy that a demand for health was set aside",
        })),
        "items": list_of("Instance"),
        "truncated": flag(),
        "empty": reference("Empty"),
    })
}

fn service_properties() -> Value {
    json!({
        "namespace": name(), "service": name(),
        "description": text(), "owner": text(), "metadata": texts(),
        "protect_threshold": { "type": "number", "minimum": 0, "maximum": 1 },
        "instances": object(&["all", "healthy", "isolated"], json!({
            "all": count(), "healthy": count(), "isolated": count(),
        })),
        "created_at": nullable_time(), "revision": revision(), "settings_revision": revision(),
    })
}

fn status_properties() -> Value {
    json!({
        "node": text(), "incarnation": text(), "version": text(),
        "state": reference("State"), "detail": nullable_text(),
        "doors": list_of("Door"),
        "log": object(&["identity", "generation", "applied_revision", "time", "away_ms", "lag_frames", "lag_ms"], json!({
            "identity": text(), "generation": count(), "applied_revision": text(), "time": time(),
            "away_ms": nullable_count(), "lag_frames": count(), "lag_ms": count(),
        })),
        "store": object(&["landed_revision", "unlanded", "error"], json!({
            "landed_revision": text(), "unlanded": count(), "error": nullable_text(),
        })),
        "overlay": count(), "namespaces": count(), "services": count(), "instances": count(), "sessions": count(),
        "leases": reference("LeaseCounts"), "freezes": list_of("Freeze"),
        "holding": nullable_text(), "isolated": nullable_text(),
    })
}

define_shapes! {
    /// One instance.
    Instance = object(INSTANCE_REQUIRED, instance_properties());
    /// A view.
    Discovered = object(
        &["namespace", "service", "exists", "revision", "digest", "protected", "items"],
        view_properties(),
    );
    /// A write that came less far than was asked, and left nothing to show.
    Accepted = object(&["ack", "revision"], json!({ "ack": reference("Reached"), "revision": revision() }));
    Namespace = object(
        &["namespace", "description", "metadata", "created_at", "revision"],
        json!({
            "namespace": name(), "description": text(), "metadata": texts(), "created_at": time(),
            "revision": revision(),
        }),
    );
    Namespaces = page_of("Namespace");
    Service = object(
        &["namespace", "service", "description", "owner", "metadata", "protect_threshold", "instances", "created_at",
            "revision", "settings_revision"],
        service_properties(),
    );
    Services = page_of("Service");
    Override = object(
        &["namespace", "service", "id", "operator", "kept_until", "same_incarnation_only", "incarnation",
            "revision"],
        json!({
            "namespace": name(), "service": name(), "id": name(), "operator": reference("Operator"),
            "kept_until": time(), "same_incarnation_only": flag(), "revision": revision(),
            "incarnation": { "type": ["string", "null"], "description": "That process, if it named itself" },
        }),
    );
    Overrides = page_of("Override");
    Subscribers = spread_of("Subscriber");
    Nodes = spread_of("Node");
    Status = object(
        &["node", "incarnation", "version", "state", "detail", "doors", "log", "store", "overlay", "namespaces",
            "services", "instances", "sessions", "leases", "freezes", "holding", "isolated"],
        status_properties(),
    );
    Drained = object(&["state"], json!({ "state": reference("State") }));
    Released = object(&["released"], json!({ "released": count() }));
    TargetGroups = json!({
        "type": "array",
        "items": object(&["targets", "labels"], json!({
            "targets": { "type": "array", "items": text(), "minItems": 1 }, "labels": texts(),
        })),
    });
    /// Each event of a stream.
    EventStream = json!({ "oneOf": [
        event("snapshot", "WatchSnapshot", "Everything at a revision; has an id where it is complete"),
        event("change", "WatchChange", "What came and what went"),
        event("progress", "WatchMark", "Nothing new up to here; at least every 10 s"),
        event("compacted", "WatchMark", "What was asked for is not kept any more: a snapshot follows; has no id of its own"),
    ] });
    BatchOutcome = object(&["items"], json!({ "items": list_of("ItemOutcome") }));
}

fn problem_properties(is_document: bool) -> Value {
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let own = json!({
        "status": { "type": "integer", "minimum": 400, "maximum": 599 },
        "code": { "type": "string", "enum": codes, "description": "Stable, for programs" },
        "detail": with(text(), json!({ "description": "For people: what was met, and what to do" })),
        "field": with(text(), json!({ "description": "The field, parameter or header to blame" })),
        "value": with(text(), json!({ "description": "What was given there" })),
        "allowed": with(text(), json!({ "description": "What is allowed there" })),
        "retry_after_ms": with(count(), json!({ "description": "Worth another try, that much later" })),
    });
    if is_document { with(own, json!({ "type": text(), "title": text() })) } else { own }
}

/// What an item of a batch came to: a problem, or a success that has the instance where there is one.
fn item_outcome() -> Value {
    let success = object(
        &["status"],
        json!({
            "status": { "type": "integer", "enum": [200, 201, 202, 204] },
            "ack": reference("Reached"),
            "instance": reference("Instance"),
        }),
    );
    let refused = object(&["status", "code", "detail"], problem_properties(false));
    json!({ "oneOf": [success, refused] })
}

/// What an operator set, as it is shown.
fn operator() -> Value {
    object(
        &[],
        json!({
            "isolated": flag(), "weight": weight(),
            "note": { "type": "string", "maxLength": NOTE_BYTES_MAX },
            "expires_at": time(),
            "keep_ms": { "type": "integer", "minimum": 0, "maximum": KEEP_MS_MAX },
            "author": text(), "updated_at": time(),
        }),
    )
}

fn lease() -> Value {
    object(
        &["kind"],
        json!({
            "kind": { "type": "string", "enum": ["ttl", "stream", "checked", "permanent"] },
            "ttl_ms": count(), "remove_after_ms": count(), "check": reference("Check"),
        }),
    )
}

/// A server-sent event, whose data are JSON.
fn event(name: &str, data: &str, description: &str) -> Value {
    let mut event = object(
        &["event", "data"],
        json!({
            "event": { "type": "string", "enum": [name] },
            "id": with(text(), json!({ "description": "The revision: for Last-Event-ID" })),
            "retry": with(count(), json!({ "description": "Milliseconds until a stream that ended is opened again" })),
            "data": with(text(), json!({ "contentMediaType": "application/json", "contentSchema": reference(data) })),
        }),
    );
    event["description"] = description.into();
    event
}

fn watch_change() -> Value {
    let removed = object(
        &["id", "reason", "author"],
        json!({
            "id": name(),
            "reason": { "type": "string", "enum": ["deregistered", "expired", "operator", "filtered"] },
            "author": nullable_text(), "removed_at": time(), "revision": revision(),
        }),
    );
    object(
        &["namespace", "service", "exists", "from", "to", "digest", "protected", "put", "removed"],
        json!({
            "namespace": name(), "service": name(), "exists": flag(), "from": text(), "to": text(), "digest": text(),
            "protected": flag(), "put": list_of("Instance"), "removed": { "type": "array", "items": removed },
        }),
    )
}

fn subscriber() -> Value {
    object(
        &["client", "door", "address", "node", "sent_revision", "acknowledged_revision"],
        json!({
            "client": text(), "door": text(), "address": nullable_text(), "node": text(),
            "sent_revision": revision(), "acknowledged_revision": revision(),
        }),
    )
}

/// What the log shows of it, and behind that what it alone knows: `null` where it did not answer.
fn node() -> Value {
    let leases = json!({ "oneOf": [reference("LeaseCounts"), { "type": "null" }] });
    let properties = json!({
        "name": text(), "incarnation": text(), "state": reference("State"), "detail": nullable_text(),
        "lander": flag(), "answering": flag(), "answered": flag(), "joined_at": nullable_time(),
        "applied_revision": text(), "lag_frames": count(), "landed_revision": text(), "landing_lag_frames": count(),
        "sessions": count(), "freezes": list_of("Freeze"),
        "version": nullable_text(), "addresses": texts(), "lag_ms": nullable_count(),
        "log_away_ms": nullable_count(), "store_error": nullable_text(), "unlanded": nullable_count(),
        "overlay": nullable_count(), "leases": leases, "isolated": nullable_text(), "holding": nullable_text(),
    });
    let names: Vec<_> = properties.as_object().into_iter().flat_map(|all| all.keys().cloned()).collect();
    let required: Vec<_> = names.iter().map(String::as_str).collect();
    object(&required, properties)
}

pub(super) fn parts() -> Vec<(&'static str, Value)> {
    let scope = json!({ "node": text(), "namespace": text(), "service": text() });
    let snapshot = with(view_properties(), json!({ "complete": flag(), "to": text() }));
    let door = json!({
        "name": text(), "address": nullable_text(), "encrypted": flag(), "detail": nullable_text(),
        "state": { "type": "string", "enum": ["open", "left_out"] },
    });
    let counts = json!({
        "ttl": count(), "stream": count(), "checked": count(), "permanent": count(), "suspects": count(),
    });
    let empty = json!({
        "last_removed_at": nullable_time(),
        "reason": { "type": ["string", "null"], "enum": ["deregistered", "expired", "operator", "filtered", null] },
        "author": text(), "revision": revision(),
    });
    vec![
        ("Subscriber", subscriber()),
        ("Node", node()),
        ("Problem", object(&["type", "title", "status", "detail", "code"], problem_properties(true))),
        (
            "Reached",
            json!({
                "type": "string", "enum": ["overlay", "memory", "log", "store"],
                "description": "How far a write had come when it was answered; given when that is less than was asked",
            }),
        ),
        (
            "State",
            json!({
                "type": "string", "enum": ["ready", "not_ready", "draining", "unknown"],
                "description": "unknown: another node that did not answer",
            }),
        ),
        ("Operator", operator()),
        ("Lease", lease()),
        ("LeaseCounts", object(&["ttl", "stream", "checked", "permanent", "suspects"], counts)),
        (
            "Freeze",
            object(
                &["since", "lapsed", "of"],
                with(
                    scope,
                    json!({
                        "since": time(), "lapsed": count(), "of": count(),
                    }),
                ),
            ),
        ),
        ("Door", object(&["name", "address", "state", "encrypted", "detail"], door)),
        ("Empty", object(&["last_removed_at", "reason", "revision"], empty)),
        ("ItemOutcome", item_outcome()),
        (
            "WatchSnapshot",
            object(
                &["complete", "to", "namespace", "service", "exists", "revision", "digest", "protected", "items"],
                snapshot,
            ),
        ),
        ("WatchChange", watch_change()),
        ("WatchMark", object(&["revision"], json!({ "revision": text() }))),
    ]
}
