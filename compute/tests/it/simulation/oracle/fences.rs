//! No decision was applied whose fence was stale: an independent model reads the journal again, and is the truth for
//! everything else.

use std::collections::BTreeMap;

use compute::model::{Digest, InstanceKey, Op, Position, Revision, Row, ServiceKey};
use compute::testing::journal::Decided;
use compute::testing::model::{Model, differences};

use super::super::ports::Landed;

/// A service at one of its revisions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::simulation) struct Known {
    pub(in crate::simulation) revision: Revision,
    pub(in crate::simulation) digest: Digest,
    pub(in crate::simulation) count: usize,
}

pub(in crate::simulation) struct Truth {
    /// Each service at each of its revisions, rising.
    services: BTreeMap<ServiceKey, Vec<Known>>,
    /// At the end: healthy or not.
    living: BTreeMap<InstanceKey, bool>,
    /// What the store held otherwise than the model at the same position.
    pub(in crate::simulation) landed_otherwise: Vec<String>,
}

impl Truth {
    /// Reads the journal; an error names the decision that did not stand.
    pub(super) fn of(decided: &[Decided], landed: &[Landed]) -> Result<Self, String> {
        let mut model = Model::new();
        let mut truth = Self { services: BTreeMap::new(), living: BTreeMap::new(), landed_otherwise: Vec::new() };
        let mut held: BTreeMap<Position, &Landed> = BTreeMap::new();
        for landed in landed {
            held.entry(landed.held.log.map_or(Position::ZERO, |log| log.watermark)).or_insert(landed);
        }
        for decided in decided {
            model.read(decided).map_err(|wrong| wrong.to_string())?;
            let is_quiet = |op: &Op| matches!(op, Op::Beacon { .. } | Op::Gone { .. } | Op::Suspect { .. });
            if !decided.entry.frame.changes.iter().all(|change| is_quiet(&change.op)) {
                truth.note(&model);
            }
            if let Some(landed) = held.get(&decided.entry.position) {
                let mut rows = model.rows();
                // The namespace that always exists has no row until somebody says something of it.
                rows.namespaces.retain(|row| !matches!(row, Row::Put(_, row) if row.revision == Revision::ZERO));
                let differences = differences(rows, landed.held.rows.clone());
                let differ = |line| format!("the store at {}: {line}", decided.entry.position);
                truth.landed_otherwise.extend(differences.into_iter().map(differ));
            }
        }
        truth.living = model.living.iter().map(|(key, there)| (key.clone(), there.is_healthy())).collect();
        Ok(truth)
    }

    fn note(&mut self, model: &Model) {
        for row in model.service_rows() {
            let Row::Put(service, row) = row else { continue };
            let revisions = self.services.entry(service.clone()).or_default();
            if revisions.last().is_none_or(|last| last.revision < row.revision) {
                let count = model.living.keys().filter(|key| key.service == service).count();
                revisions.push(Known { revision: row.revision, digest: row.digest, count });
            }
        }
    }

    /// The service as of a position; `None`: nobody had registered it.
    pub(super) fn at(&self, service: &ServiceKey, position: Position) -> Option<Known> {
        let revisions = self.services.get(service)?;
        revisions.iter().rev().find(|known| known.revision <= position.last()).copied()
    }

    pub(super) fn known(&self, service: &ServiceKey, revision: Revision) -> Option<Known> {
        let revisions = self.services.get(service)?;
        let at = revisions.binary_search_by_key(&revision, |known| known.revision).ok()?;
        Some(revisions[at])
    }

    pub(super) fn last(&self, service: &ServiceKey) -> Option<Known> {
        self.services.get(service)?.last().copied()
    }

    /// Whether it is there at the end, and then whether it is healthy.
    pub(super) fn health(&self, key: &InstanceKey) -> Option<bool> {
        self.living.get(key).copied()
    }
}
