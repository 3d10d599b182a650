//! Parts of the model as messages, each way. Reading goes through the model's own checks: a blob is input like any
//! other.

use std::collections::BTreeMap;

use compute::model::{
    Author, Cause, Check, CheckKind, Health, HealthReason, Invalid, Lease, Metadata, NamespaceSettings, Operator,
    OperatorPatch, Process, Provider, ProviderSpec, Removal, RemovalReason, Revision, ServiceSettings, SessionId, Set,
};
use prost::Message;
use schemas::thuban::change::v1 as proto;
use schemas::wire::Out;

/// What a provider's message has beside its texts: tags and lengths, ports and the lease.
const PROVIDER_BYTES: usize = 96;

/// What is wrong with a stored value, in words.
pub(crate) type Wrong = String;

/// A part of the model that is kept as a blob.
pub(crate) trait Part: Sized {
    type Message: Message + Default;

    fn to_message(&self) -> Self::Message;
    fn from_message(message: Self::Message) -> Result<Self, Wrong>;

    /// The bytes of the message. A part that comes with every row writes them without building it.
    fn to_blob(&self) -> Vec<u8> {
        self.to_message().encode_to_vec()
    }

    fn from_blob(blob: &[u8]) -> Result<Self, Wrong> {
        Self::from_message(Self::Message::decode(blob).map_err(|e| format!("not the message that it should be: {e}"))?)
    }
}

fn missing(what: &str) -> impl FnOnce() -> Wrong {
    move || format!("{what} is missing")
}

fn invalid(invalid: Invalid) -> Wrong {
    invalid.to_string()
}

pub(crate) fn revision(packed: u64) -> Result<Revision, Wrong> {
    Revision::from_packed(packed).ok_or_else(|| format!("{packed} is no packed revision"))
}

fn session_id(bytes: &[u8]) -> Result<SessionId, Wrong> {
    bytes.try_into().map(SessionId).map_err(|_| format!("a session id of {} bytes, not 16", bytes.len()))
}

fn pairs(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl Part for NamespaceSettings {
    type Message = proto::NamespaceSettings;

    fn to_message(&self) -> proto::NamespaceSettings {
        proto::NamespaceSettings { description: self.description.to_string(), metadata: pairs(&self.metadata) }
    }

    fn from_message(message: proto::NamespaceSettings) -> Result<Self, Wrong> {
        let metadata = Metadata::new(&message.metadata).map_err(invalid)?;
        let settings = Self { description: message.description.into(), metadata };
        settings.check().map_err(invalid)?;
        Ok(settings)
    }
}

impl Part for ServiceSettings {
    type Message = proto::ServiceSettings;

    fn to_message(&self) -> proto::ServiceSettings {
        proto::ServiceSettings {
            description: self.description.to_string(),
            owner: self.owner.to_string(),
            metadata: pairs(&self.metadata),
            protect_threshold: self.protect_threshold,
        }
    }

    fn from_message(message: proto::ServiceSettings) -> Result<Self, Wrong> {
        let settings = Self {
            description: message.description.into(),
            owner: message.owner.into(),
            metadata: Metadata::new(&message.metadata).map_err(invalid)?,
            protect_threshold: message.protect_threshold,
        };
        settings.check().map_err(invalid)?;
        Ok(settings)
    }
}

impl Part for Provider {
    type Message = proto::Provider;

    fn to_blob(&self) -> Vec<u8> {
        let mut out = Out::with_capacity(self.heap_bytes() + PROVIDER_BYTES);
        out.text(1, self.host());
        out.number(2, u64::from(self.port()));
        out.number(3, u64::from(self.weight()));
        out.text(4, self.protocol());
        out.text(5, self.version());
        out.text(6, self.zone());
        out.text(7, self.region());
        for (name, port) in self.ports() {
            out.message(8, |out| {
                out.text(1, name);
                out.number(2, u64::from(port));
            });
        }
        out.pairs(9, self.metadata());
        self.incarnation().into_iter().for_each(|incarnation| out.text_some(10, incarnation));
        match self.lease() {
            Lease::Ttl { ttl_ms, remove_after_ms } => out.message(11, |out| {
                out.message(1, |out| {
                    out.number(1, u64::from(*ttl_ms));
                    out.number(2, u64::from(*remove_after_ms));
                });
            }),
            Lease::Stream { session, remove_after_ms } => out.message(11, |out| {
                out.message(2, |out| {
                    out.bytes(1, &session.0);
                    out.number(2, u64::from(*remove_after_ms));
                });
            }),
            rare @ (Lease::Checked { .. } | Lease::Permanent) => out.bytes_some(11, &rare.to_blob()),
        }
        out.into_bytes()
    }

    fn to_message(&self) -> proto::Provider {
        let spec = self.spec();
        proto::Provider {
            host: spec.host,
            port: u32::from(self.port()),
            weight: u32::from(self.weight()),
            protocol: spec.protocol,
            version: spec.version,
            zone: spec.zone,
            region: spec.region,
            ports: self.ports().map(|(name, port)| (name.to_owned(), u32::from(port))).collect(),
            metadata: spec.metadata,
            incarnation: spec.incarnation,
            lease: Some(spec.lease.to_message()),
        }
    }

    fn from_message(message: proto::Provider) -> Result<Self, Wrong> {
        let spec = ProviderSpec {
            host: message.host,
            port: u64::from(message.port),
            ports: message.ports.into_iter().map(|(name, port)| (name, u64::from(port))).collect(),
            protocol: message.protocol,
            weight: u64::from(message.weight),
            version: message.version,
            zone: message.zone,
            region: message.region,
            metadata: message.metadata,
            lease: Lease::from_message(message.lease.ok_or_else(missing("lease"))?)?,
            incarnation: message.incarnation,
        };
        Self::new(&spec).map_err(invalid)
    }
}

/// As the provider that it is, with nothing but what names it: the first nodes wrote all that it had registered.
impl Part for Process {
    type Message = proto::Provider;

    fn to_message(&self) -> proto::Provider {
        use proto::lease::Kind;
        match self {
            Self::Incarnation(name) => proto::Provider { incarnation: Some(name.to_string()), ..Default::default() },
            Self::Session(session) => {
                let kind = Kind::Stream(proto::StreamLease { session: session.0.into(), remove_after_ms: 0 });
                proto::Provider { lease: Some(proto::Lease { kind: Some(kind) }), ..Default::default() }
            }
        }
    }

    fn from_message(message: proto::Provider) -> Result<Self, Wrong> {
        use proto::lease::Kind;
        match (message.incarnation, message.lease.and_then(|lease| lease.kind)) {
            (Some(name), _) if !name.is_empty() => Self::named(&name).map_err(invalid),
            (None, Some(Kind::Stream(stream))) => session_id(&stream.session).map(Self::Session),
            // Of one that named nothing, as the first nodes kept it: a name that nobody can have.
            _ => Ok(Self::Incarnation("".into())),
        }
    }
}

impl Part for Lease {
    type Message = proto::Lease;

    fn to_message(&self) -> proto::Lease {
        use proto::lease::Kind;
        let kind = match self {
            Self::Ttl { ttl_ms, remove_after_ms } => {
                Kind::Ttl(proto::TtlLease { ttl_ms: *ttl_ms, remove_after_ms: *remove_after_ms })
            }
            Self::Stream { session, remove_after_ms } => {
                Kind::Stream(proto::StreamLease { session: session.0.into(), remove_after_ms: *remove_after_ms })
            }
            Self::Checked { check, remove_after_ms } => Kind::Checked(proto::CheckedLease {
                check: Some(check.to_message()),
                remove_after_ms: *remove_after_ms,
            }),
            Self::Permanent => Kind::Permanent(proto::PermanentLease {}),
        };
        proto::Lease { kind: Some(kind) }
    }

    fn from_message(message: proto::Lease) -> Result<Self, Wrong> {
        use proto::lease::Kind;
        match message.kind.ok_or_else(missing("lease.kind"))? {
            Kind::Ttl(ttl) => Self::ttl(u64::from(ttl.ttl_ms), u64::from(ttl.remove_after_ms)).map_err(invalid),
            Kind::Stream(stream) => {
                Self::stream(session_id(&stream.session)?, u64::from(stream.remove_after_ms)).map_err(invalid)
            }
            Kind::Checked(checked) => {
                let check = Check::from_message(checked.check.ok_or_else(missing("lease.check"))?)?;
                Self::checked(check, checked.remove_after_ms.map(u64::from)).map_err(invalid)
            }
            Kind::Permanent(_) => Ok(Self::Permanent),
        }
    }
}

impl Part for Check {
    type Message = proto::Check;

    fn to_message(&self) -> proto::Check {
        use proto::check::Kind;
        let kind = match &self.kind {
            CheckKind::Http { path } => Kind::Http(proto::HttpCheck { path: path.to_string() }),
            CheckKind::Tcp => Kind::Tcp(proto::TcpCheck {}),
            CheckKind::Grpc { service } => Kind::Grpc(proto::GrpcCheck { service: service.to_string() }),
        };
        proto::Check {
            kind: Some(kind),
            interval_ms: self.interval_ms,
            timeout_ms: self.timeout_ms,
            failures: u32::from(self.failures),
            successes: u32::from(self.successes),
            port: self.port.map(u32::from),
        }
    }

    fn from_message(message: proto::Check) -> Result<Self, Wrong> {
        use proto::check::Kind;
        let kind = match message.kind.ok_or_else(missing("lease.check.kind"))? {
            Kind::Http(http) => CheckKind::http(&http.path).map_err(invalid)?,
            Kind::Tcp(_) => CheckKind::Tcp,
            Kind::Grpc(grpc) => CheckKind::grpc(&grpc.service).map_err(invalid)?,
        };
        let port = message.port.map(u16::try_from).transpose();
        let check = Self::new(
            kind,
            u64::from(message.interval_ms),
            u64::from(message.timeout_ms),
            u64::from(message.failures),
            u64::from(message.successes),
            port.map_err(|_| "lease.check.port is beyond 65535".to_owned())?,
        );
        check.map_err(invalid)
    }
}

impl Part for Author {
    type Message = proto::Author;

    fn to_message(&self) -> proto::Author {
        proto::Author { name: self.name.to_string(), door: self.door.to_string() }
    }

    fn from_message(message: proto::Author) -> Result<Self, Wrong> {
        Ok(Self::new(&message.name, &message.door))
    }
}

impl Part for Operator {
    type Message = proto::Operator;

    fn to_message(&self) -> proto::Operator {
        proto::Operator {
            isolated: self.isolated,
            weight: self.weight.map(u32::from),
            note: self.note.as_deref().map(str::to_owned),
            expires_at_ms: self.expires_at_ms,
            keep_ms: self.keep_ms,
            author: Some(self.author.to_message()),
            set_at_ms: self.set_at_ms,
            revision: self.revision.packed(),
        }
    }

    fn from_message(message: proto::Operator) -> Result<Self, Wrong> {
        let patch = OperatorPatch {
            weight: message.weight.map_or(Set::Leave, |weight| Set::To(u64::from(weight))),
            note: message.note.clone().map_or(Set::Leave, Set::To),
            keep_ms: Set::To(message.keep_ms),
            ..OperatorPatch::default()
        };
        patch.check().map_err(invalid)?;
        Ok(Self {
            isolated: message.isolated,
            weight: message.weight.map(|weight| weight as u16),
            note: message.note.map(Into::into),
            expires_at_ms: message.expires_at_ms,
            keep_ms: message.keep_ms,
            author: Author::from_message(message.author.ok_or_else(missing("author"))?)?,
            set_at_ms: message.set_at_ms,
            revision: revision(message.revision)?,
        })
    }
}

impl Part for Health {
    type Message = proto::Health;

    fn to_message(&self) -> proto::Health {
        use proto::health_reason::Kind;
        let kind = |reason: &HealthReason| match reason {
            HealthReason::LeaseLapsed => Kind::LeaseLapsed(proto::LeaseLapsed {}),
            HealthReason::SessionLost => Kind::SessionLost(proto::SessionLost {}),
            HealthReason::CheckFailed(detail) => Kind::CheckFailed(proto::CheckFailed { detail: detail.to_string() }),
        };
        let reason = self.reason.as_ref().map(|reason| proto::HealthReason { kind: Some(kind(reason)) });
        proto::Health { reason, since_ms: self.since_ms }
    }

    fn from_message(message: proto::Health) -> Result<Self, Wrong> {
        use proto::health_reason::Kind;
        let reason = |reason: proto::HealthReason| match reason.kind.ok_or_else(missing("reason.kind"))? {
            Kind::LeaseLapsed(_) => Ok::<_, Wrong>(HealthReason::LeaseLapsed),
            Kind::SessionLost(_) => Ok(HealthReason::SessionLost),
            Kind::CheckFailed(failed) => Ok(HealthReason::CheckFailed(failed.detail.into())),
        };
        Ok(Self { reason: message.reason.map(reason).transpose()?, since_ms: message.since_ms })
    }
}

impl Part for Removal {
    type Message = proto::Removal;

    fn to_message(&self) -> proto::Removal {
        let reason = match self.reason {
            RemovalReason::Deregistered => proto::RemovalReason::Deregistered,
            RemovalReason::Expired => proto::RemovalReason::Expired,
            RemovalReason::Operator => proto::RemovalReason::Operator,
        };
        proto::Removal {
            at_ms: self.at_ms,
            reason: reason.into(),
            author: Some(self.author.to_message()),
            revision: self.revision.packed(),
        }
    }

    fn from_message(message: proto::Removal) -> Result<Self, Wrong> {
        let reason = match message.reason() {
            proto::RemovalReason::Deregistered => RemovalReason::Deregistered,
            proto::RemovalReason::Expired => RemovalReason::Expired,
            proto::RemovalReason::Operator => RemovalReason::Operator,
            proto::RemovalReason::Unspecified => return Err(format!("{} is no removal reason", message.reason)),
        };
        Ok(Self {
            at_ms: message.at_ms,
            reason,
            author: Author::from_message(message.author.ok_or_else(missing("author"))?)?,
            revision: revision(message.revision)?,
        })
    }
}

impl Part for Cause {
    type Message = proto::Cause;

    fn to_message(&self) -> proto::Cause {
        use proto::cause::Kind;
        let kind = match self {
            Self::Lapse => Kind::Lapse(proto::LapseCause {}),
            Self::Session { session, epoch } => {
                Kind::Session(proto::SessionCause { session: session.0.into(), epoch: *epoch })
            }
            Self::Check { detail } => Kind::Check(proto::CheckCause { detail: detail.to_string() }),
        };
        proto::Cause { kind: Some(kind) }
    }

    fn from_message(message: proto::Cause) -> Result<Self, Wrong> {
        use proto::cause::Kind;
        match message.kind.ok_or_else(missing("cause.kind"))? {
            Kind::Lapse(_) => Ok(Self::Lapse),
            Kind::Session(session) => {
                Ok(Self::Session { session: session_id(&session.session)?, epoch: session.epoch })
            }
            Kind::Check(check) => Ok(Self::Check { detail: check.detail.into() }),
        }
    }
}
