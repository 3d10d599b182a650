//! The PresenceStore port in memory, with faults, and the suite that every implementation passes.
//!
//! [`MemoryStore`] is the port's shortest honest implementation: what it does is what the suite asks of the others.

pub mod sample;

mod faulty;
mod suite;
#[cfg(test)]
mod tests;

pub use faulty::{Fault, FaultyStore, Odds};
pub use suite::{Failure, Stores, failures, pass};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::model::{
    FreezeRow, FreezeScope, Instance, InstanceKey, LogIdentity, LogState, MemberRow, Namespace, NamespaceRow,
    NodeIncarnation, OriginRow, OverrideRow, Position, Row, Rows, ServiceKey, ServiceRow, SessionId, SessionRow,
    SuspicionRow, Tombstone,
};
use crate::port::store::{Epoch, LandError, Loaded, PresenceStore, ReadError};

/// A store that lasts as long as its last clone: a clone is the same store, opened again.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Held>>);

#[derive(Clone, Default)]
struct Held {
    mark: Option<(Epoch, LogState)>,
    tables: Tables,
}

#[derive(Clone, Default)]
struct Tables {
    namespaces: BTreeMap<Namespace, NamespaceRow>,
    services: BTreeMap<ServiceKey, ServiceRow>,
    instances: BTreeMap<InstanceKey, Arc<Instance>>,
    overrides: BTreeMap<InstanceKey, OverrideRow>,
    tombstones: BTreeMap<InstanceKey, Tombstone>,
    sessions: BTreeMap<SessionId, SessionRow>,
    suspicions: BTreeMap<InstanceKey, SuspicionRow>,
    freezes: BTreeMap<FreezeScope, FreezeRow>,
    origins: BTreeMap<NodeIncarnation, OriginRow>,
    members: BTreeMap<NodeIncarnation, MemberRow>,
}

impl MemoryStore {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Somebody empties it under those who use it.
    pub fn forget(&self) {
        *self.held() = Held::default();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Whoever panicked did so before the assignment that ends each transaction: what is held is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PresenceStore for MemoryStore {
    async fn load(&self) -> Result<Loaded, ReadError> {
        let held = self.held();
        Ok(Loaded { log: held.mark.map(|(_, log)| log), rows: held.tables.rows() })
    }

    async fn lead(&self, identity: LogIdentity) -> Result<Epoch, LandError> {
        let mut held = self.held();
        let unbound = LogState { identity, watermark: Position::ZERO, time_ms: 0, rolling_hash: 0 };
        let (epoch, log) = held.mark.unwrap_or((Epoch(0), unbound));
        if log.identity != identity {
            return Err(LandError::Rejected(format!("bound to log {}, asked to lead log {identity}", log.identity)));
        }
        let raised = Epoch(epoch.0 + 1);
        held.mark = Some((raised, log));
        Ok(raised)
    }

    async fn land(&self, epoch: Epoch, rows: Rows, from: Position, upto: LogState) -> Result<(), LandError> {
        let mut held = self.held();
        let log = held.led_by(epoch)?;
        if log.watermark != from {
            return Err(LandError::Fenced { epoch, watermark: log.watermark });
        }
        if log.identity != upto.identity {
            return Err(LandError::Rejected(format!("bound to log {}, not to log {}", log.identity, upto.identity)));
        }
        if upto.watermark < from {
            return Err(LandError::Rejected(format!("watermark {from} can't go back to {}", upto.watermark)));
        }
        each_once(&rows)?;
        held.tables.take(rows);
        held.mark = Some((epoch, upto));
        Ok(())
    }

    async fn replace(&self, epoch: Epoch, rows: Rows, upto: LogState) -> Result<(), LandError> {
        let mut held = self.held();
        held.led_by(epoch)?;
        each_once(&rows)?;
        held.tables = Tables::default();
        held.tables.take(rows);
        held.mark = Some((epoch, upto));
        Ok(())
    }

    async fn mark(&self) -> Result<Option<(Epoch, LogState)>, ReadError> {
        Ok(self.held().mark)
    }
}

impl Held {
    fn led_by(&self, epoch: Epoch) -> Result<LogState, LandError> {
        match self.mark {
            Some((highest, log)) if highest == epoch => Ok(log),
            Some((highest, log)) => Err(LandError::Fenced { epoch: highest, watermark: log.watermark }),
            None => Err(LandError::Fenced { epoch: Epoch(0), watermark: Position::ZERO }),
        }
    }
}

impl Tables {
    fn take(&mut self, rows: Rows) {
        put_all(&mut self.namespaces, rows.namespaces, |row| row.revision.packed());
        put_all(&mut self.services, rows.services, |row| row.revision.packed());
        put_all(&mut self.instances, rows.instances, |row| row.revision.packed());
        put_all(&mut self.overrides, rows.overrides, |row| row.operator.revision.packed());
        put_all(&mut self.tombstones, rows.tombstones, |row| row.revision.packed());
        put_all(&mut self.sessions, rows.sessions, |row| row.revision.packed());
        put_all(&mut self.suspicions, rows.suspicions, |row| row.revision.packed());
        put_all(&mut self.freezes, rows.freezes, |row| row.revision.packed());
        put_all(&mut self.origins, rows.origins, |row| row.last_seen.packed());
        put_all(&mut self.members, rows.members, |row| row.seen.packed());
    }

    fn rows(&self) -> Rows {
        Rows {
            namespaces: puts(&self.namespaces),
            services: puts(&self.services),
            // Where heartbeats go is never stored: of those who load a store none has what another heard.
            instances: self.instances.iter().map(|(key, there)| Row::Put(key.clone(), unheard(there))).collect(),
            overrides: puts(&self.overrides),
            tombstones: puts(&self.tombstones),
            sessions: puts(&self.sessions),
            suspicions: puts(&self.suspicions),
            freezes: puts(&self.freezes),
            origins: puts(&self.origins),
            members: puts(&self.members),
        }
    }
}

fn unheard(instance: &Instance) -> Arc<Instance> {
    Arc::new(Instance { cell: Arc::default(), ..instance.clone() })
}

/// `age` orders the values of one key: an older one never overwrites a newer one.
fn put_all<K: Ord, V>(table: &mut BTreeMap<K, V>, rows: Vec<Row<K, V>>, age: fn(&V) -> u64) {
    for row in rows {
        match row {
            Row::Put(key, value) => {
                if table.get(&key).is_none_or(|held| age(held) <= age(&value)) {
                    table.insert(key, value);
                }
            }
            Row::Delete(key) => {
                table.remove(&key);
            }
        }
    }
}

/// One key twice has no one value at the batch's end: refused before anything is written.
fn each_once(rows: &Rows) -> Result<(), LandError> {
    fn once<K: Ord + Debug, V>(rows: &[Row<K, V>]) -> Result<(), LandError> {
        let mut seen = BTreeSet::new();
        match rows.iter().find(|row| !seen.insert(row.key())) {
            Some(twice) => Err(LandError::Rejected(format!("row {:?} twice in one batch", twice.key()))),
            None => Ok(()),
        }
    }
    once(&rows.namespaces)?;
    once(&rows.services)?;
    once(&rows.instances)?;
    once(&rows.overrides)?;
    once(&rows.tombstones)?;
    once(&rows.sessions)?;
    once(&rows.suspicions)?;
    once(&rows.freezes)?;
    once(&rows.origins)?;
    once(&rows.members)
}

fn puts<K: Clone, V: Clone>(table: &BTreeMap<K, V>) -> Vec<Row<K, V>> {
    table.iter().map(|(key, value)| Row::Put(key.clone(), value.clone())).collect()
}
