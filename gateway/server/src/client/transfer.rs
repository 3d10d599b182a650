//! The whole registry as lines: a head, then namespaces, services, instances and words of operators where none is, and
//! an end that proves that nothing is missing. What is read back is registered again, so generations and revisions are new.

use serde_json::Value;

mod export;
mod import;

pub(super) use export::Export;
pub(super) use import::Import;

/// Of the lines that are written, and the oldest that are read: that one had no digest, and the next one no words of
/// operators without an instance.
const FORMAT: u64 = 3;
const FORMAT_OLDEST: u64 = 1;

const NAMESPACE_FIELDS: &[&str] = &["description", "metadata"];
const SERVICE_FIELDS: &[&str] = &["description", "owner", "metadata", "protect_threshold"];
/// What a provider says of itself; its weight has a rule of its own.
const PROVIDER_FIELDS: &[&str] =
    &["host", "port", "ports", "protocol", "version", "zone", "region", "metadata", "incarnation", "lease"];
const OPERATOR_FIELDS: &[&str] = &["isolated", "weight", "note", "expires_at", "keep_ms"];
/// What a word has beside them where there is no instance.
const KEPT_FIELDS: &[&str] = &["kept_until", "incarnation"];

pub(super) fn provider(instance: &Value) -> Value {
    let own = instance.get("provider_weight").or_else(|| instance.get("weight")).cloned();
    let mut provider = picked(instance, PROVIDER_FIELDS);
    if let (Some(fields), Some(weight)) = (provider.as_object_mut(), own) {
        fields.insert("weight".to_owned(), weight);
    }
    provider
}

/// The fields that say something.
fn picked(value: &Value, names: &[&str]) -> Value {
    let says = |value: &&Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let fields = names.iter().filter_map(|name| Some(((*name).to_owned(), value.get(name).filter(says)?.clone())));
    Value::Object(fields.collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
