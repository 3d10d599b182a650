//! Service discovery for Prometheus (`http_sd_configs`).

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use compute::model::{Instance, Namespace, Selector, ServiceKey};
use http::{Request, StatusCode};

use super::answer::Basis;
use super::condition::Reading;
use super::encode::Json;
use super::gate::Call;
use super::query::Query;
use super::schema::{self, ReadRefusals};
use super::{App, selection};
use crate::admission::Verb;
use crate::error::{Code, Problem};

#[cfg(test)]
mod tests;

/// Most targets of one answer.
pub(super) const TARGETS_MAX: usize = 100_000;
/// Services of a namespace that are looked at without letting others run.
const SERVICES_AT_ONCE: usize = 256;

/// Targets for Prometheus
///
/// One group for each instance, the isolated and the unhealthy too unless a filter says otherwise. Every word of an
/// instance is a label that begins with `__meta_thuban_`.
#[utoipa::path(
    get, path = "/v1/sd/prometheus", operation_id = "prometheus_sd", tag = "discovery",
    params(schema::OfServices, schema::Selection, schema::NamedPort, schema::AtOnce),
    responses((status = 200, description = "Target groups", body = schema::TargetGroups), schema::NotModified, ReadRefusals)
)]
pub(super) async fn prometheus_sd(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut call = Call::of(&mut parts)?;
    let mut query = Query::read(parts.uri.query())?;
    let namespace = selection::namespace(&mut query)?;
    let service = query.text("service").map(|name| ServiceKey::new(namespace.as_str(), &name)).transpose()?;
    let selector = selection::selector(&mut query)?;
    let port = query.text("port").map(|port| port.into_owned());
    let reading = Reading::at_once(&mut query, &parts.headers)?;
    query.finish()?;
    call.may(Verb::Read, &namespace)?;
    reading.reach(&app, &mut call).await?;
    let mut targets = Targets { json: Json::with_capacity(4_096), port, selector, count: 0, overlay: 0 };
    targets.json.raw(b"[");
    match service {
        Some(service) => targets.add(&app, &service)?,
        None => {
            if let Err(problem) = targets.add_all(&app, &namespace).await {
                let is_unknown = problem.code() == Code::NamespaceNotFound;
                return if is_unknown { Ok(Basis::nothing().absent(problem)) } else { Err(problem) };
            }
        }
    }
    targets.json.raw(b"]");
    let body = targets.json.into_bytes();
    let basis = Basis::of_content(&app, &body, targets.overlay);
    Ok(if reading.has(&basis) { basis.not_modified() } else { basis.json(StatusCode::OK, body) })
}

struct Targets {
    json: Json,
    port: Option<String>,
    selector: Selector,
    count: usize,
    /// Changes in it that are not in the log yet.
    overlay: usize,
}

impl Targets {
    async fn add_all(&mut self, app: &App, namespace: &Namespace) -> Result<(), Problem> {
        let mut after: Option<String> = None;
        loop {
            let some = app.registry.services(namespace, "", after.as_deref(), SERVICES_AT_ONCE)?;
            for service in &some {
                self.add(app, &ServiceKey { namespace: namespace.clone(), service: service.clone() })?;
            }
            if some.len() < SERVICES_AT_ONCE {
                return Ok(());
            }
            after = some.last().map(|service| service.as_str().to_owned());
            tokio::task::yield_now().await;
        }
    }

    fn add(&mut self, app: &App, service: &ServiceKey) -> Result<(), Problem> {
        let view = app.registry.selected(service, &self.selector);
        self.overlay += view.overlay as usize;
        for instance in view.instances.iter() {
            let Some(port) = self.port_of(instance) else { continue };
            self.count += 1;
            if self.count > TARGETS_MAX {
                let allowed = format!("at most {TARGETS_MAX} targets in one answer: name a service, or filter");
                return Err(Problem::invalid("service", format!("more than {TARGETS_MAX} targets"), allowed));
            }
            self.json.element(|json| json.object(|json| group(json, service, instance, port)));
        }
        Ok(())
    }

    /// The instance's own port, or the one of the name that was asked for.
    fn port_of(&self, instance: &Instance) -> Option<u16> {
        match &self.port {
            None => Some(instance.provider.port()),
            Some(wanted) => instance.provider.ports().find(|(name, _)| name == wanted).map(|(_, port)| port),
        }
    }
}

fn group(json: &mut Json, service: &ServiceKey, instance: &Instance, port: u16) {
    json.list("targets", |json| json.element(|json| json.value(&target(instance.provider.host(), port))));
    json.key("labels");
    json.object(|json| labels(json, service, instance));
}

fn target(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn labels(json: &mut Json, service: &ServiceKey, instance: &Instance) {
    let provider = &instance.provider;
    let yes_or_no = |is: bool| if is { "true" } else { "false" };
    let known = [
        ("namespace", service.namespace.as_str()),
        ("service", service.service.as_str()),
        ("id", instance.id.as_str()),
        ("protocol", provider.protocol()),
        ("version", provider.version()),
        ("zone", provider.zone()),
        ("region", provider.region()),
        ("healthy", yes_or_no(instance.is_healthy())),
        ("isolated", yes_or_no(instance.is_isolated())),
    ];
    for (name, value) in known {
        json.text(&format!("__meta_thuban_{name}"), value);
    }
    json.text("__meta_thuban_weight", &instance.weight().to_string());
    let mut seen = Vec::new();
    for (name, port) in provider.ports() {
        own_label(json, &mut seen, "port", name, &port.to_string());
    }
    for (key, value) in provider.metadata() {
        own_label(json, &mut seen, "metadata", key, value);
    }
}

/// A label whose name the provider chose. Two that become the same are one: the first.
fn own_label(json: &mut Json, seen: &mut Vec<String>, kind: &str, name: &str, value: &str) {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let label = format!("__meta_thuban_{kind}_{}", name.chars().map(fit).collect::<String>());
    if !seen.contains(&label) {
        json.text(&label, value);
        seen.push(label);
    }
}
