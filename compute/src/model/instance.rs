use std::fmt;
use std::sync::Arc;

use super::{Digest, Health, InstanceId, Lease, LeaseCell, Operator, Provider, Revision};

/// One running provider, in three parts that never overwrite each other: what the provider says, what the checker
/// found, what the operator set.
///
/// Immutable and shared: a change makes a new one. [`Instance::cell`] alone moves, and is not part of the value.
#[derive(Clone)]
pub struct Instance {
    pub id: InstanceId,
    pub provider: Provider,
    pub health: Health,
    pub operator: Option<Box<Operator>>,
    /// Log time of the generation's register.
    pub registered_at_ms: u64,
    /// The register that began this life of the instance.
    pub generation: Revision,
    /// The last change of any part.
    pub revision: Revision,
    /// This node's heartbeats of the lease.
    pub cell: Arc<LeaseCell>,
}

impl Instance {
    pub fn is_healthy(&self) -> bool {
        self.health.is_healthy()
    }

    pub fn is_isolated(&self) -> bool {
        self.operator.as_ref().and_then(|o| o.isolated).unwrap_or(false)
    }

    /// The weight in force: the operator's, else the provider's.
    pub fn weight(&self) -> u16 {
        self.operator.as_ref().and_then(|o| o.weight).unwrap_or(self.provider.weight())
    }

    /// Fit to be called: healthy, not isolated, weight above 0.
    pub fn is_usable(&self) -> bool {
        self.is_healthy() && !self.is_isolated() && self.weight() > 0
    }

    pub fn lease(&self) -> &Lease {
        self.provider.lease()
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.id, self.revision)
    }
}

impl PartialEq for Instance {
    fn eq(&self, other: &Self) -> bool {
        let value = |i: &Self| (i.registered_at_ms, i.generation, i.revision);
        self.id == other.id
            && value(self) == value(other)
            && self.provider == other.provider
            && self.health == other.health
            && self.operator == other.operator
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .field("health", &self.health)
            .field("operator", &self.operator)
            .field("registered_at_ms", &self.registered_at_ms)
            .field("generation", &self.generation)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
