//! The shapes that the reference describes, made of the limits that the model checks.
//!
//! These types stand for a shape and hold nothing: answers are written by [`encode`](super::encode) and requests read
//! by [`json`](super::json). That both agree with what is described here is checked by the integration tests, which
//! hold every answer they get against the reference.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

mod answers;
mod parameters;
mod refusals;
mod requests;
#[cfg(test)]
mod tests;

pub(super) use answers::{
    Accepted, BatchOutcome, Discovered, Drained, EventStream, Instance, Namespace, Namespaces, Nodes, Override,
    Overrides, Released, Service, Services, Status, Subscribers, TargetGroups,
};
pub(super) use parameters::{
    Acknowledged, AtOnce, DiscoverLimit, Generation, IfMatch, InInstance, InNamespace, InNode, InService, NamedPort,
    OfService, OfServices, Paging, PagingByCount, Prefix, Resuming, Selection, Waiting,
};
pub(super) use refusals::{NotModified, OpenRefusals, ReadRefusals, Unready, WriteRefusals};
pub(super) use requests::{
    BatchOfKeys, BatchRegistration, Condition, KeptWord, NamespaceSettings, OperatorPatch, Registration, ServicePatch,
    ServiceSettings,
};

/// Types that stand for a shape, by its name.
macro_rules! define_shapes {
    ($($(#[$doc:meta])* $name:ident = $shape:expr;)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl utoipa::PartialSchema for $name {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                    $crate::http::schema::parsed($shape)
                }
            }

            impl utoipa::ToSchema for $name {
                fn name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }
            }
        )*

        /// All of this file, by name.
        pub(super) fn shapes() -> Vec<(&'static str, serde_json::Value)> {
            vec![$((stringify!($name), $shape),)*]
        }
    };
}
use define_shapes;

/// Every shape, as the reference has it.
pub(super) fn all() -> BTreeMap<String, Value> {
    let every = answers::shapes().into_iter().chain(requests::shapes()).chain(parts());
    every.map(|(name, shape)| (name.to_owned(), shape)).collect()
}

/// Shapes that are only used inside others.
fn parts() -> Vec<(&'static str, Value)> {
    [answers::parts(), requests::parts()].into_iter().flatten().collect()
}

fn parsed(shape: Value) -> RefOr<Schema> {
    serde_json::from_value(shape).expect("the shapes of the reference are schemas; a test parses all of them")
}

/// Whatever another shape says.
fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// An object with exactly these properties.
fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

/// A list with a cursor, as all lists are.
fn page_of(item: &str) -> Value {
    object(&["items", "next_cursor"], page_properties(item))
}

fn page_properties(item: &str) -> Value {
    json!({
        "items": { "type": "array", "items": reference(item), "maxItems": super::selection::PAGE_MAX },
        "next_cursor": { "type": ["string", "null"], "description": "For the next page; null on the last one" },
    })
}

/// The same of what all nodes were asked for.
fn spread_of(item: &str) -> Value {
    let mut properties = page_properties(item);
    properties["unanswered"] = json!({
        "type": "array", "items": { "type": "string" },
        "description": "Names of the nodes that did not answer within 500 ms: what they alone know is missing",
    });
    object(&["items", "next_cursor", "unanswered"], properties)
}
