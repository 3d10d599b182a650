//! The names in a request's path.

use axum::RequestPartsExt;
use axum::extract::RawPathParams;
use compute::model::{InstanceId, InstanceKey, Namespace, ServiceKey, ServiceName};
use http::request::Parts;

use super::query::escapes_are_whole;
use crate::error::Problem;

/// The decoded segments that a route names.
pub(super) struct Place(RawPathParams);

const ALLOWED: &str = "percent-encoded UTF-8";

impl Place {
    pub(super) async fn of(parts: &mut Parts) -> Result<Self, Problem> {
        if !escapes_are_whole(parts.uri.path()) {
            return Err(Problem::invalid("path", parts.uri.path(), ALLOWED));
        }
        let named = parts.extract::<RawPathParams>().await;
        named.map(Self).map_err(|rejection| {
            // Its words are: Invalid UTF-8 in `service`
            let field = rejection.body_text().split('`').nth(1).map_or("path", spelled_out).to_owned();
            Problem::invalid(field, parts.uri.path(), ALLOWED)
        })
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    pub(super) fn namespace(&self) -> Result<Namespace, Problem> {
        Ok(Namespace::new(self.get("ns"))?)
    }

    pub(super) fn service(&self) -> Result<ServiceKey, Problem> {
        Ok(ServiceKey { namespace: self.namespace()?, service: ServiceName::new(self.get("service"))? })
    }

    pub(super) fn instance(&self) -> Result<InstanceKey, Problem> {
        Ok(InstanceKey { service: self.service()?, id: InstanceId::new(self.get("id"))? })
    }
}

/// The name of a segment as errors have it.
fn spelled_out(segment: &str) -> &str {
    if segment == "ns" { "namespace" } else { segment }
}
