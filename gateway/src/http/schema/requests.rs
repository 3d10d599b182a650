use compute::model::limits::{
    BATCH_ITEMS_MAX, CHECK_COUNT_MAX, CHECK_FAILURES_DEFAULT, CHECK_INTERVAL_MS_DEFAULT, CHECK_INTERVAL_MS_MAX,
    CHECK_INTERVAL_MS_MIN, CHECK_SUCCESSES_DEFAULT, CHECK_TARGET_BYTES_MAX, CHECK_TIMEOUT_MS_DEFAULT,
    CHECK_TIMEOUT_MS_MAX, CHECK_TIMEOUT_MS_MIN, HOST_BYTES_MAX, INCARNATION_BYTES_MAX, KEEP_MS_MAX, LABEL_BYTES_MAX,
    LEASE_MS_MAX, LEASE_MS_MIN, METADATA_KEY_BYTES_MAX, METADATA_KEYS_MAX, METADATA_VALUE_BYTES_MAX, NOTE_BYTES_MAX,
    PORT_NAME_BYTES_MAX, PORTS_MAX, REMOVE_AFTER_MS_DEFAULT, TTL_MS_DEFAULT, WEIGHT_DEFAULT, WEIGHT_MAX,
};
use serde_json::{Value, json};

use super::parameters::{GENERATION_PATTERN, id_shape, name_shape};
use super::{define_shapes, object, reference};

/// No control characters.
pub(super) const PLAIN: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";
/// None but line breaks and tabs.
const PROSE: &str = r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*$";
/// Names of at most 63 letters, digits, - and _, with dots between. The last is no number: that would be an address.
const HOST: &str = concat!(
    r"^(?!(.*\.)?[0-9]+\.?$)",
    r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$"
);
/// A path of printable ASCII.
const PATH: &str = r"^/[\u0021-\u007E]*$";

fn integer(min: u64, max: u64, default: Option<u64>) -> Value {
    match default {
        None => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Some(default) => json!({ "type": "integer", "minimum": min, "maximum": max, "default": default }),
    }
}

fn plain(max: usize) -> Value {
    json!({ "type": "string", "maxLength": max, "pattern": PLAIN })
}

fn prose(max: usize) -> Value {
    json!({ "type": "string", "maxLength": max, "pattern": PROSE })
}

/// The same, and `null`.
fn nullable(mut shape: Value) -> Value {
    if let Some(kind) = shape.get("type").cloned() {
        shape["type"] = json!([kind, "null"]);
    }
    shape
}

/// 16 KiB in all, which no schema can say.
pub(super) fn metadata() -> Value {
    json!({
        "type": "object",
        "maxProperties": METADATA_KEYS_MAX,
        "propertyNames": { "type": "string", "minLength": 1, "maxLength": METADATA_KEY_BYTES_MAX, "pattern": PLAIN },
        "additionalProperties": prose(METADATA_VALUE_BYTES_MAX),
        "description": "16 KiB in all",
    })
}

fn provider_properties() -> Value {
    json!({
        "host": {
            "anyOf": [
                { "type": "string", "minLength": 1, "maxLength": HOST_BYTES_MAX, "pattern": HOST },
                { "type": "string", "format": "ipv4", "examples": ["10.0.0.7"] },
                { "type": "string", "format": "ipv6" },
            ],
            "description": "A DNS name or an IP address",
        },
        "port": { "type": "integer", "minimum": 0, "maximum": u16::MAX, "examples": [8080] },
        "ports": {
            "type": "object", "maxProperties": PORTS_MAX,
            "propertyNames": { "type": "string", "minLength": 1, "maxLength": PORT_NAME_BYTES_MAX, "pattern": PLAIN },
            "additionalProperties": integer(0, u64::from(u16::MAX), None),
            "description": "More ports, by name", "examples": [{ "metrics": 9090 }],
        },
        "protocol": plain(LABEL_BYTES_MAX),
        "weight": integer(0, u64::from(WEIGHT_MAX), Some(u64::from(WEIGHT_DEFAULT))),
        "version": plain(LABEL_BYTES_MAX),
        "zone": plain(LABEL_BYTES_MAX),
        "region": plain(LABEL_BYTES_MAX),
        "metadata": metadata(),
        "lease": reference("LeaseSpec"),
        "incarnation": incarnation("Names the provider's process; another one begins a new generation"),
    })
}

fn incarnation(description: &str) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": INCARNATION_BYTES_MAX, "pattern": PLAIN,
        "description": description,
    })
}

fn registration_example() -> Value {
    json!({
        "host": "10.0.0.7", "port": 8080, "ports": { "metrics": 9090 }, "protocol": "http", "weight": 100,
        "version": "1.4.2", "zone": "eu-1a", "region": "eu-1", "metadata": { "team": "payments" },
        "lease": { "kind": "ttl", "ttl_ms": 15000, "remove_after_ms": 30000 },
    })
}

fn with_example(mut shape: Value, example: Value) -> Value {
    shape["examples"] = json!([example]);
    shape
}

fn generation() -> Value {
    json!({ "type": ["string", "null"], "pattern": GENERATION_PATTERN, "examples": ["1.1.0"] })
}

/// An item that names its instance itself.
fn item_properties() -> Value {
    json!({ "namespace": name_shape(), "service": name_shape(), "id": id_shape(), "generation": generation() })
}

fn merged(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

fn batch_of(item: &str) -> Value {
    object(
        &["items"],
        json!({
            "items": { "type": "array", "minItems": 1, "maxItems": BATCH_ITEMS_MAX, "items": reference(item) },
        }),
    )
}

fn settings_properties() -> Value {
    json!({
        "description": prose(NOTE_BYTES_MAX),
        "owner": plain(NOTE_BYTES_MAX),
        "metadata": metadata(),
        "protect_threshold": {
            "type": "number", "minimum": 0, "maximum": 1, "default": 0,
            "description": "When healthy/all falls below it, a filter for the healthy returns all",
        },
    })
}

/// What an operator may set.
fn word_properties() -> Value {
    json!({
        "isolated": { "type": ["boolean", "null"] },
        "weight": nullable(integer(0, u64::from(WEIGHT_MAX), None)),
        "note": nullable(prose(NOTE_BYTES_MAX)),
        "expires_at": { "type": ["string", "null"], "format": "date-time", "description": "A time to come" },
        "keep_ms": nullable(integer(0, KEEP_MS_MAX, None)),
    })
}

fn patch_properties() -> Value {
    let mut properties = settings_properties();
    for name in ["description", "owner", "metadata", "protect_threshold"] {
        properties[name] = nullable(properties[name].take());
    }
    properties
}

define_shapes! {
    /// What a provider says of itself.
    Registration = with_example(object(&["host", "port"], provider_properties()), registration_example());
    /// A condition on an instance.
    Condition = object(&[], json!({ "generation": generation() }));
    OperatorPatch = with_example(
        object(&[], merged(word_properties(), json!({ "generation": generation() }))),
        json!({ "isolated": true, "note": "disk is failing" }),
    );
    /// An operator's word for whoever registers where nobody is.
    KeptWord = with_example(
        object(&[], merged(word_properties(), json!({
            "kept_until": {
                "type": ["string", "null"], "format": "date-time",
                "description": "A time to come, at most 8 days; else it is kept for keep_ms",
            },
            "incarnation": nullable(incarnation("Only the process of this name gets it")),
        }))),
        json!({ "isolated": true, "note": "disk is failing", "keep_ms": 3_600_000 }),
    );
    NamespaceSettings = object(&[], json!({ "description": prose(NOTE_BYTES_MAX), "metadata": metadata() }));
    ServiceSettings = object(&[], settings_properties());
    ServicePatch = object(&[], patch_properties());
    BatchRegistration = batch_of("RegistrationItem");
    BatchOfKeys = batch_of("KeyItem");
}

fn check() -> Value {
    let timing = json!({
        "port": integer(1, u64::from(u16::MAX), None),
        "interval_ms":
            integer(CHECK_INTERVAL_MS_MIN, CHECK_INTERVAL_MS_MAX, Some(u64::from(CHECK_INTERVAL_MS_DEFAULT))),
        "timeout_ms": integer(CHECK_TIMEOUT_MS_MIN, CHECK_TIMEOUT_MS_MAX, Some(u64::from(CHECK_TIMEOUT_MS_DEFAULT))),
        "failures": integer(1, CHECK_COUNT_MAX, Some(u64::from(CHECK_FAILURES_DEFAULT))),
        "successes": integer(1, CHECK_COUNT_MAX, Some(u64::from(CHECK_SUCCESSES_DEFAULT))),
    });
    json!({
        "type": "object",
        "required": [],
        "properties": merged(timing, json!({
            "http": { "type": "string", "maxLength": CHECK_TARGET_BYTES_MAX, "pattern": PATH },
            "tcp": { "type": "boolean", "enum": [true] },
            "grpc": plain(CHECK_TARGET_BYTES_MAX),
        })),
        "additionalProperties": false,
        "description": "Exactly one of http (a path), tcp (true) and grpc (a service name, may be empty)",
    })
}

/// The lease that a provider asks for: what it may say depends on the kind.
fn lease_spec() -> Value {
    let kind = |word: &str| json!({ "type": "string", "enum": [word] });
    let remove = |default| integer(LEASE_MS_MIN, LEASE_MS_MAX, default);
    let ttl = object(
        &[],
        json!({
            "kind": kind("ttl"),
            "ttl_ms": integer(LEASE_MS_MIN, LEASE_MS_MAX, Some(u64::from(TTL_MS_DEFAULT))),
            "remove_after_ms": remove(Some(u64::from(REMOVE_AFTER_MS_DEFAULT))),
        }),
    );
    let checked = object(
        &["kind", "check"],
        json!({
            "kind": kind("checked"), "check": reference("CheckSpec"), "remove_after_ms": remove(None),
        }),
    );
    let permanent = object(&["kind"], json!({ "kind": kind("permanent") }));
    json!({ "oneOf": [ttl, checked, permanent] })
}

/// One probe of the three.
fn check_spec() -> Value {
    let one = |name: &str| {
        let mut shape = check();
        shape["required"] = json!([name]);
        if let Some(properties) = shape["properties"].as_object_mut() {
            let others = ["http", "tcp", "grpc"].into_iter().filter(|other| *other != name);
            others.for_each(|other| drop(properties.remove(other)));
        }
        shape
    };
    json!({ "oneOf": [one("http"), one("tcp"), one("grpc")] })
}

pub(super) fn parts() -> Vec<(&'static str, Value)> {
    vec![
        ("Check", check()),
        ("CheckSpec", check_spec()),
        ("LeaseSpec", lease_spec()),
        ("RegistrationItem", object(&["service", "host", "port"], merged(provider_properties(), item_properties()))),
        ("KeyItem", object(&["service", "id"], item_properties())),
    ]
}
