//! What changed in a closed range of the log.

use std::hash::Hash;
use std::sync::Arc;

use crate::keyed::Keyed;
use crate::model::{
    FreezeRow, FreezeScope, Instance, InstanceKey, LogState, MemberRow, Namespace, NamespaceRow, NodeIncarnation,
    OriginRow, OverrideRow, Row, Rows, ServiceKey, ServiceRow, SessionId, SessionRow, SuspicionRow, Tombstone,
};

use super::State;
use super::dirty::Dirty;

macro_rules! sealed {
    ($($field:ident: $key:ty => $value:ty,)+) => {
        /// What changed in one range of the log, with its values at the end of it; `None`: it is gone. It is never
        /// changed while a landing reads it, so that landings take no time of the applier's.
        #[derive(Default)]
        pub(super) struct Sealed {
            $($field: Keyed<$key, Option<$value>>,)+
        }

        impl Sealed {
            fn of(rows: Rows) -> Self {
                Self { $($field: rows.$field.into_iter().map(Row::into_parts).collect(),)+ }
            }

            pub(super) fn len(&self) -> usize {
                [$(self.$field.len()),+].iter().sum()
            }

            /// The range behind this one becomes a part of it.
            pub(super) fn go_on(&mut self, later: Self) {
                $(go_on(&mut self.$field, later.$field);)+
            }
        }

        impl Unlanded {
            /// Coalesced to the values at the end, in no order.
            pub(crate) fn rows(&self) -> Rows {
                Rows { $($field: last(self.ranges.iter().map(|range| &range.$field)),)+ }
            }
        }
    };
}

sealed! {
    namespaces: Namespace => NamespaceRow,
    services: ServiceKey => ServiceRow,
    instances: InstanceKey => Arc<Instance>,
    overrides: InstanceKey => OverrideRow,
    tombstones: InstanceKey => Tombstone,
    sessions: SessionId => SessionRow,
    suspicions: InstanceKey => SuspicionRow,
    freezes: FreezeScope => FreezeRow,
    origins: NodeIncarnation => OriginRow,
    members: NodeIncarnation => MemberRow,
}

impl Sealed {
    /// What `dirty` names, as `state` has it.
    pub(super) fn seal(mut dirty: Dirty, state: &State) -> Self {
        // They have their values with them.
        let instances = std::mem::take(&mut dirty.instances);
        Self { instances, ..Self::of(dirty.rows(state)) }
    }
}

/// Ranges that follow each other, for a landing.
pub(crate) struct Unlanded {
    pub(super) ranges: Vec<Arc<Sealed>>,
    /// The log at the end of the last one.
    pub(crate) upto: LogState,
}

impl Unlanded {
    /// A key that changed in several ranges counts in each.
    pub(crate) fn len(&self) -> usize {
        self.ranges.iter().map(|range| range.len()).sum()
    }
}

/// The smaller moves into the larger: however long the store is away, a key moves a few times only.
fn go_on<K: Eq + Hash, V>(earlier: &mut Keyed<K, V>, mut later: Keyed<K, V>) {
    if earlier.len() >= later.len() {
        earlier.extend(later);
        return;
    }
    std::mem::swap(earlier, &mut later);
    for (key, value) in later {
        earlier.entry(key).or_insert(value);
    }
}

/// What the last of the maps has that knows a key.
fn last<'a, K, V>(maps: impl ExactSizeIterator<Item = &'a Keyed<K, Option<V>>> + Clone) -> Vec<Row<K, V>>
where
    K: Clone + Eq + Hash + 'a,
    V: Clone + 'a,
{
    let row = |(key, value): (&K, &Option<V>)| Row::from((key.clone(), value.clone()));
    if maps.len() == 1 {
        return maps.flatten().map(row).collect();
    }
    let mut all: Keyed<&K, &Option<V>> = Keyed::default();
    all.reserve(maps.clone().map(|map| map.len()).sum());
    maps.for_each(|map| all.extend(map));
    all.into_iter().map(row).collect()
}
