//! Checks of values whose types do not vouch for them, made on the way out as on the way in: a frame that could be
//! written and not be read back would stop every node that comes to it.

use compute::model::limits::{
    CLIENT_NAME_BYTES_MAX, NODE_NAME_BYTES_MAX, PEER_BYTES_MAX, SESSION_GRACE_MS_MAX, SESSION_GRACE_MS_MIN,
};
use compute::model::{Check, CheckKind, Invalid, Lease, Operator, OperatorPatch, Set};

pub(super) fn session(grace_ms: u32, client: &str) -> Result<(), Invalid> {
    if !(SESSION_GRACE_MS_MIN..=SESSION_GRACE_MS_MAX).contains(&u64::from(grace_ms)) {
        let allowed = format!("{SESSION_GRACE_MS_MIN} to {SESSION_GRACE_MS_MAX}");
        return Err(Invalid::new("open_session.grace_ms", grace_ms, allowed));
    }
    if client.len() > CLIENT_NAME_BYTES_MAX {
        let allowed = format!("at most {CLIENT_NAME_BYTES_MAX} bytes");
        return Err(Invalid::new("open_session.client", client, allowed));
    }
    Ok(())
}

pub(super) fn beacon(name: &str, peer: &str) -> Result<(), Invalid> {
    let within = |field, text: &str, bytes_max: usize| {
        let allowed = || format!("at most {bytes_max} bytes");
        if text.len() > bytes_max { Err(Invalid::new(field, text, allowed())) } else { Ok(()) }
    };
    within("beacon.name", name, NODE_NAME_BYTES_MAX)?;
    within("beacon.peer", peer, PEER_BYTES_MAX)
}

pub(super) fn operator(operator: &Operator) -> Result<(), Invalid> {
    let patch = OperatorPatch {
        weight: operator.weight.map_or(Set::Leave, |weight| Set::To(u64::from(weight))),
        note: operator.note.as_deref().map_or(Set::Leave, |note| Set::To(note.to_owned())),
        keep_ms: Set::To(operator.keep_ms),
        ..OperatorPatch::default()
    };
    patch.check().map_err(|wrong| wrong.within("operator"))
}

pub(super) fn lease(lease: &Lease) -> Result<(), Invalid> {
    let wide = |ms: &u32| u64::from(*ms);
    match lease {
        Lease::Ttl { ttl_ms, remove_after_ms } => Lease::ttl(wide(ttl_ms), wide(remove_after_ms)).map(|_| ()),
        Lease::Stream { session, remove_after_ms } => Lease::stream(*session, wide(remove_after_ms)).map(|_| ()),
        Lease::Checked { check: probe, remove_after_ms } => {
            Lease::checked(check(probe)?, remove_after_ms.as_ref().map(wide)).map(|_| ())
        }
        Lease::Permanent => Ok(()),
    }
}

fn check(check: &Check) -> Result<Check, Invalid> {
    let kind = match &check.kind {
        CheckKind::Http { path } => CheckKind::http(path)?,
        CheckKind::Tcp => CheckKind::Tcp,
        CheckKind::Grpc { service } => CheckKind::grpc(service)?,
    };
    let (interval, timeout) = (u64::from(check.interval_ms), u64::from(check.timeout_ms));
    Check::new(kind, interval, timeout, u64::from(check.failures), u64::from(check.successes), check.port)
}
