//! The model's values as `thuban.change.v1` lays them out, without building its messages first: that took two thirds of
//! an append's CPU time. The numbers are those of `frame.proto` and `part.proto`, and the tests hold every op to what
//! the generated messages write.

use std::collections::HashMap;

use compute::model::{
    Author, Base, Cause, Change, Check, CheckKind, Frame, FreezeScope, InstanceKey, Invalid, Lease, LogGeneration,
    NamespaceSettings, NodeIncarnation, Op, Operator, Process, Provider, RemovalReason, ServiceKey, ServiceSettings,
    SessionId,
};
use schemas::thuban::change::v1 as wire;
use schemas::wire::Out;

use super::{EncodeError, FORMAT_VERSION, check};

/// What a change usually takes.
const CHANGE_BYTES: usize = 256;

pub(super) fn frame(frame: &Frame, generation: LogGeneration) -> Result<Vec<u8>, EncodeError> {
    let mut out = Out::with_capacity(64 + frame.changes.len() * CHANGE_BYTES);
    out.number(1, u64::from(FORMAT_VERSION));
    out.bytes(2, &frame.identity.0);
    out.number(3, u64::from(generation));
    out.fixed(4, frame.writer.0);
    out.number(5, frame.time_ms);
    let authors = Authors::of(&frame.changes);
    authors.listed.iter().for_each(|author| out.message(6, |out| by(out, author)));
    for (place, (change, author)) in frame.changes.iter().zip(authors.places).enumerate() {
        out.message(7, |out| {
            let Change { origin, author: _, op: what } = change;
            if origin.node != frame.writer {
                out.fixed_some(1, origin.node.0);
            }
            out.number(2, origin.counter);
            out.number(3, author);
            op(out, what)
        })
        .map_err(|wrong| EncodeError::Change { place, wrong })?;
    }
    Ok(out.into_bytes())
}

/// The authors of a frame, each once, in the order in which they first come, and the place among them for each change.
#[derive(Default)]
struct Authors<'a> {
    listed: Vec<&'a Author>,
    places: Vec<u64>,
}

impl<'a> Authors<'a> {
    fn of(changes: &'a [Change]) -> Self {
        let mut authors = Self::default();
        let mut known = HashMap::new();
        let mut last: Option<(&Author, u64)> = None;
        for change in changes {
            // Most frames have one author, or runs of one.
            let place = match last {
                Some((author, place)) if *author == change.author => place,
                _ => *known.entry(&change.author).or_insert_with(|| {
                    authors.listed.push(&change.author);
                    authors.listed.len() as u64 - 1
                }),
            };
            last = Some((&change.author, place));
            authors.places.push(place);
        }
        authors
    }
}

fn op(out: &mut Out, op: &Op) -> Result<(), Invalid> {
    match op {
        Op::Register { instance, provider, base, epoch } => out.message(4, |out| {
            out.message(1, |out| key(out, instance));
            out.message(2, |out| said(out, provider))?;
            out.message(3, |out| seen(out, base));
            epoch.iter().for_each(|epoch| out.number_some(4, u64::from(*epoch)));
            Ok(())
        })?,
        Op::Deregister { instance, generation, reason } => out.message(5, |out| {
            out.message(1, |out| key(out, instance));
            out.fixed(2, generation.packed());
            out.number(3, removal(*reason));
        }),
        Op::Suspect { instance, generation, age_ms, cause } => out.message(6, |out| {
            out.message(1, |out| key(out, instance));
            out.fixed(2, generation.packed());
            out.number(3, *age_ms);
            out.message(4, |out| why(out, cause));
        }),
        Op::Refute { instance, suspicion, age_ms } => out.message(7, |out| {
            about(out, instance, suspicion.packed());
            out.number(3, *age_ms);
        }),
        Op::Unhealthy { instance, suspicion } => out.message(8, |out| about(out, instance, suspicion.packed())),
        Op::Expire { instance, suspicion } => out.message(9, |out| about(out, instance, suspicion.packed())),
        Op::Confirm { instance, suspicion } => out.message(10, |out| about(out, instance, suspicion.packed())),
        Op::Operate { instance, generation, base, operator } => out.message(11, |out| {
            about(out, instance, generation.packed());
            out.fixed(3, base.packed());
            operator.iter().try_for_each(|operator| out.message(4, |out| set(out, operator)))
        })?,
        Op::OpenSession { session, node, grace_ms, client } => open_session(out, session, *node, *grace_ms, client)?,
        Op::AttachSession { session, node, epoch } => out.message(13, |out| {
            out.bytes(1, &session.0);
            out.fixed(2, node.0);
            out.number(3, u64::from(*epoch));
        }),
        Op::CloseSession { session, epoch, deregister } => close_session(out, session, *epoch, *deregister),
        Op::EndOverride { instance, operator } => out.message(15, |out| about(out, instance, operator.packed())),
        Op::KeepOverride { .. } => keep_override(out, op)?,
        Op::PutNamespace { namespace, settings, base } => out.message(16, |out| {
            out.text(1, namespace.as_str());
            out.message(2, |out| namespace_settings(out, settings))?;
            out.message(3, |out| seen(out, base));
            Ok(())
        })?,
        Op::DeleteNamespace { namespace, base } => out.message(17, |out| {
            out.text(1, namespace.as_str());
            out.fixed(2, base.packed());
        }),
        Op::PutService { service, settings, base } => out.message(18, |out| {
            out.message(1, |out| key_of(out, service));
            out.message(2, |out| service_settings(out, settings))?;
            out.message(3, |out| seen(out, base));
            Ok(())
        })?,
        Op::DeleteService { service, base } => out.message(19, |out| of_service(out, service, base.packed())),
        Op::CollectService { service, base } => out.message(20, |out| of_service(out, service, base.packed())),
        Op::Freeze { scope, lapsed, of } => freeze(out, scope, *lapsed, *of),
        Op::Release { scope, freeze } => out.message(22, |out| {
            out.message(1, |out| held(out, scope));
            out.fixed(2, freeze.packed());
        }),
        Op::Beacon { .. } => beacon(out, op)?,
        Op::Gone { node } => out.message(24, |out| out.fixed(1, node.0)),
    }
    Ok(())
}

fn keep_override(out: &mut Out, op: &Op) -> Result<(), Invalid> {
    let Op::KeepOverride { instance, absent, over, kept } = op else { return Ok(()) };
    out.message(25, |out| {
        about(out, instance, absent.packed());
        over.iter().for_each(|over| out.fixed_some(3, over.packed()));
        out.message(4, |out| set(out, &kept.operator))?;
        out.number(5, kept.until_ms);
        match &kept.only_for {
            Some(Process::Incarnation(name)) => out.text_some(6, name),
            Some(Process::Session(session)) => out.bytes_some(7, &session.0),
            None => {}
        }
        Ok(())
    })
}

fn open_session(
    out: &mut Out,
    session: &SessionId,
    node: NodeIncarnation,
    grace_ms: u32,
    client: &str,
) -> Result<(), Invalid> {
    check::session(grace_ms, client)?;
    out.message(12, |out| {
        out.bytes(1, &session.0);
        out.fixed(2, node.0);
        out.number(3, u64::from(grace_ms));
        out.text(4, client);
    });
    Ok(())
}

fn close_session(out: &mut Out, session: &SessionId, epoch: u32, deregister: bool) {
    out.message(14, |out| {
        out.bytes(1, &session.0);
        out.number(2, u64::from(epoch));
        out.flag(3, deregister);
    });
}

fn freeze(out: &mut Out, scope: &FreezeScope, lapsed: u32, of: u32) {
    out.message(21, |out| {
        out.message(1, |out| held(out, scope));
        out.number(2, u64::from(lapsed));
        out.number(3, u64::from(of));
    });
}

fn beacon(out: &mut Out, op: &Op) -> Result<(), Invalid> {
    let Op::Beacon { name, peer, applied, rolling_hash, digest, rebuilt, landed, leaving } = op else { return Ok(()) };
    check::beacon(name, peer)?;
    out.message(23, |out| {
        out.text(1, name);
        out.text(2, peer);
        out.fixed(3, applied.packed());
        out.fixed(4, *rolling_hash);
        out.fixed(5, landed.packed());
        out.flag(6, *leaving);
        if let Some(digest) = digest {
            out.bytes(7, &digest.to_bytes());
        }
        if let Some(rebuilt) = rebuilt {
            out.bytes(8, &rebuilt.to_bytes());
        }
    });
    Ok(())
}

/// An instance, and the one revision that most decisions about it name.
fn about(out: &mut Out, instance: &InstanceKey, revision: u64) {
    out.message(1, |out| key(out, instance));
    out.fixed(2, revision);
}

fn of_service(out: &mut Out, service: &ServiceKey, revision: u64) {
    out.message(1, |out| key_of(out, service));
    out.fixed(2, revision);
}

fn seen(out: &mut Out, base: &Base) {
    match base {
        Base::At(revision) => out.fixed_some(1, revision.packed()),
        Base::Absent(position) => out.fixed_some(2, position.packed()),
    }
}

fn key_of(out: &mut Out, service: &ServiceKey) {
    out.text(1, service.namespace.as_str());
    out.text(2, service.service.as_str());
}

fn key(out: &mut Out, instance: &InstanceKey) {
    key_of(out, &instance.service);
    out.text(3, instance.id.as_str());
}

fn by(out: &mut Out, author: &Author) {
    out.text(1, &author.name);
    out.text(2, &author.door);
}

fn held(out: &mut Out, scope: &FreezeScope) {
    match scope {
        FreezeScope::Node(node) => out.fixed_some(1, node.0),
        FreezeScope::Service(service) => out.message(2, |out| key_of(out, service)),
    }
}

fn namespace_settings(out: &mut Out, settings: &NamespaceSettings) -> Result<(), Invalid> {
    settings.check()?;
    out.text(1, &settings.description);
    out.pairs(2, settings.metadata.iter());
    Ok(())
}

fn service_settings(out: &mut Out, settings: &ServiceSettings) -> Result<(), Invalid> {
    settings.check()?;
    out.text(1, &settings.description);
    out.text(2, &settings.owner);
    out.pairs(3, settings.metadata.iter());
    out.double(4, settings.protect_threshold);
    Ok(())
}

fn said(out: &mut Out, provider: &Provider) -> Result<(), Invalid> {
    out.text(1, provider.host());
    out.number(2, u64::from(provider.port()));
    out.number(3, u64::from(provider.weight()));
    out.text(4, provider.protocol());
    out.text(5, provider.version());
    out.text(6, provider.zone());
    out.text(7, provider.region());
    for (name, port) in provider.ports() {
        out.message(8, |out| {
            out.text(1, name);
            out.number(2, u64::from(port));
        });
    }
    out.pairs(9, provider.metadata());
    provider.incarnation().into_iter().for_each(|incarnation| out.text_some(10, incarnation));
    out.message(11, |out| lease(out, provider.lease()))
}

fn lease(out: &mut Out, lease: &Lease) -> Result<(), Invalid> {
    check::lease(lease)?;
    match lease {
        Lease::Ttl { ttl_ms, remove_after_ms } => out.message(1, |out| {
            out.number(1, u64::from(*ttl_ms));
            out.number(2, u64::from(*remove_after_ms));
        }),
        Lease::Stream { session, remove_after_ms } => out.message(2, |out| {
            out.bytes(1, &session.0);
            out.number(2, u64::from(*remove_after_ms));
        }),
        Lease::Checked { check, remove_after_ms } => out.message(3, |out| {
            out.message(1, |out| probed(out, check));
            remove_after_ms.iter().for_each(|ms| out.number_some(2, u64::from(*ms)));
        }),
        Lease::Permanent => out.message(4, |_| ()),
    }
    Ok(())
}

fn probed(out: &mut Out, check: &Check) {
    match &check.kind {
        CheckKind::Http { path } => out.message(1, |out| out.text(1, path)),
        CheckKind::Tcp => out.message(2, |_| ()),
        CheckKind::Grpc { service } => out.message(3, |out| out.text(1, service)),
    }
    out.number(4, u64::from(check.interval_ms));
    out.number(5, u64::from(check.timeout_ms));
    out.number(6, u64::from(check.failures));
    out.number(7, u64::from(check.successes));
    check.port.iter().for_each(|port| out.number_some(8, u64::from(*port)));
}

fn set(out: &mut Out, operator: &Operator) -> Result<(), Invalid> {
    check::operator(operator)?;
    operator.isolated.iter().for_each(|isolated| out.number_some(1, u64::from(*isolated)));
    operator.weight.iter().for_each(|weight| out.number_some(2, u64::from(*weight)));
    operator.note.iter().for_each(|note| out.text_some(3, note));
    operator.expires_at_ms.iter().for_each(|at| out.number_some(4, *at));
    out.number(5, operator.keep_ms);
    out.message(6, |out| by(out, &operator.author));
    out.number(7, operator.set_at_ms);
    out.fixed(8, operator.revision.packed());
    Ok(())
}

fn why(out: &mut Out, cause: &Cause) {
    match cause {
        Cause::Lapse => out.message(1, |_| ()),
        Cause::Session { session, epoch } => out.message(2, |out| {
            out.bytes(1, &session.0);
            out.number(2, u64::from(*epoch));
        }),
        Cause::Check { detail } => out.message(3, |out| out.text(1, detail)),
    }
}

fn removal(reason: RemovalReason) -> u64 {
    let reason = match reason {
        RemovalReason::Deregistered => wire::RemovalReason::Deregistered,
        RemovalReason::Expired => wire::RemovalReason::Expired,
        RemovalReason::Operator => wire::RemovalReason::Operator,
    };
    reason as u64
}
