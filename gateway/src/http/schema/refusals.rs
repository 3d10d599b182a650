use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

/// Types that stand for a group of responses.
macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident = $responses:expr;)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    $responses.into_iter().map(|(status, value)| (status.to_owned(), parsed(value))).collect()
                }
            }
        )*
    };
}

fn parsed(response: Value) -> RefOr<Response> {
    serde_json::from_value(response).expect("the responses of the reference are responses; a test parses all of them")
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

const READ: &[(&str, &str)] = &[
    ("400", "A value is not allowed: field, value and what is allowed"),
    ("401", "No valid token"),
    ("403", "The token does not allow it, or the host is called by a name that is not its own"),
    ("404", "It is not there; that of an unknown service has an ETag and can be waited on"),
    ("415", "The request says that it is encoded"),
    ("429", "The token has used up its requests for now"),
    ("503", "Not ready, behind, or a limit is reached; Retry-After says when to come back"),
];

const WRITE: &[(&str, &str)] = &[
    ("400", "A value is not allowed: field, value and what is allowed"),
    ("401", "No valid token"),
    ("403", "The token does not allow it, a page of another origin asks, or the host is called by a name not its own"),
    ("404", "It is not there"),
    ("408", "The body did not arrive in time"),
    ("409", "The state, or the kind of lease, does not allow it"),
    ("412", "Registered again since, or another condition does not hold"),
    ("413", "The body is too large"),
    ("415", "The body is not JSON, does not say that it is, or is encoded"),
    ("429", "The token has used up its requests for now"),
    ("503", "Not ready, behind, or a limit is reached; Retry-After says when to come back"),
    ("504", "It is not known whether it was written: repeat it"),
];

const OPEN: &[(&str, &str)] = &[
    ("400", "A value is not allowed: field, value and what is allowed"),
    ("415", "The request says that it is encoded"),
];

fn problems(described: &'static [(&'static str, &'static str)]) -> Vec<(&'static str, Value)> {
    described.iter().map(|(status, description)| (*status, problem(description))).collect()
}

groups! {
    ReadRefusals = problems(READ);
    WriteRefusals = problems(WRITE);
    OpenRefusals = problems(OPEN);
    NotModified = [("304", json!({ "description": "Nothing that the reader does not have" }))];
    Unready = [("503", problem("It may not: the reason"))];
}
