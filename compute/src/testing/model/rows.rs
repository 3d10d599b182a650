//! The model's state as rows, and what of them is not so in others.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::model::limits::TOMBSTONE_POSITIONS;
use crate::model::{Digest, InstanceKey, OriginRow, Row, Rows, ServiceRow, Tombstone};

use super::Model;

impl Model {
    /// Everything that a store must hold at the model's position.
    pub fn rows(&self) -> Rows {
        Rows {
            namespaces: puts(&self.namespaces),
            services: self.service_rows(),
            instances: self.living.iter().map(|(key, there)| Row::Put(key.clone(), Arc::new(there.clone()))).collect(),
            overrides: puts(&self.kept),
            tombstones: puts(&self.tombstones()),
            sessions: puts(&self.sessions),
            suspicions: puts(&self.suspicions),
            freezes: puts(&self.freezes),
            origins: self.origins(),
            members: puts(&self.nodes),
        }
    }

    pub fn service_rows(&self) -> Vec<Row<crate::model::ServiceKey, ServiceRow>> {
        let rows = self.services.iter().map(|(key, there)| {
            let digest = |sum: Digest, i: &crate::model::Instance| sum.plus(Digest::of(&i.id, i.revision));
            let row = ServiceRow {
                settings: there.settings.clone(),
                created_at_ms: there.created_at_ms,
                revision: there.touched,
                settings_revision: there.described,
                implicit: there.implicit,
                last_removal: self.last_removal(key).cloned(),
                digest: self.members(key).fold(Digest::default(), digest),
            };
            Row::Put(key.clone(), row)
        });
        rows.collect()
    }

    fn tombstones(&self) -> BTreeMap<InstanceKey, Tombstone> {
        let mut last = BTreeMap::new();
        for gone in &self.removals {
            let tombstone = Tombstone { revision: gone.removal.revision, generation: gone.generation };
            last.insert(gone.key.clone(), tombstone);
        }
        let at = self.position.offset();
        last.retain(|_, tombstone| tombstone.revision.position().offset() + TOMBSTONE_POSITIONS >= at);
        last
    }

    fn origins(&self) -> Vec<Row<crate::model::NodeIncarnation, OriginRow>> {
        let rows = self.heard.iter().map(|(node, last_seen)| {
            let counters: Vec<u64> = self.seen.iter().filter(|o| o.node == *node).map(|o| o.counter).collect();
            let highest = counters.last().copied().unwrap_or_default();
            let gaps = (1..highest).filter(|counter| counters.binary_search(counter).is_err()).collect();
            Row::Put(*node, OriginRow { highest, gaps, last_seen: *last_seen })
        });
        rows.collect()
    }
}

fn puts<K: Clone, V: Clone>(all: &BTreeMap<K, V>) -> Vec<Row<K, V>> {
    all.iter().map(|(key, value)| Row::Put(key.clone(), value.clone())).collect()
}

/// Each row that only one side has, or of which the two have different values.
pub fn differences(expected: Rows, found: Rows) -> Vec<String> {
    fn of<K: Ord + Debug, V: PartialEq + Debug>(
        all: &mut Vec<String>,
        mut expected: Vec<Row<K, V>>,
        found: Vec<Row<K, V>>,
    ) {
        for row in found {
            match expected.iter().position(|other| other.key() == row.key()) {
                Some(at) if expected[at] == row => drop(expected.swap_remove(at)),
                Some(at) => all.push(format!("expected {:?}, found {row:?}", expected.swap_remove(at))),
                None => all.push(format!("expected nothing, found {row:?}")),
            }
        }
        all.extend(expected.iter().map(|row| format!("expected {row:?}, found nothing")));
    }
    let mut all = Vec::new();
    of(&mut all, expected.namespaces, found.namespaces);
    of(&mut all, expected.services, found.services);
    of(&mut all, expected.instances, found.instances);
    of(&mut all, expected.overrides, found.overrides);
    of(&mut all, expected.tombstones, found.tombstones);
    of(&mut all, expected.sessions, found.sessions);
    of(&mut all, expected.suspicions, found.suspicions);
    of(&mut all, expected.freezes, found.freezes);
    of(&mut all, expected.origins, found.origins);
    of(&mut all, expected.members, found.members);
    all
}
