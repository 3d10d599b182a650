//! The model's values as messages.

use std::collections::{BTreeMap, HashMap};

use compute::model::{
    Author, Base, Cause, Change, Check, CheckKind, Frame, FreezeScope, InstanceKey, Invalid, Lease, LogGeneration,
    Metadata, NamespaceSettings, NodeIncarnation, Op, Operator, Provider, RemovalReason, ServiceKey, ServiceSettings,
    SessionId,
};
use schemas::thuban::change::v1 as wire;
use wire::change::Op as Wire;

use super::{EncodeError, FORMAT_VERSION, check};

pub(super) fn frame(frame: &Frame, generation: LogGeneration) -> Result<wire::Frame, EncodeError> {
    let mut authors = Authors::default();
    let mut changes = Vec::with_capacity(frame.changes.len());
    for (place, change) in frame.changes.iter().enumerate() {
        let Change { origin, author, op: what } = change;
        changes.push(wire::Change {
            node: (origin.node != frame.writer).then_some(origin.node.0),
            counter: origin.counter,
            author: authors.place(author),
            op: Some(op(what).map_err(|wrong| EncodeError::Change { place, wrong })?),
        });
    }
    Ok(wire::Frame {
        format_version: FORMAT_VERSION,
        identity: frame.identity.0.to_vec(),
        generation: u32::from(generation),
        writer: frame.writer.0,
        time_ms: frame.time_ms,
        authors: authors.listed,
        changes,
    })
}

/// The authors of a frame, each once, in the order in which they first come.
#[derive(Default)]
struct Authors<'a> {
    places: HashMap<&'a Author, u32>,
    listed: Vec<wire::Author>,
    last: Option<(&'a Author, u32)>,
}

impl<'a> Authors<'a> {
    fn place(&mut self, author: &'a Author) -> u32 {
        // Most frames have one author, or runs of one.
        if let Some((last, place)) = self.last
            && last == author
        {
            return place;
        }
        let next = self.listed.len() as u32;
        let place = *self.places.entry(author).or_insert(next);
        if place == next {
            self.listed.push(by(author));
        }
        self.last = Some((author, place));
        place
    }
}

fn op(op: &Op) -> Result<Wire, Invalid> {
    Ok(match op {
        Op::PutNamespace { namespace, settings, base } => Wire::PutNamespace(wire::PutNamespace {
            namespace: namespace.to_string(),
            settings: Some(namespace_settings(settings)?),
            base: seen(base),
        }),
        Op::DeleteNamespace { namespace, base } => {
            Wire::DeleteNamespace(wire::DeleteNamespace { namespace: namespace.to_string(), base: base.packed() })
        }
        Op::PutService { service: key, settings, base } => Wire::PutService(wire::PutService {
            service: service(key),
            settings: Some(service_settings(settings)?),
            base: seen(base),
        }),
        Op::DeleteService { service: key, base } => {
            Wire::DeleteService(wire::DeleteService { service: service(key), base: base.packed() })
        }
        Op::CollectService { service: key, base } => {
            Wire::CollectService(wire::CollectService { service: service(key), base: base.packed() })
        }
        Op::Register { instance, provider, base, epoch } => Wire::Register(wire::Register {
            instance: key(instance),
            provider: Some(said(provider)?),
            base: seen(base),
            epoch: *epoch,
        }),
        Op::Deregister { instance, generation, reason } => Wire::Deregister(wire::Deregister {
            instance: key(instance),
            generation: generation.packed(),
            reason: removal(*reason).into(),
        }),
        Op::Operate { instance, generation, base, operator } => Wire::Operate(wire::Operate {
            instance: key(instance),
            generation: generation.packed(),
            base: base.packed(),
            operator: operator.as_deref().map(set).transpose()?,
        }),
        Op::EndOverride { instance, operator } => {
            Wire::EndOverride(wire::EndOverride { instance: key(instance), operator: operator.packed() })
        }
        Op::Suspect { instance, generation, age_ms, cause } => Wire::Suspect(wire::Suspect {
            instance: key(instance),
            generation: generation.packed(),
            age_ms: *age_ms,
            cause: Some(why(cause)),
        }),
        Op::Refute { instance, suspicion, age_ms } => {
            Wire::Refute(wire::Refute { instance: key(instance), suspicion: suspicion.packed(), age_ms: *age_ms })
        }
        Op::Confirm { instance, suspicion } => {
            Wire::Confirm(wire::Confirm { instance: key(instance), suspicion: suspicion.packed() })
        }
        Op::Unhealthy { instance, suspicion } => {
            Wire::Unhealthy(wire::Unhealthy { instance: key(instance), suspicion: suspicion.packed() })
        }
        Op::Expire { instance, suspicion } => {
            Wire::Expire(wire::Expire { instance: key(instance), suspicion: suspicion.packed() })
        }
        Op::OpenSession { session, node, grace_ms, client } => open_session(session, *node, *grace_ms, client)?,
        Op::AttachSession { session, node, epoch } => attach_session(session, *node, *epoch),
        Op::CloseSession { session, epoch, deregister } => close_session(session, *epoch, *deregister),
        Op::Freeze { scope, lapsed, of } => Wire::Freeze(wire::Freeze { scope: held(scope), lapsed: *lapsed, of: *of }),
        Op::Release { scope, freeze } => Wire::Release(wire::Release { scope: held(scope), freeze: freeze.packed() }),
    })
}

fn open_session(session: &SessionId, node: NodeIncarnation, grace_ms: u32, client: &str) -> Result<Wire, Invalid> {
    check::session(grace_ms, client)?;
    let (session, client) = (session.0.to_vec(), client.to_owned());
    Ok(Wire::OpenSession(wire::OpenSession { session, node: node.0, grace_ms, client }))
}

fn attach_session(session: &SessionId, node: NodeIncarnation, epoch: u32) -> Wire {
    Wire::AttachSession(wire::AttachSession { session: session.0.to_vec(), node: node.0, epoch })
}

fn close_session(session: &SessionId, epoch: u32, deregister: bool) -> Wire {
    Wire::CloseSession(wire::CloseSession { session: session.0.to_vec(), epoch, deregister })
}

fn seen(base: &Base) -> Option<wire::Base> {
    let seen = match base {
        Base::At(revision) => wire::base::Seen::At(revision.packed()),
        Base::Absent(position) => wire::base::Seen::Absent(position.packed()),
    };
    Some(wire::Base { seen: Some(seen) })
}

fn service(key: &ServiceKey) -> Option<wire::ServiceKey> {
    Some(wire::ServiceKey { namespace: key.namespace.to_string(), service: key.service.to_string() })
}

fn key(key: &InstanceKey) -> Option<wire::InstanceKey> {
    Some(wire::InstanceKey {
        namespace: key.service.namespace.as_str().to_owned(),
        service: key.service.service.as_str().to_owned(),
        id: key.id.as_str().to_owned(),
    })
}

fn by(author: &Author) -> wire::Author {
    wire::Author { name: author.name.to_string(), door: author.door.to_string() }
}

fn held(scope: &FreezeScope) -> Option<wire::FreezeScope> {
    use wire::freeze_scope::Scope;
    let scope = match scope {
        FreezeScope::Node(node) => Scope::Node(node.0),
        FreezeScope::Service(key) => {
            Scope::Service(wire::ServiceKey { namespace: key.namespace.to_string(), service: key.service.to_string() })
        }
    };
    Some(wire::FreezeScope { scope: Some(scope) })
}

fn pairs(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn namespace_settings(settings: &NamespaceSettings) -> Result<wire::NamespaceSettings, Invalid> {
    settings.check()?;
    let metadata = pairs(&settings.metadata);
    Ok(wire::NamespaceSettings { description: settings.description.to_string(), metadata })
}

fn service_settings(settings: &ServiceSettings) -> Result<wire::ServiceSettings, Invalid> {
    settings.check()?;
    Ok(wire::ServiceSettings {
        description: settings.description.to_string(),
        owner: settings.owner.to_string(),
        metadata: pairs(&settings.metadata),
        protect_threshold: settings.protect_threshold,
    })
}

fn said(provider: &Provider) -> Result<wire::Provider, Invalid> {
    Ok(wire::Provider {
        host: provider.host().to_owned(),
        port: u32::from(provider.port()),
        weight: u32::from(provider.weight()),
        protocol: provider.protocol().to_owned(),
        version: provider.version().to_owned(),
        zone: provider.zone().to_owned(),
        region: provider.region().to_owned(),
        ports: provider.ports().map(|(name, port)| (name.to_owned(), u32::from(port))).collect(),
        metadata: provider.metadata().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        incarnation: provider.incarnation().map(str::to_owned),
        lease: Some(lease(provider.lease())?),
    })
}

fn lease(lease: &Lease) -> Result<wire::Lease, Invalid> {
    use wire::lease::Kind;
    check::lease(lease)?;
    let kind = match lease {
        Lease::Ttl { ttl_ms, remove_after_ms } => {
            Kind::Ttl(wire::TtlLease { ttl_ms: *ttl_ms, remove_after_ms: *remove_after_ms })
        }
        Lease::Stream { session, remove_after_ms } => {
            Kind::Stream(wire::StreamLease { session: session.0.to_vec(), remove_after_ms: *remove_after_ms })
        }
        Lease::Checked { check, remove_after_ms } => {
            Kind::Checked(wire::CheckedLease { check: Some(probed(check)), remove_after_ms: *remove_after_ms })
        }
        Lease::Permanent => Kind::Permanent(wire::PermanentLease {}),
    };
    Ok(wire::Lease { kind: Some(kind) })
}

fn probed(check: &Check) -> wire::Check {
    use wire::check::Kind;
    let kind = match &check.kind {
        CheckKind::Http { path } => Kind::Http(wire::HttpCheck { path: path.to_string() }),
        CheckKind::Tcp => Kind::Tcp(wire::TcpCheck {}),
        CheckKind::Grpc { service } => Kind::Grpc(wire::GrpcCheck { service: service.to_string() }),
    };
    wire::Check {
        kind: Some(kind),
        interval_ms: check.interval_ms,
        timeout_ms: check.timeout_ms,
        failures: u32::from(check.failures),
        successes: u32::from(check.successes),
        port: check.port.map(u32::from),
    }
}

fn set(operator: &Operator) -> Result<wire::Operator, Invalid> {
    check::operator(operator)?;
    Ok(wire::Operator {
        isolated: operator.isolated,
        weight: operator.weight.map(u32::from),
        note: operator.note.as_deref().map(str::to_owned),
        expires_at_ms: operator.expires_at_ms,
        keep_ms: operator.keep_ms,
        author: Some(by(&operator.author)),
        set_at_ms: operator.set_at_ms,
        revision: operator.revision.packed(),
    })
}

fn why(cause: &Cause) -> wire::Cause {
    use wire::cause::Kind;
    let kind = match cause {
        Cause::Lapse => Kind::Lapse(wire::LapseCause {}),
        Cause::Session { session, epoch } => {
            Kind::Session(wire::SessionCause { session: session.0.to_vec(), epoch: *epoch })
        }
        Cause::Check { detail } => Kind::Check(wire::CheckCause { detail: detail.to_string() }),
    };
    wire::Cause { kind: Some(kind) }
}

fn removal(reason: RemovalReason) -> wire::RemovalReason {
    match reason {
        RemovalReason::Deregistered => wire::RemovalReason::Deregistered,
        RemovalReason::Expired => wire::RemovalReason::Expired,
        RemovalReason::Operator => wire::RemovalReason::Operator,
    }
}
