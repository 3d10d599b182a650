//! Many watchers of one service: what a change costs whom.

use std::sync::Arc;

use super::world::{World, finish, key, next};
use crate::model::Selector;
use crate::port::Clock;
use crate::port::clock::SystemClock;
use crate::watch::{Scope, WatchEvent};

const WATCHERS: usize = 15_000;

/// The time of the fastest of several tries: what it costs when nothing else runs.
fn fastest_us(clock: &SystemClock, tries: usize, mut run: impl FnMut()) -> u64 {
    let one = |_| {
        let begun = clock.mono_us();
        run();
        clock.mono_us() - begun
    };
    (0..tries).map(one).min().unwrap_or_default()
}

#[test]
fn fifteen_thousand_watchers_do_not_hold_up_the_applier() {
    let clock = SystemClock::new();
    let mut world = World::new();
    world.frame(|frame| (0..10).for_each(|id| frame.put("a", &id.to_string(), "x", true)));
    let alone_us = fastest_us(&clock, 50, || _ = world.frame(|frame| frame.put("a", "1", "x", true)));
    let open = |_| world.watch(Scope::Services(vec![key("a")]), Selector::default(), None);
    let mut watches: Vec<_> = (0..WATCHERS).map(open).collect();
    watches.iter_mut().for_each(|watch| assert!(matches!(next(watch), Some(WatchEvent::Snapshot { .. }))));
    // Nobody is woken in here; that is the business of another task.
    let publish_us = fastest_us(&clock, 50, || _ = world.frame(|frame| frame.put("a", "1", "x", true)));
    let mut wake_us = u64::MAX;
    let mut read_us = u64::MAX;
    for _ in 0..5 {
        world.frame(|frame| frame.put("a", "1", "x", true));
        wake_us = wake_us.min(fastest_us(&clock, 1, || _ = finish(world.hub.fanout().round())));
        let mut told = Vec::with_capacity(WATCHERS);
        read_us = read_us.min(fastest_us(&clock, 1, || told.extend(watches.iter_mut().map(next))));
        let deltas = told.iter().map(|event| match event {
            Some(WatchEvent::Change(delta)) => Arc::as_ptr(delta),
            _ => panic!("everybody is told of the change"),
        });
        let mut deltas: Vec<_> = deltas.collect();
        deltas.dedup();
        assert_eq!(deltas.len(), 1, "made once for all");
    }
    println!(
        "{WATCHERS} watchers: publish {publish_us} us (unwatched {alone_us}), wake all {wake_us} us, read all {read_us} us"
    );
    assert!(publish_us < 5_000, "{publish_us} us");
    assert!(publish_us < alone_us * 10 + 500, "{publish_us} us, and {alone_us} us with no watcher");
}
