//! Random mass losses, judged by what was said: nothing goes under a freeze, no window takes too much that no freeze
//! has seen, nothing that no freeze covers is late, and nothing is kept for ever.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::world::{Past, World, key};
use crate::model::{FreezeScope, InstanceKey, Lease, Op, ServiceKey};
use crate::port::clock::MonoMs;
use crate::state::freeze::{FREEZE_MS_MAX, WINDOW_MS};
use crate::state::lease_table::Counts;

const TTL_MS: MonoMs = 6_000;
const SLACK_MS: MonoMs = 200;

#[derive(Clone, Debug)]
enum Step {
    /// Members of this and the next services, one of so many.
    Kill {
        service: usize,
        services: usize,
        one_of: usize,
    },
    Revive {
        service: usize,
        services: usize,
    },
    Register {
        service: usize,
        member: usize,
    },
    Deregister {
        service: usize,
        member: usize,
    },
    OperatorReleases,
    Wait(MonoMs),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..40, 1_usize..40, 1_usize..4).prop_map(|(service, services, one_of)| Step::Kill { service, services, one_of }),
        2 => (0_usize..40, 1_usize..40).prop_map(|(service, services)| Step::Revive { service, services }),
        2 => (0_usize..40, 0_usize..14).prop_map(|(service, member)| Step::Register { service, member }),
        1 => (0_usize..40, 0_usize..14).prop_map(|(service, member)| Step::Deregister { service, member }),
        1 => Just(Step::OperatorReleases),
        4 => (0_u64..20_000).prop_map(Step::Wait),
        1 => (60_000_u64..130_000).prop_map(Step::Wait),
    ]
}

fn name(service: usize, member: usize) -> InstanceKey {
    key(&format!("s{service}/i{member}"))
}

struct Fleet {
    world: World,
    remove_ms: u64,
    sizes: Vec<usize>,
}

impl Fleet {
    fn new(sizes: &[usize], remove_ms: u64) -> Self {
        let mut world = World::new();
        world.table.ready(0);
        let mut fleet = Self { world, remove_ms, sizes: sizes.to_vec() };
        for (service, size) in sizes.iter().enumerate() {
            (0..*size).for_each(|member| fleet.start(service, member));
        }
        fleet
    }

    fn start(&mut self, service: usize, member: usize) {
        let key = name(service, member);
        self.world.register(&key, Lease::ttl(TTL_MS, self.remove_ms).unwrap());
        // Their heartbeats are spread.
        let offset = (service * 3 + member * 5) as u64 % 8 * 500;
        self.world.beats.retain(|(_, of)| *of != key);
        self.world.beats.insert((self.world.now + offset, key));
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Kill { service, services, one_of } => {
                let hit = |key: &InstanceKey| {
                    let (of, member) = numbers(key);
                    (service..service + services).contains(&of) && member % one_of == 0
                };
                self.world.beats.retain(|(_, key)| !hit(key));
            }
            Step::Revive { service, services } => {
                for of in service..(service + services).min(self.sizes.len()) {
                    (0..self.sizes[of]).for_each(|member| self.start(of, member));
                }
            }
            Step::Register { service, member } => self.start(service, member),
            Step::Deregister { service, member } => {
                let key = name(service, member);
                self.world.beats.retain(|(_, of)| *of != key);
                self.world.remove(&key);
            }
            Step::OperatorReleases => {
                let scopes: Vec<_> = self.world.freezes.keys().cloned().collect();
                scopes.iter().for_each(|scope| self.world.release_freeze(scope));
            }
            Step::Wait(ms) => self.world.run_until(self.world.now + ms),
        }
        self.world.wake();
    }
}

fn numbers(key: &InstanceKey) -> (usize, usize) {
    let number = |text: &str| text[1..].parse().unwrap();
    (number(key.service.service.as_str()), number(key.id.as_str()))
}

/// What can be known by reading the past.
#[derive(Default)]
struct Reader {
    heard: BTreeMap<InstanceKey, MonoMs>,
    unhealthy: BTreeSet<InstanceKey>,
    /// From when they were asked for; and when the log showed them.
    freezes: BTreeMap<FreezeScope, (MonoMs, Option<MonoMs>)>,
    thawed: BTreeSet<InstanceKey>,
    /// When each went that no freeze had seen.
    fresh: Vec<(MonoMs, InstanceKey)>,
    paced: Vec<(MonoMs, InstanceKey)>,
    expired: Vec<(MonoMs, InstanceKey)>,
    removed: Vec<(MonoMs, ServiceKey)>,
}

impl Reader {
    fn is_lapsed(&self, key: &InstanceKey, now: MonoMs) -> bool {
        self.heard.get(key).is_some_and(|heard| heard + TTL_MS <= now)
    }

    fn is_covered(&self, key: &InstanceKey) -> bool {
        self.freezes.keys().any(|scope| covers(scope, key))
    }

    fn read(&mut self, at: MonoMs, past: &Past) -> Result<(), String> {
        match past {
            Past::Said(Op::Unhealthy { instance, .. } | Op::Expire { instance, .. }) => self.goes(at, instance)?,
            Past::Said(Op::Freeze { scope, .. }) => {
                self.freezes.entry(scope.clone()).or_insert((at, None));
            }
            Past::Applied(Op::Freeze { scope, .. }) => {
                if let Some((_, shown)) = self.freezes.get_mut(scope) {
                    *shown = Some(at);
                }
            }
            Past::Applied(Op::Unhealthy { instance, .. }) => {
                self.unhealthy.insert(instance.clone());
            }
            Past::Applied(Op::Expire { instance, .. }) => self.expired.push((at, instance.clone())),
            Past::Applied(Op::Refute { instance, .. }) => {
                self.unhealthy.remove(instance);
            }
            Past::Released(scope) => self.release(at, scope)?,
            Past::Heard(instance) => {
                self.heard.insert(instance.clone(), at);
                self.thawed.remove(instance);
                self.unhealthy.remove(instance);
            }
            Past::Gone(instance) => {
                self.heard.remove(instance);
                self.thawed.remove(instance);
                self.unhealthy.remove(instance);
                self.removed.push((at, instance.service.clone()));
            }
            Past::Said(_) | Past::Applied(_) => {}
        }
        Ok(())
    }

    fn goes(&mut self, at: MonoMs, instance: &InstanceKey) -> Result<(), String> {
        if self.thawed.contains(instance) {
            if Self::recent(&self.paced, at).contains(instance) {
                // It became unhealthy in this window: it is lost once.
                return Ok(());
            }
            self.paced.push((at, instance.clone()));
            return self.check_pace(at, instance);
        }
        if self.is_covered(instance) {
            return Err(format!("{instance} goes at {at} under a freeze"));
        }
        self.fresh.push((at, instance.clone()));
        self.check_share(at)?;
        self.check_service(at, &instance.service)
    }

    fn recent(list: &[(MonoMs, InstanceKey)], at: MonoMs) -> BTreeSet<&InstanceKey> {
        list.iter().rev().take_while(|(when, _)| when + WINDOW_MS > at).map(|(_, key)| key).collect()
    }

    /// Of a hundred or more, no more than 15 % in a window.
    fn check_share(&self, at: MonoMs) -> Result<(), String> {
        let lost = Self::recent(&self.fresh, at);
        let lost: BTreeSet<_> =
            lost.into_iter().filter(|key| self.is_lapsed(key, at) || !self.heard.contains_key(*key)).collect();
        let gone = lost.iter().filter(|key| !self.heard.contains_key(**key)).count();
        let of = self.heard.len() + gone;
        if of >= 100 && lost.len() * 100 > of * 15 {
            return Err(format!("{} of {of} have gone by {at} within a window", lost.len()));
        }
        Ok(())
    }

    /// Of three or more, not all in a window.
    fn check_service(&self, at: MonoMs, service: &ServiceKey) -> Result<(), String> {
        let lost = Self::recent(&self.fresh, at);
        let lost: Vec<_> = lost.into_iter().filter(|key| key.service == *service).collect();
        let lapsed = lost.iter().filter(|key| self.is_lapsed(key, at)).count();
        let gone = lost.iter().filter(|key| !self.heard.contains_key(**key)).count();
        let there = self.heard.keys().filter(|key| key.service == *service).count();
        if there + gone >= 3 && lapsed + gone == there + gone {
            return Err(format!("all {} of {service} have gone by {at} within a window", there + gone));
        }
        Ok(())
    }

    /// Afterwards no more than the share, or one of each service.
    fn check_pace(&self, at: MonoMs, instance: &InstanceKey) -> Result<(), String> {
        let went = Self::recent(&self.paced, at);
        let services: BTreeSet<_> = went.iter().map(|key| &key.service).collect();
        let gone = self.expired.iter().filter(|(when, _)| when + WINDOW_MS > at).count();
        let node_share = (self.heard.len() + gone) * 15 / 100;
        let of_service = went.iter().filter(|key| key.service == instance.service).count();
        if went.len() > node_share.max(1) + services.len() {
            return Err(format!("{} thawed ones have gone by {at} within a window", went.len()));
        }
        let members = self.heard.keys().filter(|key| key.service == instance.service).count() + of_service;
        if of_service > (members * 15 / 100).max(1).max(node_share) {
            return Err(format!("{of_service} thawed ones of {} have gone by {at} within a window", instance.service));
        }
        Ok(())
    }

    fn release(&mut self, at: MonoMs, scope: &FreezeScope) -> Result<(), String> {
        let Some((_, shown)) = self.freezes.remove(scope) else {
            return Err(format!("{scope:?} is released at {at} and was not frozen"));
        };
        if shown.is_none_or(|shown| at > shown + FREEZE_MS_MAX + 2_000) {
            return Err(format!("{scope:?} is released at {at}, frozen since {shown:?}"));
        }
        let lapsed = self.heard.keys().filter(|key| covers(scope, key) && self.is_lapsed(key, at));
        // They go in their turn, also under a freeze that comes later, and count towards none.
        self.thawed.extend(lapsed.cloned().collect::<Vec<_>>());
        self.fresh.retain(|(_, key)| !self.thawed.contains(key));
        Ok(())
    }

    /// Who is silent, and neither frozen nor waiting for its turn, is unhealthy in time.
    fn check_lateness(&self, at: MonoMs) -> Result<(), String> {
        let late = self.heard.iter().find(|(key, heard)| {
            **heard + TTL_MS + SLACK_MS < at
                && !self.unhealthy.contains(*key)
                && !self.is_covered(key)
                && !self.thawed.contains(*key)
        });
        late.map_or(Ok(()), |(key, heard)| Err(format!("{key} was heard at {heard} and is still healthy at {at}")))
    }
}

fn covers(scope: &FreezeScope, key: &InstanceKey) -> bool {
    match scope {
        FreezeScope::Node(_) => true,
        FreezeScope::Service(service) => key.service == *service,
    }
}

/// A fleet's life: so many members of each service, what happens, and then silence.
fn live(sizes: &[usize], remove_ms: u64, steps: &[Step]) -> Result<(), String> {
    let mut fleet = Fleet::new(sizes, remove_ms);
    fleet.world.run_until(7_000);
    for step in steps {
        fleet.act(step);
    }
    fleet.world.beats.clear();
    let end = fleet.world.now + 2_000_000;
    fleet.world.run_until(end);
    let mut reader = Reader::default();
    for (at, past) in &fleet.world.past {
        if !matches!(past, Past::Heard(_)) {
            reader.check_lateness(*at)?;
        }
        reader.read(*at, past)?;
    }
    let World { instances, freezes, table, .. } = &fleet.world;
    if instances.is_empty() && freezes.is_empty() && table.counts() == Counts::default() {
        return Ok(());
    }
    Err(format!("{:?}, {freezes:?} and {:?} are left", instances.keys(), table.counts()))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 500, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn mass_losses_are_held_and_nothing_is_held_for_ever(
        sizes in prop::collection::vec(1_usize..14, 1..30),
        remove_ms in prop::sample::select(vec![1_000_u64, 5_000, 30_000]),
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let verdict = live(&sizes, remove_ms, &steps);
        prop_assert!(verdict.is_ok(), "{}", verdict.unwrap_err());
    }
}
