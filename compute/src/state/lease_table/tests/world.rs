use std::sync::Arc;

use crate::model::{Health, Instance, InstanceId, Lease, LeaseCell, Position, Provider, ProviderSpec, Revision};

/// The revision of the `n`th change.
pub(in crate::state) fn revision(n: u64) -> Revision {
    Position::new(1, n).unwrap().at(0)
}

pub(in crate::state) fn instance(id: &InstanceId, lease: Lease, generation: u64) -> Arc<Instance> {
    let spec = ProviderSpec { lease, ..ProviderSpec::at("10.0.0.1", 80) };
    Arc::new(Instance {
        id: id.clone(),
        provider: Provider::new(&spec).unwrap(),
        health: Health::good(0),
        operator: None,
        registered_at_ms: 0,
        generation: revision(generation),
        revision: revision(generation),
        cell: Arc::new(LeaseCell::default()),
    })
}
