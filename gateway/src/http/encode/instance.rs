use compute::model::{Check, CheckKind, Instance, Lease, Operator, ServiceKey};

use super::Json;

/// One instance: what the provider registered, what the checker found, what an operator set, and where it stands.
pub(crate) fn instance(json: &mut Json, service: &ServiceKey, instance: &Instance) {
    json.object(|json| instance_fields(json, service, instance));
}

/// The same without the braces, for answers that say more.
pub(crate) fn instance_fields(json: &mut Json, service: &ServiceKey, instance: &Instance) {
    let provider = &instance.provider;
    json.text("namespace", service.namespace.as_str());
    json.text("service", service.service.as_str());
    json.text("id", instance.id.as_str());
    json.text("host", provider.host());
    json.number("port", u64::from(provider.port()));
    json.key("ports");
    json.object(|json| provider.ports().for_each(|(name, port)| json.number(name, u64::from(port))));
    json.text("protocol", provider.protocol());
    json.number("weight", u64::from(instance.weight()));
    json.text("version", provider.version());
    json.text("zone", provider.zone());
    json.text("region", provider.region());
    json.key("metadata");
    json.object(|json| provider.metadata().for_each(|(key, value)| json.text(key, value)));
    json.key("lease");
    json.object(|json| lease_fields(json, instance.lease()));
    if let Some(incarnation) = provider.incarnation() {
        json.text("incarnation", incarnation);
    }
    health_fields(json, instance);
    json.flag("isolated", instance.is_isolated());
    json.key("operator");
    operator(json, instance.operator.as_deref());
    if instance.weight() != provider.weight() {
        json.number("provider_weight", u64::from(provider.weight()));
    }
    json.time("registered_at", instance.registered_at_ms);
    json.revision("generation", instance.generation);
    json.revision("revision", instance.revision);
}

fn health_fields(json: &mut Json, instance: &Instance) {
    let health = &instance.health;
    json.flag("healthy", health.is_healthy());
    json.nullable("health_reason", health.reason.as_ref().map(|reason| reason.as_str()));
    if let Some(detail) = health.reason.as_ref().and_then(|reason| reason.detail()) {
        json.text("health_detail", detail);
    }
    if health.since_ms != instance.registered_at_ms {
        json.time("health_changed_at", health.since_ms);
    }
}

fn lease_fields(json: &mut Json, lease: &Lease) {
    json.text("kind", lease.kind().as_str());
    if let Lease::Ttl { ttl_ms, .. } = lease {
        json.number("ttl_ms", u64::from(*ttl_ms));
    }
    if let Some(after) = lease.remove_after() {
        json.number("remove_after_ms", after.as_millis() as u64);
    }
    if let Lease::Checked { check, .. } = lease {
        json.key("check");
        json.object(|json| check_fields(json, check));
    }
}

fn check_fields(json: &mut Json, check: &Check) {
    match &check.kind {
        CheckKind::Http { path } => json.text("http", path),
        CheckKind::Tcp => json.flag("tcp", true),
        CheckKind::Grpc { service } => json.text("grpc", service),
    }
    if let Some(port) = check.port {
        json.number("port", u64::from(port));
    }
    json.number("interval_ms", u64::from(check.interval_ms));
    json.number("timeout_ms", u64::from(check.timeout_ms));
    json.number("failures", u64::from(check.failures));
    json.number("successes", u64::from(check.successes));
}

/// What an operator set; `{}` when nothing is.
pub(crate) fn operator(json: &mut Json, operator: Option<&Operator>) {
    json.object(|json| {
        let Some(operator) = operator else { return };
        if let Some(isolated) = operator.isolated {
            json.flag("isolated", isolated);
        }
        if let Some(weight) = operator.weight {
            json.number("weight", u64::from(weight));
        }
        if let Some(note) = &operator.note {
            json.text("note", note);
        }
        if let Some(at) = operator.expires_at_ms {
            json.time("expires_at", at);
        }
        json.number("keep_ms", operator.keep_ms);
        json.text("author", &operator.author.name);
        json.time("updated_at", operator.set_at_ms);
    });
}
