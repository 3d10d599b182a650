//! A value that tasks wait for. Those who wait are woken in the order in which they came: tokio's watch wakes them in
//! a random one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Level<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Level<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Notify::new() }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value());
        self.changed.notify_waiters();
    }

    pub(super) fn is<A>(&self, of: impl FnOnce(&T) -> A) -> A {
        of(&self.value())
    }

    /// Until it is so.
    pub(super) async fn until(&self, so: impl Fn(&T) -> bool) {
        loop {
            let changed = self.changed.notified();
            if so(&self.value()) {
                return;
            }
            changed.await;
        }
    }

    fn value(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
