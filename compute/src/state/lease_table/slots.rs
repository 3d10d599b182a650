//! Where a million leases live: 24 bytes each, found by key, chained into lists without an allocation.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::keyed::Secret;
use crate::model::{Instance, InstanceKey, ServiceKey};
use crate::state::freeze::{LeaseId, ServiceId};

/// No lease, no list.
pub(super) const NONE: u32 = u32::MAX;

/// One lease.
struct Slot {
    /// `None`: free.
    instance: Option<Arc<Instance>>,
    service: ServiceId,
    /// The list that it is in: a bucket of the wheel for a TTL lease, a session for a stream lease.
    list: u32,
    prev: u32,
    /// Of a free slot: the next free one.
    next: u32,
}

/// Names of services, each kept once.
struct Named {
    key: Option<ServiceKey>,
    leases: u32,
}

/// Where a lease is, with half of its key's hash: a table that grows does not ask every instance for its name again.
struct Place {
    hash: u32,
    at: u32,
}

impl Place {
    fn new(hash: u64, at: u32) -> Self {
        Self { hash: (hash >> 32) as u32, at }
    }

    /// The half, spread over all the bits that a table looks at.
    fn spread(hash: u64) -> u64 {
        (hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn hash(&self) -> u64 {
        Self::spread(u64::from(self.hash) << 32)
    }
}

pub(super) struct Slots {
    slots: Vec<Slot>,
    free: u32,
    by_key: HashTable<Place>,
    services: Vec<Named>,
    free_services: Vec<u32>,
    by_service: HashTable<u32>,
    /// Clients choose the names, so the hash has a secret. Nothing is ever iterated in hash order.
    hasher: Secret,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            by_key: HashTable::new(),
            services: Vec::new(),
            free_services: Vec::new(),
            by_service: HashTable::new(),
            hasher: Secret::default(),
        }
    }

    pub(super) fn find(&self, key: &InstanceKey) -> Option<LeaseId> {
        let service = self.find_service(&key.service)?;
        let hash = self.hasher.hash_one((service.0, key.id.as_str()));
        let is_it = |place: &Place| {
            let slot = &self.slots[place.at as usize];
            slot.service == service && slot.instance.as_ref().is_some_and(|i| i.id == key.id)
        };
        self.by_key.find(Place::spread(hash), is_it).map(|place| LeaseId(place.at))
    }

    /// Takes in a lease that is not there yet.
    pub(super) fn insert(&mut self, key: &InstanceKey, instance: Arc<Instance>) -> LeaseId {
        let service = self.name(&key.service);
        self.services[service.0 as usize].leases += 1;
        let hash = self.hasher.hash_one((service.0, instance.id.as_str()));
        let slot = Slot { instance: Some(instance), service, list: NONE, prev: NONE, next: NONE };
        let at = self.free;
        let at = if at == NONE {
            self.slots.push(slot);
            // A slot is 24 bytes: memory ends long before the numbers do.
            (self.slots.len() - 1) as u32
        } else {
            self.free = self.slots[at as usize].next;
            self.slots[at as usize] = slot;
            at
        };
        self.by_key.insert_unique(Place::spread(hash), Place::new(hash, at), Place::hash);
        LeaseId(at)
    }

    /// Gives a lease's place away. It must be in no list.
    pub(super) fn remove(&mut self, lease: LeaseId) {
        let slot = &self.slots[lease.0 as usize];
        let (service, hash) = (slot.service, hash_of(&self.hasher, slot));
        if let Ok(entry) = self.by_key.find_entry(Place::spread(hash), |place| place.at == lease.0) {
            entry.remove();
        }
        self.services[service.0 as usize].leases -= 1;
        let slot = &mut self.slots[lease.0 as usize];
        slot.instance = None;
        slot.next = self.free;
        self.free = lease.0;
    }

    pub(super) fn get(&self, lease: LeaseId) -> &Arc<Instance> {
        self.slots[lease.0 as usize].instance.as_ref().expect("a lease is asked for only while it has its slot")
    }

    pub(super) fn replace(&mut self, lease: LeaseId, instance: Arc<Instance>) {
        self.slots[lease.0 as usize].instance = Some(instance);
    }

    pub(super) fn key(&self, lease: LeaseId) -> InstanceKey {
        self.service_key(self.service(lease)).instance(self.get(lease).id.clone())
    }

    pub(super) fn service(&self, lease: LeaseId) -> ServiceId {
        self.slots[lease.0 as usize].service
    }

    pub(super) fn service_key(&self, service: ServiceId) -> &ServiceKey {
        self.services[service.0 as usize].key.as_ref().expect("a service has its name while it has a number")
    }

    /// How many leases a service has here.
    pub(super) fn leases_of(&self, service: ServiceId) -> u32 {
        self.services[service.0 as usize].leases
    }

    fn find_service(&self, key: &ServiceKey) -> Option<ServiceId> {
        let hash = self.hasher.hash_one(key);
        let is_it = |at: &u32| self.services[*at as usize].key.as_ref() == Some(key);
        self.by_service.find(hash, is_it).map(|at| ServiceId(*at))
    }

    /// The number of a service, given if it has none.
    pub(super) fn name(&mut self, key: &ServiceKey) -> ServiceId {
        if let Some(there) = self.find_service(key) {
            return there;
        }
        let named = Named { key: Some(key.clone()), leases: 0 };
        let at = match self.free_services.pop() {
            Some(at) => {
                self.services[at as usize] = named;
                at
            }
            None => {
                self.services.push(named);
                (self.services.len() - 1) as u32
            }
        };
        let (services, hasher) = (&self.services, &self.hasher);
        let hash = |at: &u32| services[*at as usize].key.as_ref().map_or(0, |key| hasher.hash_one(key));
        self.by_service.insert_unique(hasher.hash_one(key), at, hash);
        ServiceId(at)
    }

    /// Takes a number back from a service that has no lease here.
    pub(super) fn unname(&mut self, service: ServiceId) {
        let Some(key) = self.services[service.0 as usize].key.take() else { return };
        if let Ok(entry) = self.by_service.find_entry(self.hasher.hash_one(&key), |at| *at == service.0) {
            entry.remove();
        }
        self.free_services.push(service.0);
    }

    /// The list that a lease is in, or [`NONE`].
    pub(super) fn list(&self, lease: LeaseId) -> u32 {
        self.slots[lease.0 as usize].list
    }

    /// Puts a lease that is in no list at the head of one.
    pub(super) fn link(&mut self, lease: LeaseId, list: u32, head: &mut u32) {
        let slot = &mut self.slots[lease.0 as usize];
        debug_assert_eq!(slot.list, NONE, "a lease is in one list at most");
        (slot.list, slot.prev, slot.next) = (list, NONE, *head);
        if *head != NONE {
            self.slots[*head as usize].prev = lease.0;
        }
        *head = lease.0;
    }

    /// Takes a lease out of the list with this head.
    pub(super) fn unlink(&mut self, lease: LeaseId, head: &mut u32) {
        let slot = &mut self.slots[lease.0 as usize];
        let (prev, next) = (slot.prev, slot.next);
        (slot.list, slot.prev, slot.next) = (NONE, NONE, NONE);
        match prev {
            NONE => *head = next,
            prev => self.slots[prev as usize].next = next,
        }
        if next != NONE {
            self.slots[next as usize].prev = prev;
        }
    }

    /// The leases of a list.
    pub(super) fn chain(&self, head: u32) -> impl Iterator<Item = LeaseId> + '_ {
        let first = (head != NONE).then_some(head);
        let next = |at: &u32| Some(self.slots[*at as usize].next).filter(|next| *next != NONE);
        std::iter::successors(first, next).map(LeaseId)
    }
}

fn hash_of(hasher: &Secret, slot: &Slot) -> u64 {
    let id = slot.instance.as_ref().map_or("", |instance| instance.id.as_str());
    hasher.hash_one((slot.service.0, id))
}

#[cfg(test)]
mod tests;
