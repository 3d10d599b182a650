use std::sync::Arc;

use super::{
    Digest, FreezeScope, HealthReason, InstanceKey, LogIdentity, Namespace, NamespaceSettings, NodeIncarnation,
    Operator, OverrideRow, Position, Provider, RemovalReason, Revision, ServiceKey, ServiceSettings, SessionId,
};

/// Where a change was accepted. The pair is given to one change only, and apply takes it at most once, so a change
/// whose append had an unknown outcome may be appended again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Origin {
    pub node: NodeIncarnation,
    /// From 1, rising.
    pub counter: u64,
}

/// Who asked for a change, and through which door.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Author {
    /// A token's name, `anonymous`, or `node` for what the registry decides itself.
    pub name: Arc<str>,
    /// `http`, `grpc`, `session`, `nacos`, ... or `lease` and `check` for what the registry decides itself.
    pub door: Arc<str>,
}

impl Author {
    pub fn new(name: &str, door: &str) -> Self {
        Self { name: name.into(), door: door.into() }
    }
}

/// What an accepting node saw; apply refuses the change when it is no longer true.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Base {
    /// It stood at this revision.
    At(Revision),
    /// It was not there when everything up to this position was applied.
    Absent(Position),
}

/// Why somebody thinks that an instance is gone.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Cause {
    /// No heartbeat for two thirds of its TTL.
    Lapse,
    /// Its session is lost; void once the session's epoch has moved on.
    Session { session: SessionId, epoch: u32 },
    /// As many probes failed as its threshold says; what the last one saw.
    Check { detail: Box<str> },
}

impl Cause {
    /// The reason an instance shows when this suspicion proves true.
    pub fn reason(&self) -> HealthReason {
        match self {
            Self::Lapse => HealthReason::LeaseLapsed,
            Self::Session { .. } => HealthReason::SessionLost,
            Self::Check { detail } => HealthReason::CheckFailed(detail.clone()),
        }
    }
}

/// One committed mutation of presence, with what it rests on.
#[derive(Clone, PartialEq, Debug, Hash)]
pub struct Change {
    pub origin: Origin,
    pub author: Author,
    pub op: Op,
}

#[derive(Clone, PartialEq, Debug, Hash)]
pub enum Op {
    /// Create (`Absent`) or replace the settings of a namespace.
    PutNamespace { namespace: Namespace, settings: NamespaceSettings, base: Base },
    /// Only when it holds no service.
    DeleteNamespace { namespace: Namespace, base: Revision },
    /// Create (`Absent`) or replace the settings of a service.
    PutService { service: ServiceKey, settings: ServiceSettings, base: Base },
    /// Only when it holds no instance.
    DeleteService { service: ServiceKey, base: Revision },
    /// A service that a register made, empty for long: as `DeleteService`, void when anything touched it since.
    CollectService { service: ServiceKey, base: Revision },

    /// Create or replace what the provider owns. `epoch`: that of the session whose lease it is.
    Register { instance: InstanceKey, provider: Box<Provider>, base: Base, epoch: Option<u32> },
    /// Remove, if it is still the same life.
    Deregister { instance: InstanceKey, generation: Revision, reason: RemovalReason },
    /// Replace what the operator owns, whole; `None` ends it.
    Operate { instance: InstanceKey, generation: Revision, base: Revision, operator: Option<Box<Operator>> },
    /// An operator's word for whoever registers where nobody is. `absent`: nobody was there when everything up to it was
    /// applied; `over`: the kept word that it takes the place of.
    KeepOverride { instance: InstanceKey, absent: Position, over: Option<Revision>, kept: Box<OverrideRow> },
    /// The operator's word of this revision has ended, on a live instance or as a kept one.
    EndOverride { instance: InstanceKey, operator: Revision },

    /// Someone thinks it is gone.
    Suspect { instance: InstanceKey, generation: Revision, age_ms: u64, cause: Cause },
    /// It is not: someone heard it `age_ms` ago. Clears the suspicion, also after `Unhealthy`.
    Refute { instance: InstanceKey, suspicion: Revision, age_ms: u64 },
    /// The second opinion on a failed check agrees.
    Confirm { instance: InstanceKey, suspicion: Revision },
    /// The suspicion stood for the whole lease.
    Unhealthy { instance: InstanceKey, suspicion: Revision },
    /// And for the time to removal.
    Expire { instance: InstanceKey, suspicion: Revision },

    /// A client opened a session on this node.
    OpenSession { session: SessionId, node: NodeIncarnation, grace_ms: u32, client: Arc<str> },
    /// A client brought its token to this node; `epoch` is the new one, void unless it is the next.
    AttachSession { session: SessionId, node: NodeIncarnation, epoch: u32 },
    /// The session is over; `deregister` removes what it registered, else it must hold nothing any more.
    CloseSession { session: SessionId, epoch: u32, deregister: bool },

    /// Too many would go at once: removals in `scope` are held back.
    Freeze { scope: FreezeScope, lapsed: u32, of: u32 },
    /// They are no longer.
    Release { scope: FreezeScope, freeze: Revision },

    /// The origin's node lives: up to where it has applied the log, the rolling hash of that, and what came of it. Void
    /// unless both positions are below its own.
    Beacon {
        name: Arc<str>,
        /// Where other nodes reach it; may be empty.
        peer: Arc<str>,
        applied: Position,
        rolling_hash: u64,
        /// Of all instances, as of `applied`: the sum of all services' digests. The first nodes did not say it.
        digest: Option<Digest>,
        /// The same, of the state that the node has made anew aside, if it has.
        rebuilt: Option<Digest>,
        /// Up to where it knows the rows to be in the store.
        landed: Position,
        /// It drains, and shall be given nothing any more.
        leaving: bool,
    },
    /// This node was not heard, or has said goodbye: its words about leases no longer count.
    Gone { node: NodeIncarnation },
}

/// One record of the change log: what gathered while the last append was under way.
#[derive(Clone, PartialEq, Debug, Hash)]
pub struct Frame {
    pub identity: LogIdentity,
    pub writer: NodeIncarnation,
    /// The writer's wall clock; the log's time is this, forced monotone by apply.
    pub time_ms: u64,
    pub changes: Vec<Change>,
}

/// A frame in its place.
#[derive(Clone, Debug)]
pub struct Entry {
    pub position: Position,
    pub frame: Arc<Frame>,
    /// Of the bytes in the log: what the rolling hash is made of.
    pub checksum: u64,
}
