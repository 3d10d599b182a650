use compute::model::{Check, CheckKind, Instance, Lease, Operator, Provider, Revision, ServiceKey};
use schemas::thuban::v1 as pb;

use super::{time, token};

/// An instance as every reader sees it: the words in force, and the operator's beside them.
pub(crate) fn instance(service: &ServiceKey, instance: &Instance) -> pb::Instance {
    let Instance { id, provider, health, operator, registered_at_ms, generation, revision, .. } = instance;
    pb::Instance {
        namespace: service.namespace.as_str().to_owned(),
        service: service.service.as_str().to_owned(),
        id: id.as_str().to_owned(),
        host: provider.host().to_owned(),
        port: u32::from(provider.port()),
        ports: provider.ports().map(|(name, port)| (name.to_owned(), u32::from(port))).collect(),
        protocol: provider.protocol().to_owned(),
        weight: u32::from(instance.weight()),
        version: provider.version().to_owned(),
        zone: provider.zone().to_owned(),
        region: provider.region().to_owned(),
        metadata: metadata(provider),
        lease: Some(lease(provider.lease())),
        incarnation: provider.incarnation().unwrap_or_default().to_owned(),
        healthy: health.is_healthy(),
        health_reason: health.reason.as_ref().map_or_else(String::new, |reason| reason.as_str().to_owned()),
        health_detail: health.reason.as_ref().and_then(|reason| reason.detail()).unwrap_or_default().to_owned(),
        health_since: Some(time(health.since_ms)),
        isolated: instance.is_isolated(),
        provider_weight: overruled_weight(operator.as_deref(), provider),
        operator: operator.as_deref().map(self::operator),
        registered_at: Some(time(*registered_at_ms)),
        generation: token(*generation),
        revision: token(*revision),
        overlay: *revision == Revision::ZERO,
    }
}

/// Only what names it and where it stands.
pub(crate) fn brief(service: &ServiceKey, instance: &Instance) -> pb::Instance {
    pb::Instance {
        namespace: service.namespace.as_str().to_owned(),
        service: service.service.as_str().to_owned(),
        id: instance.id.as_str().to_owned(),
        generation: token(instance.generation),
        revision: token(instance.revision),
        overlay: instance.revision == Revision::ZERO,
        ..pb::Instance::default()
    }
}

pub(crate) fn operator(operator: &Operator) -> pb::Operator {
    pb::Operator {
        isolated: operator.isolated,
        weight: operator.weight.map(u32::from),
        note: operator.note.as_deref().map(str::to_owned),
        expires_at: operator.expires_at_ms.map(time),
        // At most 7 days, which is within 32 bits.
        keep_ms: (operator.keep_ms > 0).then(|| u32::try_from(operator.keep_ms).unwrap_or(u32::MAX)),
        author: operator.author.name.as_ref().to_owned(),
        door: operator.author.door.as_ref().to_owned(),
        set_at: Some(time(operator.set_at_ms)),
        revision: token(operator.revision),
    }
}

fn overruled_weight(operator: Option<&Operator>, provider: &Provider) -> Option<u32> {
    operator.and_then(|operator| operator.weight).map(|_| u32::from(provider.weight()))
}

fn metadata(provider: &Provider) -> std::collections::BTreeMap<String, String> {
    provider.metadata().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn lease(lease: &Lease) -> pb::Lease {
    use pb::lease::Kind;
    let (kind, ttl_ms, remove_after_ms, check) = match lease {
        Lease::Ttl { ttl_ms, remove_after_ms } => (Kind::Ttl, Some(*ttl_ms), Some(*remove_after_ms), None),
        Lease::Stream { remove_after_ms, .. } => (Kind::Stream, None, Some(*remove_after_ms), None),
        Lease::Checked { check, remove_after_ms } => (Kind::Checked, None, *remove_after_ms, Some(self::check(check))),
        Lease::Permanent => (Kind::Permanent, None, None, None),
    };
    pb::Lease { kind: kind.into(), ttl_ms, remove_after_ms, check }
}

fn check(check: &Check) -> pb::Check {
    use pb::check::Probe;
    let probe = match &check.kind {
        CheckKind::Http { path } => Probe::Http(path.as_ref().to_owned()),
        CheckKind::Tcp => Probe::Tcp(true),
        CheckKind::Grpc { service } => Probe::Grpc(service.as_ref().to_owned()),
    };
    pb::Check {
        probe: Some(probe),
        interval_ms: Some(check.interval_ms),
        timeout_ms: Some(check.timeout_ms),
        failures: Some(u32::from(check.failures)),
        successes: Some(u32::from(check.successes)),
        port: check.port.map(u32::from),
    }
}
