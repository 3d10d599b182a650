//! Messages as the model's values, each through the constructor that checks it.

use std::collections::BTreeMap;
use std::sync::Arc;

use compute::model::{
    Author, Base, Cause, Change, Check, CheckKind, Digest, Frame, FreezeScope, InstanceId, InstanceKey, Invalid, Lease,
    LogIdentity, Metadata, Namespace, NamespaceSettings, NodeIncarnation, Op, Operator, Origin, OverrideRow, Position,
    Process, Provider, ProviderSpec, RemovalReason, Revision, ServiceKey, ServiceName, ServiceSettings, SessionId,
};
use schemas::thuban::change::v1 as wire;
use wire::change::Op as Wire;

use super::{DecodeError, Decoded, FORMAT_VERSION, check};

pub(super) fn frame(frame: wire::Frame) -> Result<Decoded, DecodeError> {
    match frame.format_version {
        1..=FORMAT_VERSION => {}
        0 => return Err(DecodeError::Frame(Invalid::new("format_version", 0, "1 or more"))),
        found => return Err(DecodeError::NewerFormat { found }),
    }
    let identity = bytes("identity", &frame.identity).map_err(DecodeError::Frame)?;
    let generation = u8::try_from(frame.generation).ok().filter(|g| (1..=127).contains(g));
    let generation =
        generation.ok_or_else(|| DecodeError::Frame(Invalid::new("generation", frame.generation, "1 to 127")))?;
    let writer = NodeIncarnation(frame.writer);
    let mut within = Within { writer, authors: frame.authors.iter().map(by).collect(), last: None };
    let changes = frame.changes.into_iter().enumerate();
    let changes = changes
        .map(|(place, change)| within.change(change).map_err(|wrong| DecodeError::Change { place, wrong }))
        .collect::<Result<_, _>>()?;
    let frame = Frame { identity: LogIdentity(identity), writer, time_ms: frame.time_ms, changes };
    Ok(Decoded { frame, generation })
}

/// What the changes of a frame share.
struct Within {
    writer: NodeIncarnation,
    authors: Vec<Author>,
    /// Of the change before: neighbours are often of one service, and then share its names.
    last: Option<ServiceKey>,
}

impl Within {
    fn change(&mut self, change: wire::Change) -> Result<Change, Invalid> {
        let author = self.authors.get(change.author as usize).cloned().ok_or_else(|| {
            Invalid::new("author", change.author, format!("a place among the frame's {} authors", self.authors.len()))
        })?;
        let node = change.node.map_or(self.writer, NodeIncarnation);
        let op = change.op.ok_or_else(|| Invalid::new("op", "missing or unknown", "one that this program knows"))?;
        Ok(Change { origin: Origin { node, counter: change.counter }, author, op: self.op(op)? })
    }

    fn op(&mut self, op: Wire) -> Result<Op, Invalid> {
        Ok(match op {
            Wire::PutNamespace(op) => Op::PutNamespace {
                namespace: Namespace::new(&op.namespace)?,
                settings: namespace_settings(some("put_namespace.settings", op.settings)?)?,
                base: seen(op.base)?,
            },
            Wire::DeleteNamespace(op) => {
                Op::DeleteNamespace { namespace: Namespace::new(&op.namespace)?, base: revision("base", op.base)? }
            }
            Wire::PutService(op) => Op::PutService {
                service: self.service(op.service)?,
                settings: service_settings(some("put_service.settings", op.settings)?)?,
                base: seen(op.base)?,
            },
            Wire::DeleteService(op) => {
                Op::DeleteService { service: self.service(op.service)?, base: revision("base", op.base)? }
            }
            Wire::CollectService(op) => {
                Op::CollectService { service: self.service(op.service)?, base: revision("base", op.base)? }
            }
            Wire::Register(op) => Op::Register {
                instance: self.instance(op.instance)?,
                provider: Box::new(said(some("register.provider", op.provider)?)?),
                base: seen(op.base)?,
                epoch: op.epoch,
            },
            Wire::Deregister(op) => Op::Deregister {
                instance: self.instance(op.instance)?,
                generation: revision("generation", op.generation)?,
                reason: removal(op.reason)?,
            },
            Wire::Operate(op) => Op::Operate {
                instance: self.instance(op.instance)?,
                generation: revision("generation", op.generation)?,
                base: revision("base", op.base)?,
                operator: op.operator.map(set).transpose()?.map(Box::new),
            },
            Wire::EndOverride(op) => {
                Op::EndOverride { instance: self.instance(op.instance)?, operator: revision("operator", op.operator)? }
            }
            Wire::KeepOverride(op) => self.keep_override(op)?,
            Wire::Suspect(op) => self.suspect(op)?,
            Wire::Refute(op) => {
                let (instance, suspicion) = self.suspicion(op.instance, op.suspicion)?;
                Op::Refute { instance, suspicion, age_ms: op.age_ms }
            }
            Wire::Confirm(op) => {
                let (instance, suspicion) = self.suspicion(op.instance, op.suspicion)?;
                Op::Confirm { instance, suspicion }
            }
            Wire::Unhealthy(op) => {
                let (instance, suspicion) = self.suspicion(op.instance, op.suspicion)?;
                Op::Unhealthy { instance, suspicion }
            }
            Wire::Expire(op) => {
                let (instance, suspicion) = self.suspicion(op.instance, op.suspicion)?;
                Op::Expire { instance, suspicion }
            }
            Wire::OpenSession(op) => open_session(op)?,
            Wire::AttachSession(op) => attach_session(&op)?,
            Wire::CloseSession(op) => close_session(&op)?,
            Wire::Freeze(op) => Op::Freeze { scope: held(op.scope)?, lapsed: op.lapsed, of: op.of },
            Wire::Release(op) => Op::Release { scope: held(op.scope)?, freeze: revision("freeze", op.freeze)? },
            Wire::Beacon(op) => beacon(op)?,
            Wire::Gone(op) => Op::Gone { node: NodeIncarnation(op.node) },
        })
    }

    fn keep_override(&mut self, op: wire::KeepOverride) -> Result<Op, Invalid> {
        let kept = OverrideRow {
            operator: set(some("keep_override.operator", op.operator)?)?,
            until_ms: op.until_ms,
            only_for: op.only_for.map(process).transpose()?,
        };
        Ok(Op::KeepOverride {
            instance: self.instance(op.instance)?,
            absent: position("absent", op.absent)?,
            over: op.over.map(|over| revision("over", over)).transpose()?,
            kept: Box::new(kept),
        })
    }

    fn suspect(&mut self, op: wire::Suspect) -> Result<Op, Invalid> {
        Ok(Op::Suspect {
            instance: self.instance(op.instance)?,
            generation: revision("generation", op.generation)?,
            age_ms: op.age_ms,
            cause: why(op.cause)?,
        })
    }

    fn service(&mut self, key: Option<wire::ServiceKey>) -> Result<ServiceKey, Invalid> {
        let key = some("service", key)?;
        self.named(&key.namespace, &key.service)
    }

    fn instance(&mut self, key: Option<wire::InstanceKey>) -> Result<InstanceKey, Invalid> {
        let key = some("instance", key)?;
        Ok(self.named(&key.namespace, &key.service)?.instance(InstanceId::new(&key.id)?))
    }

    fn suspicion(
        &mut self,
        key: Option<wire::InstanceKey>,
        suspicion: u64,
    ) -> Result<(InstanceKey, Revision), Invalid> {
        Ok((self.instance(key)?, revision("suspicion", suspicion)?))
    }

    fn named(&mut self, namespace: &str, service: &str) -> Result<ServiceKey, Invalid> {
        let known = self.last.as_ref().filter(|last| last.namespace.as_str() == namespace);
        let key = match known {
            Some(last) if last.service.as_str() == service => return Ok(last.clone()),
            Some(last) => ServiceKey { namespace: last.namespace.clone(), service: ServiceName::new(service)? },
            None => ServiceKey::new(namespace, service)?,
        };
        self.last = Some(key.clone());
        Ok(key)
    }
}

fn some<T>(field: &'static str, value: Option<T>) -> Result<T, Invalid> {
    value.ok_or_else(|| Invalid::new(field, "missing", "present"))
}

fn bytes(field: &'static str, value: &[u8]) -> Result<[u8; 16], Invalid> {
    value.try_into().map_err(|_| Invalid::new(field, format!("{} bytes", value.len()), "16 bytes"))
}

fn session(value: &[u8]) -> Result<SessionId, Invalid> {
    bytes("session", value).map(SessionId)
}

fn revision(field: &'static str, packed: u64) -> Result<Revision, Invalid> {
    Revision::from_packed(packed).ok_or_else(|| Invalid::new(field, packed, "a packed revision, below 2^63"))
}

fn position(field: &'static str, packed: u64) -> Result<Position, Invalid> {
    Position::from_packed(packed).ok_or_else(|| Invalid::new(field, packed, "a packed position, below 2^47"))
}

fn seen(base: Option<wire::Base>) -> Result<Base, Invalid> {
    use wire::base::Seen;
    match some("base.seen", base.and_then(|base| base.seen))? {
        Seen::At(packed) => revision("base.at", packed).map(Base::At),
        Seen::Absent(packed) => position("base.absent", packed).map(Base::Absent),
    }
}

fn by(author: &wire::Author) -> Author {
    Author::new(&author.name, &author.door)
}

fn held(scope: Option<wire::FreezeScope>) -> Result<FreezeScope, Invalid> {
    use wire::freeze_scope::Scope;
    Ok(match some("scope", scope.and_then(|scope| scope.scope))? {
        Scope::Node(node) => FreezeScope::Node(NodeIncarnation(node)),
        Scope::Service(key) => FreezeScope::Service(ServiceKey::new(&key.namespace, &key.service)?),
    })
}

fn open_session(op: wire::OpenSession) -> Result<Op, Invalid> {
    check::session(op.grace_ms, &op.client)?;
    Ok(Op::OpenSession {
        session: session(&op.session)?,
        node: NodeIncarnation(op.node),
        grace_ms: op.grace_ms,
        client: Arc::from(op.client),
    })
}

fn attach_session(op: &wire::AttachSession) -> Result<Op, Invalid> {
    Ok(Op::AttachSession { session: session(&op.session)?, node: NodeIncarnation(op.node), epoch: op.epoch })
}

fn close_session(op: &wire::CloseSession) -> Result<Op, Invalid> {
    Ok(Op::CloseSession { session: session(&op.session)?, epoch: op.epoch, deregister: op.deregister })
}

fn beacon(op: wire::Beacon) -> Result<Op, Invalid> {
    check::beacon(&op.name, &op.peer)?;
    let digest = |field, said: &[u8]| match said {
        [] => Ok(None),
        said => bytes(field, said).map(|said| Some(Digest::from_bytes(said))),
    };
    Ok(Op::Beacon {
        name: op.name.into(),
        peer: op.peer.into(),
        applied: position("beacon.applied", op.applied)?,
        rolling_hash: op.rolling_hash,
        digest: digest("beacon.digest", &op.digest)?,
        rebuilt: digest("beacon.rebuilt", &op.rebuilt)?,
        landed: position("beacon.landed", op.landed)?,
        leaving: op.leaving,
    })
}

fn namespace_settings(settings: wire::NamespaceSettings) -> Result<NamespaceSettings, Invalid> {
    let metadata = Metadata::new(&settings.metadata)?;
    let settings = NamespaceSettings { description: settings.description.into(), metadata };
    settings.check().map(|()| settings)
}

fn service_settings(settings: wire::ServiceSettings) -> Result<ServiceSettings, Invalid> {
    let metadata = Metadata::new(&settings.metadata)?;
    let settings = ServiceSettings {
        description: settings.description.into(),
        owner: settings.owner.into(),
        metadata,
        protect_threshold: settings.protect_threshold,
    };
    settings.check().map(|()| settings)
}

fn said(provider: wire::Provider) -> Result<Provider, Invalid> {
    let wide = |(name, port): (String, u32)| (name, u64::from(port));
    Provider::new(&ProviderSpec {
        host: provider.host,
        port: u64::from(provider.port),
        ports: provider.ports.into_iter().map(wide).collect::<BTreeMap<_, _>>(),
        protocol: provider.protocol,
        weight: u64::from(provider.weight),
        version: provider.version,
        zone: provider.zone,
        region: provider.region,
        metadata: provider.metadata,
        lease: lease(some("lease", provider.lease)?)?,
        incarnation: provider.incarnation,
    })
}

fn lease(lease: wire::Lease) -> Result<Lease, Invalid> {
    use wire::lease::Kind;
    match some("lease.kind", lease.kind)? {
        Kind::Ttl(ttl) => Lease::ttl(ttl.ttl_ms.into(), ttl.remove_after_ms.into()),
        Kind::Stream(stream) => Lease::stream(session(&stream.session)?, stream.remove_after_ms.into()),
        Kind::Checked(checked) => {
            Lease::checked(probed(some("lease.check", checked.check)?)?, checked.remove_after_ms.map(u64::from))
        }
        Kind::Permanent(wire::PermanentLease {}) => Ok(Lease::Permanent),
    }
}

fn probed(check: wire::Check) -> Result<Check, Invalid> {
    use wire::check::Kind;
    let kind = match some("lease.check.kind", check.kind)? {
        Kind::Http(http) => CheckKind::http(&http.path)?,
        Kind::Tcp(wire::TcpCheck {}) => CheckKind::Tcp,
        Kind::Grpc(grpc) => CheckKind::grpc(&grpc.service)?,
    };
    let wrong = |port| Invalid::new("lease.check.port", port, "1 to 65535");
    let port = check.port.map(|port| u16::try_from(port).map_err(|_| wrong(port))).transpose()?;
    let (interval, timeout) = (check.interval_ms.into(), check.timeout_ms.into());
    Check::new(kind, interval, timeout, check.failures.into(), check.successes.into(), port)
}

fn set(operator: wire::Operator) -> Result<Operator, Invalid> {
    let wrong = |weight| Invalid::new("operator.weight", weight, "0 to 10000");
    let weight = operator.weight.map(|weight| u16::try_from(weight).map_err(|_| wrong(weight))).transpose()?;
    let operator = Operator {
        isolated: operator.isolated,
        weight,
        note: operator.note.map(String::into_boxed_str),
        expires_at_ms: operator.expires_at_ms,
        keep_ms: operator.keep_ms,
        author: by(&some("operator.author", operator.author)?),
        set_at_ms: operator.set_at_ms,
        revision: revision("operator.revision", operator.revision)?,
    };
    check::operator(&operator).map(|()| operator)
}

fn process(only_for: wire::keep_override::OnlyFor) -> Result<Process, Invalid> {
    use wire::keep_override::OnlyFor;
    match only_for {
        OnlyFor::Incarnation(name) => Process::named(&name),
        OnlyFor::Session(id) => session(&id).map(Process::Session),
    }
}

fn why(cause: Option<wire::Cause>) -> Result<Cause, Invalid> {
    use wire::cause::Kind;
    Ok(match some("cause.kind", cause.and_then(|cause| cause.kind))? {
        Kind::Lapse(wire::LapseCause {}) => Cause::Lapse,
        Kind::Session(lost) => Cause::Session { session: session(&lost.session)?, epoch: lost.epoch },
        Kind::Check(check) => Cause::Check { detail: check.detail.into() },
    })
}

fn removal(reason: i32) -> Result<RemovalReason, Invalid> {
    match wire::RemovalReason::try_from(reason) {
        Ok(wire::RemovalReason::Deregistered) => Ok(RemovalReason::Deregistered),
        Ok(wire::RemovalReason::Expired) => Ok(RemovalReason::Expired),
        Ok(wire::RemovalReason::Operator) => Ok(RemovalReason::Operator),
        Ok(wire::RemovalReason::Unspecified) | Err(_) => Err(Invalid::new("reason", reason, "1, 2 or 3")),
    }
}
