//! Holds answers against the reference: every status, media type and body that the door gives must be described there.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tower::ServiceExt;

use crate::http_world::Reply;

pub(crate) struct Reference {
    document: Value,
}

/// One operation of the reference.
pub(crate) struct Operation<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) details: &'a Value,
}

impl Operation<'_> {
    /// The names of its parameters at one place.
    pub(crate) fn parameters(&self, place: &str) -> BTreeSet<String> {
        let all = self.details["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let there = all.iter().filter(|parameter| parameter["in"] == place);
        there.filter_map(|parameter| parameter["name"].as_str()).map(str::to_owned).collect()
    }

    /// The path with a name that is fit for every segment.
    pub(crate) fn example_path(&self) -> String {
        let known = [("{ns}", "default"), ("{service}", "orders"), ("{id}", "a"), ("{node}", "thuban")];
        known.iter().fold(self.path.to_owned(), |path, (name, value)| path.replace(name, value))
    }
}

impl Reference {
    pub(crate) async fn of(router: &Router) -> Self {
        let request = Request::get("/openapi.json").header("host", "localhost").body(Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("routers never fail");
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        Self { document: serde_json::from_slice(&body).expect("JSON") }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    pub(crate) fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.document["paths"].as_object().expect("paths");
        let mut all = Vec::new();
        for (path, item) in paths {
            for (method, details) in item.as_object().expect("operations") {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
                all.push(Operation { method, path, details });
            }
        }
        all
    }

    /// Fails unless the reference says that this may be the answer.
    pub(crate) fn check(&self, method: &Method, uri: &str, reply: &Reply) {
        let path = uri.split('?').next().unwrap_or_default();
        if reply.status.as_u16() == 405 {
            assert!(!reply.header("allow").is_empty(), "405 says what is allowed: {reply:?}");
            assert_eq!(reply.problem().1, "method_not_allowed");
            return;
        }
        let Some(operation) = self.find(method, path) else { return };
        let context = format!("{method} {uri}: {} {}", reply.status, reply.text());
        let response = &operation["responses"][reply.status.as_str()];
        assert!(response.is_object(), "a status that the reference does not have: {context}");
        let Some(content) = response["content"].as_object() else {
            assert!(reply.body.is_empty(), "a body that the reference does not have: {context}");
            return;
        };
        let kind = reply.header("content-type").split(';').next().unwrap_or_default();
        let Some(described) = content.get(kind) else {
            panic!("a media type that the reference does not have: {context}")
        };
        if kind.ends_with("json")
            && let Err(wrong) = self.valid(&reply.json(), &described["schema"], "")
        {
            panic!("{wrong}: {context}");
        }
        if reply.status.is_success() && kind == "application/json" && response["headers"]["ETag"].is_object() {
            let from_state = !reply.header("etag").is_empty() || reply.status == StatusCode::ACCEPTED;
            let is_of_items = path.starts_with("/v1/batch/") || method == Method::POST;
            assert!(from_state || is_of_items, "no ETag: {context}");
        }
    }

    fn find(&self, method: &Method, path: &str) -> Option<&Value> {
        let fits = |template: &str| {
            let (wanted, given) = (template.split('/'), path.split('/'));
            wanted.clone().count() == given.clone().count()
                && wanted.zip(given).all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
        };
        let (_, item) = self.document["paths"].as_object()?.iter().find(|(template, _)| fits(template))?;
        item.get(method.as_str().to_lowercase())
    }

    /// As much of JSON Schema as the reference uses.
    pub(crate) fn valid(&self, value: &Value, schema: &Value, at: &str) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str() {
            let shape = self.document.pointer(name.trim_start_matches('#'));
            return self.valid(value, shape.unwrap_or_else(|| panic!("no shape {name}")), at);
        }
        if let Some(any) = schema["anyOf"].as_array() {
            let fit = any.iter().any(|one| self.valid(value, one, at).is_ok());
            return if fit { Ok(()) } else { Err(format!("{at}: {value} fits none of {any:?}")) };
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fitting = choices.iter().filter(|one| self.valid(value, one, at).is_ok()).count();
            return if fitting == 1 { Ok(()) } else { Err(format!("{at}: {value} fits {fitting} of {choices:?}")) };
        }
        kind_fits(value, &schema["type"])
            .then_some(())
            .ok_or_else(|| format!("{at}: {value} is no {}", schema["type"]))?;
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            return Err(format!("{at}: {value} is none of {allowed:?}"));
        }
        match value {
            Value::Object(fields) => self.valid_object(fields, schema, at),
            Value::Array(items) => {
                let mut each = items.iter().enumerate();
                each.try_for_each(|(index, item)| self.valid(item, &schema["items"], &format!("{at}[{index}]")))
            }
            Value::String(text) => valid_text(text, schema, at),
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                let above = schema["minimum"].as_f64().is_none_or(|min| number >= min);
                let below = schema["maximum"].as_f64().is_none_or(|max| number <= max);
                if above && below { Ok(()) } else { Err(format!("{at}: {number} is out of range")) }
            }
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn valid_object(&self, fields: &Map<String, Value>, schema: &Value, at: &str) -> Result<(), String> {
        for name in schema["required"].as_array().map_or(&[][..], Vec::as_slice) {
            if !fields.contains_key(name.as_str().unwrap_or_default()) {
                return Err(format!("{at}: {name} is missing"));
            }
        }
        for (name, value) in fields {
            let inner = format!("{at}.{name}");
            let additional = &schema["additionalProperties"];
            match schema["properties"].get(name) {
                Some(property) => self.valid(value, property, &inner)?,
                None if additional.is_object() => self.valid(value, additional, &inner)?,
                None if additional == &Value::Bool(false) => return Err(format!("{inner} is not described")),
                None => {}
            }
        }
        Ok(())
    }
}

fn kind_fits(value: &Value, kind: &Value) -> bool {
    match kind {
        Value::Array(any) => any.iter().any(|one| kind_fits(value, one)),
        Value::String(kind) => match kind.as_str() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "null" => value.is_null(),
            other => panic!("an unknown type {other}"),
        },
        _ => true,
    }
}

fn valid_text(text: &str, schema: &Value, at: &str) -> Result<(), String> {
    let long_enough = schema["minLength"].as_u64().is_none_or(|min| text.chars().count() as u64 >= min);
    let short_enough = schema["maxLength"].as_u64().is_none_or(|max| text.chars().count() as u64 <= max);
    let is_time = text.len() == 24 && text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    let formatted = schema["format"] != "date-time" || is_time;
    if long_enough && short_enough && formatted { Ok(()) } else { Err(format!("{at}: \"{text}\" does not fit")) }
}
