//! What a caller may ask of the registry, and what it is answered.

use std::sync::Arc;

use crate::model::{
    Author, Instance, InstanceKey, Namespace, NamespaceRow, NamespaceSettings, OperatorPatch, OverrideRow, Process,
    Provider, RemovalReason, Revision, ServiceKey, ServiceRow, ServiceSettings, SessionId,
};

/// How far a write must have come before it is answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Ack {
    /// Accepted on this node; a crash of it may lose the write.
    Memory,
    /// Durable in the change log, and applied here.
    #[default]
    Log,
    /// In the store as well.
    Store,
}

/// How far a write had come when it was answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reached {
    /// The log is away: kept in this node's overlay and appended when it is back.
    Overlay,
    Memory,
    Log,
    Store,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    pub author: Author,
    /// Speaks with an operator's right: its deregisters count as such.
    pub is_operator: bool,
}

/// A write. Values are checked already; what can only be told from the state is not.
#[derive(Clone, Debug)]
pub enum Command {
    PutNamespace {
        namespace: Namespace,
        settings: NamespaceSettings,
    },
    DeleteNamespace {
        namespace: Namespace,
    },
    /// `If-Match` in `expected`.
    PutService {
        service: ServiceKey,
        patch: ServicePatch,
        expected: Option<Revision>,
    },
    DeleteService {
        service: ServiceKey,
        expected: Option<Revision>,
    },
    /// `epoch` goes with a stream lease. `generation`: only while it still is that one.
    Register {
        instance: InstanceKey,
        provider: Box<Provider>,
        epoch: Option<u32>,
        generation: Option<Revision>,
    },
    Deregister {
        instance: InstanceKey,
        generation: Option<Revision>,
        reason: RemovalReason,
    },
    /// A heartbeat that the lock-free path could not answer: of a suspect, or of an instance not seen here.
    Renew {
        instance: InstanceKey,
        generation: Option<Revision>,
    },
    Operate {
        instance: InstanceKey,
        generation: Option<Revision>,
        patch: OperatorPatch,
    },
    /// What an operator sets where nobody is registered, for whoever comes.
    KeepOverride {
        instance: InstanceKey,
        /// All that is said: what is not is not set.
        word: OperatorPatch,
        /// Log time at which it ends; else after the word's `keep_ms`.
        until_ms: Option<u64>,
        /// Not for whoever comes, but for this process alone.
        only_for: Option<Process>,
    },
    DropOverride {
        instance: InstanceKey,
    },
    OpenSession {
        session: SessionId,
        grace_ms: u32,
        client: Arc<str>,
    },
    AttachSession {
        session: SessionId,
    },
    CloseSession {
        session: SessionId,
        epoch: u32,
        deregister: bool,
    },
}

/// What to set of a service's settings; `None` leaves a field (PATCH) as it is. `whole` (PUT) sets the rest to defaults.
#[derive(Clone, Debug, Default)]
pub struct ServicePatch {
    pub whole: bool,
    pub description: Option<Box<str>>,
    pub owner: Option<Box<str>>,
    pub metadata: Option<crate::model::Metadata>,
    pub protect_threshold: Option<f64>,
}

impl ServicePatch {
    pub fn over(&self, old: &ServiceSettings) -> ServiceSettings {
        let base = if self.whole { ServiceSettings::default() } else { old.clone() };
        ServiceSettings {
            description: self.description.clone().unwrap_or(base.description),
            owner: self.owner.clone().unwrap_or(base.owner),
            metadata: self.metadata.clone().unwrap_or(base.metadata),
            // Adding 0 makes one of the two zeros: nobody is shown a -0.
            protect_threshold: self.protect_threshold.unwrap_or(base.protect_threshold) + 0.0,
        }
    }
}

/// What a command did.
#[derive(Clone, Debug)]
pub enum Answer {
    Namespace {
        namespace: Namespace,
        row: NamespaceRow,
        created: bool,
    },
    Service {
        service: ServiceKey,
        row: Arc<ServiceRow>,
        created: bool,
    },
    Instance {
        key: InstanceKey,
        instance: Arc<Instance>,
        created: bool,
    },
    Override {
        kept: Box<KeptOverride>,
        created: bool,
    },
    Session {
        session: SessionId,
        epoch: u32,
        grace_ms: u32,
    },
    /// Removed; what it was, where that is known.
    Removed,
    Renewed,
}

/// An answer, and how durable it is.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub answer: Answer,
    pub reached: Reached,
    /// The change's revision, or that of the state which made a change needless; ZERO while not in the log.
    pub revision: Revision,
}

/// An operator's word that outlived its instance, as listed.
#[derive(Clone, Debug)]
pub struct KeptOverride {
    pub instance: InstanceKey,
    pub row: OverrideRow,
}
