use compute::model::limits::{LABEL_BYTES_MAX, NAME_BYTES_MAX, WAIT_MS_MAX};
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::http::selection::{DISCOVER_LIMIT_MAX, PAGE_DEFAULT, PAGE_MAX};

/// Letters, digits and some signs, not `.` or `..`.
const NAME: &str = r"^(?!\.{1,2}$)[A-Za-z0-9._@/:$#-]+$";
/// No control characters, not `.` or `..`.
const ID: &str = r"^(?!\.{1,2}$)[^\u0000-\u001F\u007F-\u009F]+$";
/// A revision or an ETag, as it is given out: with both quotes or none.
const REVISION: &str = concat!(
    r"^(W/)?((0|[1-9][0-9]?|1[01][0-9]|12[0-7])\.[0-9]{1,12}\.[0-9]{1,4}(-[!#-~]*)?",
    r#"|"(0|[1-9][0-9]?|1[01][0-9]|12[0-7])\.[0-9]{1,12}\.[0-9]{1,4}(-[!#-~]*)?")$"#
);
pub(super) const GENERATION_PATTERN: &str = r"^(0|[1-9][0-9]?|1[01][0-9]|12[0-7])\.[0-9]{1,12}\.[0-9]{1,4}$";

pub(super) fn name_shape() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX, "pattern": NAME, "examples": ["default"] })
}

pub(super) fn id_shape() -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX, "pattern": ID, "examples": ["10.0.0.7:8080"],
    })
}

/// One parameter of the reference.
struct Described {
    name: &'static str,
    place: ParameterIn,
    is_required: bool,
    description: &'static str,
    shape: Value,
}

impl Described {
    fn path(name: &'static str, description: &'static str, shape: Value) -> Self {
        Self { name, place: ParameterIn::Path, is_required: true, description, shape }
    }

    fn query(name: &'static str, description: &'static str, shape: Value) -> Self {
        Self { name, place: ParameterIn::Query, is_required: false, description, shape }
    }

    fn header(name: &'static str, description: &'static str, shape: Value) -> Self {
        Self { name, place: ParameterIn::Header, is_required: false, description, shape }
    }

    fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    fn parsed(self) -> Parameter {
        let whole = json!({
            "name": self.name,
            "in": self.place,
            "required": self.is_required,
            "description": self.description,
            "schema": self.shape,
        });
        serde_json::from_value(whole)
            .expect("the parameters of the reference are parameters; a test parses all of them")
    }
}

/// Types that stand for a group of parameters.
macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident = $parameters:expr;)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl IntoParams for $name {
                fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                    $parameters.into_iter().map(Described::parsed).collect()
                }
            }
        )*
    };
}

fn ns() -> Described {
    Described::path("ns", "The namespace", name_shape())
}

fn service() -> Described {
    let mut shape = name_shape();
    shape["examples"] = json!(["orders"]);
    Described::path("service", "The service", shape)
}

fn namespace_in_query() -> Described {
    let mut shape = name_shape();
    shape["default"] = json!("default");
    Described::query("namespace", "The namespace", shape)
}

fn service_in_query() -> Described {
    let mut shape = name_shape();
    shape["examples"] = json!(["orders"]);
    Described::query("service", "The service", shape)
}

fn flag(name: &'static str, description: &'static str) -> Described {
    Described::query(name, description, json!({ "type": "boolean" }))
}

fn label(name: &'static str, description: &'static str) -> Described {
    Described::query(name, description, json!({ "type": "string", "maxLength": LABEL_BYTES_MAX }))
}

fn revision(name: &'static str, description: &'static str) -> Described {
    Described::query(name, description, json!({ "type": "string", "pattern": REVISION, "examples": ["0.0.0"] }))
}

fn if_none_match() -> Described {
    let description = "The ETag of an earlier answer: 304 if nothing has changed since. One of another node that is ahead is waited for, at most 500 ms";
    Described::header("If-None-Match", description, json!({ "type": "string" }))
}

fn min_revision() -> Described {
    revision("min_revision", "Wait, at most 5 s, until this node has applied it; then 503 behind")
}

fn page_limit() -> Described {
    let shape = json!({ "type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT });
    Described::query("limit", "Items of a page", shape)
}

groups! {
    InNamespace = [ns()];
    InService = [ns(), service()];
    InInstance = [ns(), service(), Described::path("id", "The instance", id_shape())];
    InNode = [Described::path("node", "The node's name or incarnation", json!({ "type": "string", "minLength": 1 }))];
    /// A service that must be named.
    OfService = [namespace_in_query(), service_in_query().required()];
    /// A service, or all of a namespace.
    OfServices = [namespace_in_query(), service_in_query()];
    /// Discover's filters; `metadata.KEY=VALUE` is added where the document is put together.
    Selection = [
        flag("usable", "Healthy, not isolated, weight above 0"),
        flag("healthy", "Healthy"),
        flag("isolated", "Isolated by an operator"),
        label("zone", "Exactly this zone"),
        label("version", "Exactly this version"),
    ];
    DiscoverLimit = [Described::query(
        "limit",
        "At most so many, the first by id",
        json!({ "type": "integer", "minimum": 1, "maximum": DISCOVER_LIMIT_MAX }),
    )];
    /// Of a read that can be waited on.
    Waiting = [
        min_revision(),
        Described::query(
            "wait_ms",
            "Hold the answer until it differs from If-None-Match, which must be given; at the end 304",
            json!({ "type": "integer", "minimum": 0, "maximum": WAIT_MS_MAX }),
        ),
        if_none_match(),
    ];
    /// Of a read that can only be conditional.
    AtOnce = [min_revision(), if_none_match()];
    Paging = [
        page_limit(),
        Described::query(
            "cursor",
            "next_cursor of the page before",
            json!({ "type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX }),
        ),
    ];
    /// Of a list whose items have no name of their own.
    PagingByCount = [
        page_limit(),
        Described::query(
            "cursor",
            "next_cursor of the page before",
            json!({ "type": "string", "pattern": "^[0-9]{1,18}$" }),
        ),
    ];
    Prefix = [Described::query(
        "prefix",
        "Only names that begin with it",
        json!({ "type": "string", "maxLength": NAME_BYTES_MAX - 1, "pattern": r"^[A-Za-z0-9._@/:$#-]*$" }),
    )];
    NamedPort = [Described::query("port", "Target the port of this name", json!({ "type": "string" }))];
    Acknowledged = [Described::query(
        "ack",
        "How far the write must have come before it is answered",
        json!({ "type": "string", "enum": ["memory", "log", "store"], "default": "log" }),
    )];
    Generation = [Described::query(
        "generation",
        "Only if the instance is still of this generation, else 412 generation_mismatch",
        json!({ "type": "string", "pattern": GENERATION_PATTERN, "examples": ["1.1.0"] }),
    )];
    IfMatch = [Described::header(
        "If-Match",
        "Only if the settings' ETag is still this, else 412; * if there is one at all",
        json!({ "type": "string" }),
    )];
    /// Where a watcher goes on.
    Resuming = [
        revision("from", "The last revision the watcher has; Last-Event-ID stands before it"),
        Described::header(
            "Last-Event-ID",
            "The id of the last event the watcher has; empty: none, as browsers say it",
            json!({ "type": "string", "pattern": format!("^$|{REVISION}") }),
        ),
        Described::header(
            "X-Thuban-Client",
            "How the watcher is shown among the service's subscribers",
            json!({ "type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX, "pattern": "^[!-~]([ -~]*[!-~])?$" }),
        ),
    ];
}
