//! Random fleets: a live instance never goes, a dead one always does, and no word is said without a reason.

use proptest::prelude::*;

use super::fleet::{Fleet, Provided, Random, TICK_MS, fallen, name, refutes, run};
use crate::model::Lease;
use crate::port::clock::MonoMs;

const TTL_MS: MonoMs = 3_000;
const REMOVE_MS: MonoMs = 2_000;
/// As the contract has it for such a TTL.
const SLACK_MS: MonoMs = 3_000;
const STALL_MS: MonoMs = 1_200;
const PROVIDERS: usize = 12;

struct Story {
    fleet: Fleet,
    providers: Vec<Provided>,
    start: MonoMs,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let lease = Lease::ttl(TTL_MS, REMOVE_MS).unwrap();
        let leases: Vec<_> = (0..PROVIDERS).map(|n| (name(n), lease.clone())).collect();
        let mut fleet = Fleet::new(seed, 1 + random.below(4), &leases);
        fleet.delay_ms = 20 + random.below(180);
        fleet.forward_ms = [None, Some(200), Some(1_000)][random.below(3) as usize];
        let start = fleet.now;
        let mut provider = |n: usize| Provided {
            key: name(n),
            interval_ms: 300 + random.below(TTL_MS / 3 - 300),
            next: start + random.below(1_000),
            dies_at: if n.is_multiple_of(2) { MonoMs::MAX } else { start + random.below(60_000) },
            last: start,
        };
        let providers = (0..PROVIDERS).map(&mut provider).collect();
        Self { fleet, providers, start }
    }

    /// What happens to the nodes, at random times.
    fn live(&mut self, random: &mut Random) {
        let end = self.start + 70_000;
        while self.fleet.now < end {
            let until = self.fleet.now + 500 + random.below(9_000);
            run(&mut self.fleet, &mut self.providers, until);
            match random.below(6) {
                0 if self.fleet.len() > 1 => self.fleet.kill(random.below(4) as usize),
                1 if self.fleet.len() < 5 => self.fleet.join(),
                2..=4 => self.fleet.stall(random.below(4) as usize, random.below(STALL_MS)),
                _ => {}
            }
        }
        // Whatever changed hands last has its full time, and all that follows.
        let until = self.fleet.now + 45_000;
        run(&mut self.fleet, &mut self.providers, until);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn the_living_stay_and_the_dead_go(seed in any::<u64>()) {
        let mut story = Story::new(seed);
        story.live(&mut Random(seed ^ 0x5bd1));
        let fallen = fallen(&story.fleet);
        for provider in &story.providers {
            let lives = provider.dies_at == MonoMs::MAX;
            if lives {
                prop_assert!(!fallen.contains(&provider.key), "{} lives", provider.key);
                prop_assert_eq!(story.fleet.is_healthy(&provider.key), Some(true));
            } else {
                prop_assert!(story.fleet.is_healthy(&provider.key).is_none(), "{} is dead", provider.key);
            }
        }
    }

    #[test]
    fn without_changes_of_hands_the_dead_go_in_time(seed in any::<u64>()) {
        let mut story = Story::new(seed);
        let lates = story.fleet.forward_ms.unwrap_or(0);
        let end = story.start + 80_000;
        run(&mut story.fleet, &mut story.providers, end);
        for provider in story.providers.iter().filter(|provider| provider.dies_at != MonoMs::MAX) {
            let last = provider.last.max(story.fleet.moved_at);
            let when = |is_it: fn(&crate::model::Op) -> Option<&crate::model::InstanceKey>| {
                let mut applied = story.fleet.applied.iter();
                applied.find(|(_, _, op)| is_it(op) == Some(&provider.key)).map(|(at, ..)| *at)
            };
            let fell = when(|op| if let crate::model::Op::Unhealthy { instance, .. } = op { Some(instance) } else { None });
            let gone = when(|op| if let crate::model::Op::Expire { instance, .. } = op { Some(instance) } else { None });
            let (fell, gone) = (fell.unwrap_or(MonoMs::MAX), gone.unwrap_or(MonoMs::MAX));
            let due = last + TTL_MS;
            // Of two heartbeats that come to two nodes within the way through the log, none but the first may count.
            let early = if story.fleet.forward_ms.is_none() { story.fleet.delay_ms + 2 * TICK_MS } else { 0 };
            prop_assert!((provider.last + TTL_MS - early..due + SLACK_MS + lates).contains(&fell),
                "{} was last heard at {}, fell at {fell}", provider.key, provider.last);
            prop_assert!((fell + REMOVE_MS..fell + REMOVE_MS + SLACK_MS).contains(&gone),
                "{} fell at {fell}, went at {gone}", provider.key);
            // One for each node that heard it at most, and one more for what was on its way.
            let refutes = refutes(&story.fleet, &provider.key, provider.last + story.fleet.delay_ms);
            prop_assert!(refutes.len() <= story.fleet.len() + 1, "{}: {refutes:?}", provider.key);
        }
    }
}

#[test]
fn every_lease_is_in_one_table() {
    let lease = Lease::ttl(TTL_MS, REMOVE_MS).unwrap();
    let leases: Vec<_> = (0..90).map(|n| (name(n), lease.clone())).collect();
    let mut fleet = Fleet::new(5, 3, &leases);
    let start = fleet.now;
    let mut providers: Vec<_> = (0..90)
        .map(|n| Provided { key: name(n), interval_ms: 900, next: start, dies_at: MonoMs::MAX, last: start })
        .collect();
    run(&mut fleet, &mut providers, start + 5_000);
    let shares = fleet.shares();
    assert!(shares.iter().sum::<usize>() == 90 && shares.iter().all(|share| *share > 15), "{shares:?}");
    fleet.join();
    run(&mut fleet, &mut providers, start + 20_000);
    // It joined within 30 s of the first: it shares from its first beacon.
    let shares = fleet.shares();
    assert!(shares.iter().sum::<usize>() == 90 && shares.iter().all(|share| *share > 8), "{shares:?}");
    fleet.kill(0);
    run(&mut fleet, &mut providers, start + 40_000);
    assert_eq!(fleet.shares().iter().sum::<usize>(), 90);
    assert!(fallen(&fleet).is_empty());
}
