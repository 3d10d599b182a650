//! Looking into documents without a type for each.

use serde_json::{Map, Value};

/// The text at a place such as `/lease/kind`; empty when there is none.
pub(super) fn text(value: &Value, place: &str) -> String {
    match value.pointer(place) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Why a view has no instances, as its proof says it.
pub(super) fn emptiness(view: &Value) -> String {
    match text(view, "/empty/reason").as_str() {
        "" => "no instances".to_owned(),
        "filtered" => "no instance passes the filter".to_owned(),
        reason => {
            let at = text(view, "/empty/last_removed_at");
            format!("no instances; the last one went at {at} ({reason})")
        }
    }
}

/// Takes what is given into an object.
pub(super) struct Object(Map<String, Value>);

impl Object {
    pub(super) fn new() -> Self {
        Self(Map::new())
    }

    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub(super) fn with_some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// `key=value` of the command line.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("allowed: KEY=VALUE")?;
    if key.is_empty() { Err("allowed: KEY=VALUE".to_owned()) } else { Ok((key.to_owned(), value.to_owned())) }
}

pub(super) fn object_of(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect())
}
