use std::sync::Arc;

use compute::port::Chance;
use compute::testing::chance::suite::{Site, suite};

use super::SystemChance;

struct Machine;

impl Site for Machine {
    fn fresh(&self) -> Arc<dyn Chance> {
        Arc::new(SystemChance)
    }

    fn seeded(&self, _: u64) -> Option<Arc<dyn Chance>> {
        None
    }
}

#[test]
fn the_machines_chance_passes() {
    suite(&Machine).expect("every rule holds");
}
