//! A lane with one slot for each subject: newer words are laid over what nobody has read yet. It can't be longer than
//! there are subjects, no word is lost that still means something, and who speaks never waits.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

pub(crate) struct Sender<K, V> {
    slots: Arc<Mutex<Slots<K, V>>>,
    bell: mpsc::Sender<()>,
}

pub(crate) struct Receiver<K, V> {
    slots: Arc<Mutex<Slots<K, V>>>,
    bell: mpsc::Receiver<()>,
    has_more: bool,
}

struct Slots<K, V> {
    by_key: HashMap<K, V>,
    /// Each key of `by_key` once, in the order of their first words.
    order: VecDeque<K>,
}

pub(crate) fn lane<K, V>() -> (Sender<K, V>, Receiver<K, V>) {
    let slots = Arc::new(Mutex::new(Slots { by_key: HashMap::new(), order: VecDeque::new() }));
    let (bell, rung) = mpsc::channel(1);
    (Sender { slots: slots.clone(), bell }, Receiver { slots, bell: rung, has_more: false })
}

impl<K, V> Clone for Sender<K, V> {
    fn clone(&self) -> Self {
        Self { slots: self.slots.clone(), bell: self.bell.clone() }
    }
}

impl<K: Hash + Eq + Clone, V: Default> Sender<K, V> {
    /// Lays a word over what waits for `key`.
    pub(crate) fn put(&self, key: K, lay: impl FnOnce(&mut V)) {
        {
            let mut slots = lock(&self.slots);
            let Slots { by_key, order } = &mut *slots;
            let slot = by_key.entry(key).or_insert_with_key(|key| {
                order.push_back(key.clone());
                V::default()
            });
            lay(slot);
        }
        // Full: it is rung already.
        let _ = self.bell.try_send(());
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.slots).order.len()
    }
}

impl<K: Hash + Eq, V> Receiver<K, V> {
    /// What waits longest, at most `max`: waits until there is something; `None` once nobody can speak any more.
    /// Cancel-safe.
    pub(crate) async fn take(&mut self, max: usize) -> Option<Vec<(K, V)>> {
        if !self.has_more {
            self.bell.recv().await?;
        }
        let mut slots = lock(&self.slots);
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(key) = slots.order.pop_front()
        {
            taken.extend(slots.by_key.remove_entry(&key));
        }
        self.has_more = !slots.order.is_empty();
        Some(taken)
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.slots).order.len()
    }
}

fn lock<K, V>(slots: &Mutex<Slots<K, V>>) -> MutexGuard<'_, Slots<K, V>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
