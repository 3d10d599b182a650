//! What a provider says of itself, read strictly.

use compute::model::limits::{
    CHECK_FAILURES_DEFAULT, CHECK_INTERVAL_MS_DEFAULT, CHECK_SUCCESSES_DEFAULT, CHECK_TIMEOUT_MS_DEFAULT,
    REMOVE_AFTER_MS_DEFAULT, TTL_MS_DEFAULT, WEIGHT_DEFAULT,
};
use compute::model::{Check, CheckKind, InstanceKey, Lease, Provider, ProviderSpec, ServiceKey};

use super::json::{self, Object};
use crate::error::Problem;

#[cfg(test)]
mod tests;

const HOST_ALLOWED: &str = "a DNS name or an IP address of 1 to 253 bytes";
const PORT_ALLOWED: &str = "a whole number, 0 to 65535";

/// The provider's fields of a body or an item; whatever else is in it is left to the caller.
pub(super) fn provider(object: &mut Object<'_>) -> Result<Provider, Problem> {
    let host = object.text("host")?.ok_or_else(|| Problem::missing("host", HOST_ALLOWED))?;
    let port = object.whole("port")?.ok_or_else(|| Problem::missing("port", PORT_ALLOWED))?;
    let ports = match object.object("ports")? {
        Some(ports) => ports.every(PORT_ALLOWED, json::whole)?,
        None => Default::default(),
    };
    let spec = ProviderSpec {
        host,
        port,
        ports,
        protocol: object.text("protocol")?.unwrap_or_default(),
        weight: object.whole("weight")?.unwrap_or(u64::from(WEIGHT_DEFAULT)),
        version: object.text("version")?.unwrap_or_default(),
        zone: object.text("zone")?.unwrap_or_default(),
        region: object.text("region")?.unwrap_or_default(),
        metadata: metadata(object)?.unwrap_or_default(),
        lease: object.object("lease")?.map_or(Ok(Lease::DEFAULT), lease)?,
        incarnation: object.text("incarnation")?,
    };
    Ok(Provider::new(&spec)?)
}

/// `metadata`: an object of strings.
pub(super) fn metadata(object: &mut Object<'_>) -> Result<Option<std::collections::BTreeMap<String, String>>, Problem> {
    let Some(metadata) = object.object("metadata")? else { return Ok(None) };
    metadata.every("a string", json::text).map(Some)
}

/// The names of an item that names its instance itself. `host:port` is the id of one that says none.
pub(super) fn key_of_item(object: &mut Object<'_>, id_default: Option<String>) -> Result<InstanceKey, Problem> {
    let namespace = object.text("namespace")?.unwrap_or_else(|| "default".to_owned());
    let service = object.text("service")?.ok_or_else(|| Problem::missing("service", "the name of a service"))?;
    let id = object.text("id")?.or(id_default).ok_or_else(|| Problem::missing("id", "the id of an instance"))?;
    let service = ServiceKey::new(&namespace, &service)?;
    Ok(InstanceKey { id: compute::model::InstanceId::new(&id)?, service })
}

const KINDS: &str = "ttl, checked, permanent (stream only inside a gRPC Session)";

fn lease(mut object: Object<'_>) -> Result<Lease, Problem> {
    let kind = object.text("kind")?;
    let lease = match kind.as_deref().unwrap_or("ttl") {
        "ttl" => {
            object.absent("check", "nothing: only a lease of kind checked has a check")?;
            let ttl_ms = object.whole("ttl_ms")?.unwrap_or(u64::from(TTL_MS_DEFAULT));
            let remove_after_ms = object.whole("remove_after_ms")?.unwrap_or(u64::from(REMOVE_AFTER_MS_DEFAULT));
            Lease::ttl(ttl_ms, remove_after_ms)?
        }
        "checked" => {
            object.absent("ttl_ms", "nothing: only a lease of kind ttl has a TTL")?;
            let remove_after_ms = object.whole("remove_after_ms")?;
            let Some(given) = object.object("check")? else {
                return Err(Problem::missing("lease.check", "an object with http, tcp or grpc"));
            };
            Lease::checked(check(given)?, remove_after_ms)?
        }
        "permanent" => {
            object.absent("ttl_ms", "nothing: a permanent lease does not end")?;
            object.absent("remove_after_ms", "nothing: a permanent lease does not end")?;
            object.absent("check", "nothing: only a lease of kind checked has a check")?;
            Lease::Permanent
        }
        other => return Err(Problem::invalid("lease.kind", other, KINDS)),
    };
    object.finish()?;
    Ok(lease)
}

fn check(mut object: Object<'_>) -> Result<Check, Problem> {
    let kind = check_kind(&mut object)?;
    let port = match object.whole("port")? {
        None => None,
        Some(port) => {
            let port = u16::try_from(port).ok().filter(|port| *port > 0);
            Some(port.ok_or_else(|| Problem::invalid("lease.check.port", "out of range", "1 to 65535"))?)
        }
    };
    let check = Check::new(
        kind,
        object.whole("interval_ms")?.unwrap_or(u64::from(CHECK_INTERVAL_MS_DEFAULT)),
        object.whole("timeout_ms")?.unwrap_or(u64::from(CHECK_TIMEOUT_MS_DEFAULT)),
        object.whole("failures")?.unwrap_or(u64::from(CHECK_FAILURES_DEFAULT)),
        object.whole("successes")?.unwrap_or(u64::from(CHECK_SUCCESSES_DEFAULT)),
        port,
    )?;
    object.finish()?;
    Ok(check)
}

fn check_kind(object: &mut Object<'_>) -> Result<CheckKind, Problem> {
    let given = ["http", "tcp", "grpc"].into_iter().filter(|name| object.has(name)).count();
    if given != 1 {
        return Err(Problem::invalid("lease.check", format!("{given} of http, tcp, grpc"), "exactly one of them"));
    }
    if let Some(path) = object.text("http")? {
        return Ok(CheckKind::http(&path)?);
    }
    if let Some(service) = object.text("grpc")? {
        return Ok(CheckKind::grpc(&service)?);
    }
    match object.flag("tcp")? {
        Some(true) => Ok(CheckKind::Tcp),
        _ => Err(Problem::invalid("lease.check.tcp", "false", "true, or http or grpc in its place")),
    }
}
