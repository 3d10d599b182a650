//! Chance that is not by chance: what a test says comes next, or the same again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::port::Chance;

/// Over any chance, and faithful to it until it is told otherwise.
pub struct RiggedChance {
    inner: Arc<dyn Chance>,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    script: VecDeque<[u8; 16]>,
    /// What was drawn last.
    last: [u8; 16],
    repeats: usize,
}

impl RiggedChance {
    pub fn over(inner: Arc<dyn Chance>) -> Arc<Self> {
        Arc::new(Self { inner, plan: Mutex::default() })
    }

    /// What the next draws give, one each, behind what was scripted before.
    pub fn script(&self, draws: impl IntoIterator<Item = [u8; 16]>) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).script.extend(draws);
    }

    /// The next so many draws, behind the script, give what the last one gave: two nodes or sessions of one name.
    pub fn repeat(&self, draws: usize) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).repeats = draws;
    }
}

impl Chance for RiggedChance {
    fn bytes(&self) -> [u8; 16] {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.last = match plan.script.pop_front() {
            Some(scripted) => scripted,
            None if plan.repeats > 0 => {
                plan.repeats -= 1;
                plan.last
            }
            None => self.inner.bytes(),
        };
        plan.last
    }
}
