//! Messages of `thuban.v1` to the domain's words and back, by hand. No I/O, no state.
//!
//! What comes in is checked by the constructors of the model, so the limits and the words of a complaint are those of
//! every other door; here is only what the schema itself leaves open: what is required, what is a default, and which
//! fields exclude each other.

mod instance;
mod registration;
mod selection;
mod watch;

use std::sync::LazyLock;
use std::time::Duration;

use compute::command::{Ack, Reached};
use compute::model::limits::WAIT_MS_MAX;
use compute::model::{Namespace, Revision, ServiceKey, ServiceName};
use prost_types::Timestamp;
use schemas::thuban::v1 as pb;

pub(super) use instance::{brief, instance, operator};
pub(super) use registration::{
    Key, Registration, deregister_outcome, instance_key, register_outcome, registration, removal_reason, renew_outcome,
};
pub(super) use selection::{discover_reply, empty, selector};
pub(super) use watch::{compacted, delta, nothing, progress, scope, snapshot_parts};

use crate::error::Problem;

/// The namespace of whoever names none.
static DEFAULT: LazyLock<Namespace> = LazyLock::new(Namespace::default_namespace);

pub(super) fn namespace(name: &str) -> Result<Namespace, Problem> {
    if name.is_empty() || name == DEFAULT.as_str() { Ok(DEFAULT.clone()) } else { Ok(Namespace::new(name)?) }
}

pub(super) fn service(namespace: &str, service: &str) -> Result<ServiceKey, Problem> {
    if service.is_empty() {
        return Err(Problem::missing("service", "1 to 255 bytes"));
    }
    Ok(ServiceKey { namespace: self::namespace(namespace)?, service: ServiceName::new(service)? })
}

/// A revision that a caller hands back, in the field of that name.
pub(super) fn revision(field: &'static str, text: Option<&str>) -> Result<Option<Revision>, Problem> {
    let parsed = text.map(str::parse::<Revision>).transpose();
    parsed.map_err(|wrong| Problem::invalid(field, wrong.value, wrong.allowed))
}

/// A revision as callers see it: empty while only an overlay knows what it is of.
pub(super) fn token(revision: Revision) -> String {
    if revision == Revision::ZERO { String::new() } else { revision.to_string() }
}

pub(super) fn time(ms: u64) -> Timestamp {
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    // Below a thousand million.
    Timestamp { seconds, nanos: (ms % 1_000) as i32 * 1_000_000 }
}

/// A time that a caller names, in the field of that name.
pub(super) fn time_ms(field: &'static str, at: &Timestamp) -> Result<u64, Problem> {
    let wrong = || {
        let shown = format!("{} s and {} ns", at.seconds, at.nanos);
        Problem::invalid(field, shown, "a time from 1970 to 9999")
    };
    if !(0..=253_402_300_799).contains(&at.seconds) || !(0..1_000_000_000).contains(&at.nanos) {
        return Err(wrong());
    }
    let seconds = u64::try_from(at.seconds).map_err(|_| wrong())?;
    let nanos = u64::try_from(at.nanos).map_err(|_| wrong())?;
    Ok(seconds * 1_000 + nanos / 1_000_000)
}

/// For how long a read may be held back.
pub(super) fn wait(wait_ms: u32, is_conditional: bool) -> Result<Duration, Problem> {
    let wait_ms = u64::from(wait_ms);
    if wait_ms > WAIT_MS_MAX {
        return Err(Problem::invalid("wait_ms", wait_ms, format!("0 to {WAIT_MS_MAX}")));
    }
    if wait_ms > 0 && !is_conditional {
        return Err(Problem::invalid("wait_ms", wait_ms, "0, or an if_none_match beside it"));
    }
    Ok(Duration::from_millis(wait_ms))
}

/// How far a caller wants a write to come.
pub(super) fn ack(ack: i32) -> Result<Ack, Problem> {
    match pb::Ack::try_from(ack) {
        Ok(pb::Ack::Unspecified | pb::Ack::Log) => Ok(Ack::Log),
        Ok(pb::Ack::Memory) => Ok(Ack::Memory),
        Ok(pb::Ack::Store) => Ok(Ack::Store),
        Ok(pb::Ack::Overlay) | Err(_) => Err(Problem::invalid("ack", ack, "ACK_MEMORY, ACK_LOG or ACK_STORE")),
    }
}

/// How far it has come.
pub(super) fn reached(reached: Reached) -> pb::Ack {
    match reached {
        Reached::Overlay => pb::Ack::Overlay,
        Reached::Memory => pb::Ack::Memory,
        Reached::Log => pb::Ack::Log,
        Reached::Store => pb::Ack::Store,
    }
}

#[cfg(test)]
pub(super) mod tests;
