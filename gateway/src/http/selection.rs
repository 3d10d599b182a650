//! Which instances a reader wants, and which page of a list.

use std::collections::BTreeMap;

use compute::model::limits::{
    LABEL_BYTES_MAX, METADATA_KEY_BYTES_MAX, METADATA_KEYS_MAX, METADATA_VALUE_BYTES_MAX, NAME_BYTES_MAX,
};
use compute::model::{Namespace, Selector, ServiceKey, ServiceName};

use super::query::Query;
use crate::error::Problem;
pub(super) use crate::listing::{DISCOVER_LIMIT_MAX, PAGE_DEFAULT, PAGE_MAX};

pub(super) fn selector(query: &mut Query<'_>) -> Result<Selector, Problem> {
    Ok(Selector {
        usable: query.flag("usable")?,
        healthy: query.flag("healthy")?,
        isolated: query.flag("isolated")?,
        zone: label(query, "zone")?,
        version: label(query, "version")?,
        metadata: metadata(query)?,
    })
}

fn label(query: &mut Query<'_>, name: &'static str) -> Result<Option<Box<str>>, Problem> {
    let Some(text) = query.text(name) else { return Ok(None) };
    if text.len() > LABEL_BYTES_MAX {
        return Err(Problem::invalid(name, &text, format!("at most {LABEL_BYTES_MAX} bytes")));
    }
    Ok(Some(text.as_ref().into()))
}

fn metadata(query: &mut Query<'_>) -> Result<BTreeMap<Box<str>, Box<str>>, Problem> {
    let wanted = query.prefixed("metadata.", "metadata.KEY");
    if wanted.len() > METADATA_KEYS_MAX {
        return Err(Problem::invalid("metadata", wanted.len(), format!("at most {METADATA_KEYS_MAX} keys")));
    }
    let checked = |(key, value): (String, String)| {
        if !(1..=METADATA_KEY_BYTES_MAX).contains(&key.len()) {
            let allowed = format!("metadata.KEY with a KEY of 1 to {METADATA_KEY_BYTES_MAX} bytes");
            return Err(Problem::invalid("metadata", &key, allowed));
        }
        if value.len() > METADATA_VALUE_BYTES_MAX {
            let allowed = format!("at most {METADATA_VALUE_BYTES_MAX} bytes");
            return Err(Problem::invalid(format!("metadata.{}", super::json::shown(&key)), &value, allowed));
        }
        Ok((key.into(), value.into()))
    };
    wanted.into_iter().map(checked).collect()
}

/// The namespace that a query names: `default` if it names none.
pub(super) fn namespace(query: &mut Query<'_>) -> Result<Namespace, Problem> {
    match query.text("namespace") {
        Some(text) => Ok(Namespace::new(&text)?),
        None => Ok(Namespace::default_namespace()),
    }
}

/// The service that a query names.
pub(super) fn service(query: &mut Query<'_>) -> Result<Option<ServiceKey>, Problem> {
    let namespace = namespace(query)?;
    let Some(text) = query.text("service") else { return Ok(None) };
    Ok(Some(ServiceKey { namespace, service: ServiceName::new(&text)? }))
}

/// Which part of a list is asked for.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) limit: usize,
    /// The last item of the page before.
    pub(super) after: Option<String>,
}

impl Page {
    pub(super) fn of(query: &mut Query<'_>) -> Result<Self, Problem> {
        let limit = query.whole("limit", 1, PAGE_MAX as u64)?.map_or(PAGE_DEFAULT, |limit| limit as usize);
        let after = query.text("cursor");
        if let Some(after) = after.as_deref().filter(|after| !(1..=NAME_BYTES_MAX).contains(&after.len())) {
            return Err(Problem::invalid("cursor", after, "the next_cursor of the page before"));
        }
        Ok(Self { limit, after: after.map(|after| after.into_owned()) })
    }
}
