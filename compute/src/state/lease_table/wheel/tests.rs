use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::{InstanceKey, Lease};
use crate::state::lease_table::tests::world::instance;

fn fill(slots: &mut Slots, count: usize) -> Vec<LeaseId> {
    let put = |n: usize| {
        let key = InstanceKey::new("default", "s", &format!("i{n}")).unwrap();
        slots.insert(&key, instance(&key.id, Lease::DEFAULT, 1))
    };
    (0..count).map(put).collect()
}

#[test]
fn far_times_are_looked_at_on_the_way() {
    let mut slots = Slots::new();
    let lease = fill(&mut slots, 1)[0];
    let mut wheel = Wheel::new();
    let at = 3_600_000;
    wheel.put(&mut slots, lease, at);
    let mut looks = 0;
    loop {
        let now = wheel.next_deadline().unwrap();
        assert_eq!(wheel.pop(&mut slots, now), Some(lease));
        looks += 1;
        if now >= at {
            break;
        }
        wheel.put(&mut slots, lease, at);
    }
    assert_eq!(looks, 3_600_000_u64.div_ceil(BUCKET_MS * (BUCKETS - 1)));
}

#[test]
fn a_long_pause_loses_nothing() {
    let mut slots = Slots::new();
    let leases = fill(&mut slots, 3);
    let mut wheel = Wheel::new();
    for (lease, at) in leases.iter().zip([100, 150_000, 190_000]) {
        wheel.put(&mut slots, *lease, at);
    }
    let popped: Vec<_> = std::iter::from_fn(|| wheel.pop(&mut slots, 86_400_000)).collect();
    assert_eq!(popped, leases);
    wheel.put(&mut slots, leases[0], 86_400_100);
    assert_eq!((wheel.pop(&mut slots, 86_400_099), wheel.next_deadline()), (None, Some(86_400_100)));
    assert_eq!(wheel.pop(&mut slots, 86_400_100), Some(leases[0]));
}

proptest! {
    /// Never early, at most a bucket late, nothing lost, whatever is put and taken out in between.
    #[test]
    fn on_time(steps in prop::collection::vec((0_u64..300_000, 0_usize..20, any::<bool>()), 1..120)) {
        let mut slots = Slots::new();
        let leases = fill(&mut slots, 20);
        let mut wheel = Wheel::new();
        let mut waiting: BTreeSet<(u64, LeaseId)> = BTreeSet::new();
        let mut now = 0;
        for (step, which, takes_out) in steps {
            let lease = leases[which];
            wheel.take_out(&mut slots, lease);
            waiting.retain(|(_, of)| *of != lease);
            if !takes_out {
                wheel.put(&mut slots, lease, now + step);
                waiting.insert((now + step, lease));
            }
            now += step / 7;
            while let Some(lease) = wheel.pop(&mut slots, now) {
                let at = waiting.iter().find(|(_, of)| *of == lease).map(|(at, _)| *at);
                prop_assert!(at.is_some(), "popped what was not put");
                waiting.retain(|(_, of)| *of != lease);
                let at = at.unwrap();
                if at > now {
                    // On the way to a time beyond the reach.
                    prop_assert!(at > BUCKET_MS * (BUCKETS - 1));
                    wheel.put(&mut slots, lease, at);
                    waiting.insert((at, lease));
                }
            }
            let late = waiting.iter().find(|(at, _)| at + BUCKET_MS <= now);
            prop_assert!(late.is_none(), "{late:?} at {now}");
            if let Some((first, _)) = waiting.first() {
                prop_assert!(wheel.next_deadline().unwrap() <= first + BUCKET_MS);
            }
        }
    }
}
