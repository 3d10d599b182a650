use std::collections::BTreeSet;

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::all;

#[test]
fn every_shape_is_a_schema_and_loses_nothing() {
    for (name, shape) in all() {
        let parsed: RefOr<Schema> = serde_json::from_value(shape.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(normal(serde_json::to_value(&parsed).unwrap()), normal(shape), "{name}");
    }
}

/// Without what says nothing: an empty list of required properties.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(key, value)| key != "required" || value.as_array().is_none_or(|list| !list.is_empty()))
            .map(|(key, value)| (key, normal(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(normal).collect(),
        Value::Number(number) => number.as_f64().into(),
        other => other,
    }
}

#[test]
fn every_reference_has_its_shape() {
    let shapes = all();
    let text = serde_json::to_string(&shapes).unwrap();
    let named: BTreeSet<_> = text
        .split("#/components/schemas/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
        .collect();
    assert!(named.len() > 10);
    for name in named {
        assert!(shapes.contains_key(&name), "{name}");
    }
}
