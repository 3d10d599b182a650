//! What a list shows and how much of it, the same for every door.

use compute::command::KeptOverride;
use compute::error::What;
use compute::model::{InstanceKey, Invalid, ServiceKey, ServiceName};
use compute::watch::Subscription;
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

/// Who watches a service, by name. They have no name of their own: the cursor is how many were shown.
pub(crate) fn subscribers(
    registry: &Registry,
    service: &ServiceKey,
    cursor: Option<&str>,
    limit: usize,
) -> Result<(Vec<Subscription>, Option<String>), Error> {
    let wrong = |cursor| Invalid::new("cursor", cursor, "the next_cursor of the page before");
    let start: usize = cursor.map_or(Ok(0), |cursor| cursor.parse().map_err(|_| wrong(cursor)))?;
    let mut all = registry.subscribers(service);
    if all.is_empty() {
        check_service(registry, service)?;
    }
    all.sort_by(|one, other| {
        let place = |of: &Subscription| (of.subscriber.name.clone(), of.subscriber.address);
        place(one).cmp(&place(other))
    });
    let rest = all.into_iter().skip(start).take(limit + 1).collect();
    Ok(page(rest, limit, |_| start.saturating_add(limit).to_string()))
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
