//! What a list shows and how much of it, the same for every door.

use std::sync::Arc;

use compute::command::KeptOverride;
use compute::error::What;
use compute::model::{InstanceKey, Invalid, ServiceKey, ServiceName};
use compute::node::{Readiness, Report};
use compute::registry::{Gathered, NodeSeen, Watching};
use compute::{Error, Registry};

/// Items of a page, if the caller does not say, and at most.
pub(crate) const PAGE_DEFAULT: usize = 100;
pub(crate) const PAGE_MAX: usize = 1_000;
/// Instances that discover may be limited to.
pub(crate) const DISCOVER_LIMIT_MAX: u32 = 1_000_000;

/// Cuts what was asked for with one too many; what names the last one shown is where the next page begins.
pub(crate) fn page<T, N>(mut items: Vec<T>, limit: usize, name: impl FnOnce(&T) -> N) -> (Vec<T>, Option<N>) {
    if items.len() <= limit {
        return (items, None);
    }
    items.truncate(limit);
    let next = items.last().map(name);
    (items, next)
}

/// The start of a service's name.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), Invalid> {
    if prefix.is_empty() || ServiceName::new(&format!("x{prefix}")).is_ok() {
        return Ok(());
    }
    let allowed = "the start of a service's name: at most 254 letters, digits and . - _ @ / : $ #";
    Err(Invalid::new("prefix", prefix, allowed))
}

/// A page of what all nodes know, and the names of those that did not answer.
pub(crate) struct Spread<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
    pub(crate) unanswered: Vec<Arc<str>>,
}

/// Who watches a service through any node, by name. They have no name of their own: the cursor is how many were shown.
pub(crate) async fn subscribers(
    registry: &Registry,
    service: &ServiceKey,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Spread<Watching>, Error> {
    let wrong = |cursor| Invalid::new("cursor", cursor, "the next_cursor of the page before");
    let start: usize = cursor.map_or(Ok(0), |cursor| cursor.parse().map_err(|_| wrong(cursor)))?;
    let Gathered { items, unanswered } = registry.all_subscribers(service).await;
    if items.is_empty() {
        check_service(registry, service)?;
    }
    let rest = items.into_iter().skip(start).take(limit + 1).collect();
    let (items, next) = page(rest, limit, |_| start.saturating_add(limit).to_string());
    Ok(Spread { items, next, unanswered })
}

/// All nodes behind `cursor`, by name; two of one name, as after a quick restart, by incarnation.
pub(crate) async fn nodes(registry: &Registry, cursor: Option<&str>, limit: usize) -> Spread<NodeSeen> {
    let Gathered { items, unanswered } = registry.nodes().await;
    let (name, incarnation) = cursor.map(|cursor| cursor.split_once('/').unwrap_or((cursor, "~"))).unzip();
    let behind = name.zip(incarnation);
    let is_behind = |seen: &NodeSeen| behind.is_none_or(|behind| (&*seen.name, &*seen.node.to_string()) > behind);
    let rest = items.into_iter().filter(is_behind).take(limit + 1).collect();
    let (items, next) = page(rest, limit, |seen: &NodeSeen| format!("{}/{}", seen.name, seen.node));
    Spread { items, next, unanswered }
}

/// The word of a state, and why it is that.
pub(crate) fn state(readiness: &Readiness) -> (&'static str, Option<&str>) {
    match readiness {
        Readiness::Ready => ("ready", None),
        Readiness::NotReady(why) => ("not_ready", Some(why)),
        Readiness::Draining => ("draining", Some("it takes no new work")),
    }
}

/// The same of any node.
pub(crate) fn state_of(seen: &NodeSeen) -> (&'static str, Option<String>) {
    match &seen.report {
        Ok(report) => {
            let (state, why) = state(&report.readiness);
            (state, why.map(str::to_owned).or_else(|| troubles(report, seen.freezes.len())))
        }
        Err(error) if seen.leaving => ("draining", Some(error.to_string())),
        Err(error) => ("unknown", Some(error.to_string())),
    }
}

/// What is wrong with a node that is ready all the same, in words.
fn troubles(report: &Report, freezes: usize) -> Option<String> {
    let all = [
        report.isolated.clone(),
        report.log_away_ms.map(|ms| format!("the log has been away for {ms} ms")),
        report.store_error.as_ref().map(|why| format!("the store: {why}")),
        report.holding.as_ref().map(|why| format!("ends no lease: {why}")),
        (freezes > 0).then(|| format!("freezes: {freezes}")),
    ];
    let all: Vec<_> = all.into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The kept overrides of a service behind `after`, by id.
pub(crate) fn overrides(
    registry: &Registry,
    service: &ServiceKey,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<KeptOverride>, Option<String>), Error> {
    let all = registry.kept_overrides(service);
    if all.is_empty() {
        check_service(registry, service)?;
    }
    let rest = all.iter().filter(|kept| after.is_none_or(|after| kept.instance.id.as_str() > after));
    let rest = rest.take(limit + 1).cloned().collect();
    Ok(page(rest, limit, |kept: &KeptOverride| kept.instance.id.to_string()))
}

pub(crate) fn kept_override(registry: &Registry, key: &InstanceKey) -> Result<KeptOverride, Error> {
    let all = registry.kept_overrides(&key.service);
    let found = all.binary_search_by(|kept| kept.instance.cmp(key)).ok().map(|at| all[at].clone());
    found.ok_or_else(|| Error::not_found(What::Override, key))
}

fn check_service(registry: &Registry, service: &ServiceKey) -> Result<(), Error> {
    if registry.view(service).exists() { Ok(()) } else { Err(Error::not_found(What::Service, service)) }
}
