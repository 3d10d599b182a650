//! The reference, put together of what the routes say of themselves.

use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use super::schema;

#[cfg(test)]
mod tests;

const DESCRIPTION: &str = "Thuban is a service registry. Instances register, keep their lease, and are found, watched \
    and operated on.\n\nRevisions are opaque: hand them back, compare them for equality. Any answer's ETag or \
    X-Thuban-Revision serves `min_revision`, `from` and `Last-Event-ID` of any read. Unknown fields and query \
    parameters are errors that name them. Errors are problem documents (RFC 9457) with a stable `code`; those of a \
    request that can't be read too (400, and 431 for a head that is too large). A head that does not arrive in time is \
    closed without an answer.";

/// Operations that take discover's filters.
const FILTERED: &[&str] =
    &["discover", "discover_by_query", "watch_service", "watch_namespace", "watch_by_query", "prometheus_sd"];

/// Everything but the routes.
pub(super) fn frame() -> OpenApi {
    let frame = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Thuban",
            "description": DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": {},
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "Only where a token file is in force" },
            },
        },
        "security": [{ "token": [] }, {}],
        "tags": [
            { "name": "instances", "description": "Register, discover, renew, operate" },
            { "name": "batch", "description": "Many at once" },
            { "name": "watch", "description": "Server-sent events" },
            { "name": "services", "description": "What is said of services, and who watches them" },
            { "name": "namespaces", "description": "Tenants' scopes" },
            { "name": "overrides", "description": "Operators' words that outlived their instances, or come before them" },
            { "name": "discovery", "description": "For other systems" },
            { "name": "nodes", "description": "This node, and what operators do to it" },
            { "name": "process", "description": "Probes and metrics" },
        ],
    });
    serde_json::from_value(frame).expect("the frame is a document; a test parses it")
}

/// Adds what no route can say of itself: shared shapes, headers of answers, and filters with names of the caller's own.
pub(super) fn complete(reference: OpenApi) -> OpenApi {
    let mut document = serde_json::to_value(reference).expect("a document can be written");
    let schemas: Value = schema::all().into_iter().collect();
    document["components"]["schemas"] = schemas;
    if let Some(paths) = document["paths"].as_object_mut() {
        let operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(|item| item.values_mut());
        operations.filter(|operation| operation.is_object()).for_each(complete_operation);
    }
    serde_json::from_value(document).expect("what was added are shapes and headers; a test parses it")
}

fn complete_operation(operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    if FILTERED.contains(&id.as_str())
        && let Some(parameters) = operation["parameters"].as_array_mut()
    {
        parameters.push(metadata_filter());
    }
    if let Some(content) = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut) {
        content.values_mut().filter_map(|kind| kind.get_mut("schema")).for_each(not_null);
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, response) in responses {
        let mut headers = json!({});
        let has_body = response["content"]["application/json"].is_object();
        if status == "304" || (status.starts_with('2') && has_body) {
            headers["ETag"] = header("Names this content: for If-None-Match, or If-Match of a service");
            headers["X-Thuban-Revision"] = header("For min_revision, from and Last-Event-ID of any read");
            headers["X-Thuban-Stale"] = header("`true`: read while the change log is away since the node started");
            headers["X-Thuban-Overlay"] = header("So many changes in it are not in the log yet");
        }
        if status == "429" || status == "503" || status == "504" {
            headers["Retry-After"] = header("Seconds");
        }
        if headers.as_object().is_some_and(|headers| !headers.is_empty()) {
            response["headers"] = headers;
        }
    }
}

/// A body that may be left out is described as one that may be `null`, which it may not.
fn not_null(schema: &mut Value) {
    let Some(choices) = schema.get("oneOf").and_then(Value::as_array) else { return };
    let something: Vec<_> = choices.iter().filter(|choice| choice["type"] != "null").cloned().collect();
    if let ([one], true) = (&*something, choices.len() == 2) {
        *schema = one.clone();
    }
}

fn header(description: &str) -> Value {
    json!({ "description": description, "required": false, "schema": { "type": "string" } })
}

/// `metadata.KEY=VALUE`, as many as there are keys: the properties of an object are the names of parameters.
fn metadata_filter() -> Value {
    use compute::model::limits::{METADATA_KEY_BYTES_MAX, METADATA_KEYS_MAX, METADATA_VALUE_BYTES_MAX};
    json!({
        "name": "metadata",
        "in": "query",
        "description": "metadata.KEY=VALUE: this key has exactly this value",
        "required": false,
        "style": "form",
        "explode": true,
        "schema": {
            "type": "object",
            "maxProperties": METADATA_KEYS_MAX,
            "propertyNames": {
                "type": "string",
                "pattern": r"^metadata\.[^\u0000-\u001F\u007F-\u009F]+$",
                "maxLength": "metadata.".len() + METADATA_KEY_BYTES_MAX,
            },
            "additionalProperties": { "type": "string", "maxLength": METADATA_VALUE_BYTES_MAX },
            "examples": [{ "metadata.team": "payments" }],
        },
    })
}
