//! How much is remembered, for how long, and at what cost.

use std::sync::Arc;

use super::world::{World, key, namespace, next};
use crate::model::{Position, Revision, Selector};
use crate::view::View;
use crate::watch::history::{History, Reach, Unit};
use crate::watch::{HistoryLimits, Scope, WatchEvent};

fn is_delta(world: &World, service: &str, from: Revision) -> bool {
    match next(&mut world.watch_one(service, Some(from))) {
        Some(WatchEvent::Change(_)) => true,
        Some(WatchEvent::Compacted(_)) => false,
        _ => panic!("neither"),
    }
}

#[test]
fn the_number_of_changes_is_bounded() {
    let mut world = World::with(HistoryLimits { records_max: 10, ..HistoryLimits::default() });
    let mut past = vec![world.applied()];
    for _ in 0..30 {
        past.push(world.frame(|frame| frame.put("a", "1", "x", true)));
    }
    assert_eq!(world.hub.history().records(), 10);
    let resumable = past[..30].iter().rev().take_while(|from| is_delta(&world, "a", **from)).count();
    assert_eq!(resumable, 10);
    assert!(past[..20].iter().all(|from| !is_delta(&world, "a", *from)));
}

#[test]
fn a_service_that_was_quiet_meanwhile_loses_nothing() {
    let mut world = World::with(HistoryLimits { records_max: 10, ..HistoryLimits::default() });
    let early = world.frame(|frame| frame.put("quiet", "1", "x", true));
    for _ in 0..30 {
        world.frame(|frame| frame.put("a", "1", "x", true));
    }
    let mut watch = world.watch_one("quiet", Some(early));
    assert!(matches!(next(&mut watch), Some(WatchEvent::Progress(_))));
    world.frame(|frame| frame.put("quiet", "2", "x", true));
    assert!(is_delta(&world, "quiet", early), "what changed is here, and what was before is known");
}

#[test]
fn bytes_are_bounded_by_what_only_the_history_holds() {
    let limits = HistoryLimits { bytes_max: 20_000, ..HistoryLimits::default() };
    let mut world = World::with(limits);
    for _ in 0..500 {
        world.frame(|frame| frame.put("a", "1", "x", true));
    }
    let history = world.hub.history();
    assert!(history.bytes() <= 20_000 && history.records() < 100, "{} in {}", history.records(), history.bytes());
}

#[test]
fn a_snapshot_is_sent_when_it_is_smaller_than_what_was_missed() {
    let mut world = World::with(HistoryLimits { missed_max: 5, ..HistoryLimits::default() });
    let mut past = vec![world.applied()];
    for _ in 0..6 {
        past.push(world.frame(|frame| frame.put("a", "1", "x", true)));
    }
    assert!(!is_delta(&world, "a", past[0]) && is_delta(&world, "a", past[1]));
}

#[test]
fn what_is_old_is_swept() {
    let mut world = World::with(HistoryLimits { kept_ms: 1_600, ..HistoryLimits::default() });
    let before = world.applied();
    world.frame(|frame| frame.put("a", "1", "x", true));
    for ms in (0..=1_500).step_by(100) {
        world.hub.sweep(ms);
    }
    let between = world.frame(|frame| frame.put("a", "1", "x", true));
    assert_eq!(world.hub.history().records(), 2);
    assert!(is_delta(&world, "a", before));
    world.hub.sweep(1_600);
    assert_eq!(world.hub.history().records(), 1);
    assert!(!is_delta(&world, "a", before));
    world.hub.sweep(1_700);
    world.hub.sweep(3_300);
    assert_eq!((world.hub.history().records(), world.hub.history().bytes()), (0, 0));
    // What it holds is the newest: nothing was missed, in the service and in the namespace.
    for scope in [Scope::Services(vec![key("a")]), Scope::Namespace(namespace())] {
        let mut watch = world.watch(scope, Selector::default(), Some(between));
        assert!(matches!(next(&mut watch), Some(WatchEvent::Progress(revision)) if revision == between));
    }
}

/// An embedder that forgets to say where it starts, or publishes a view before its change, must not make anybody miss
/// something in silence.
#[test]
fn what_is_not_known_counts_as_lost() {
    let mut history = History::new(HistoryLimits::default());
    let position = Position::new(1, 50).expect("small");
    let unknown = Arc::new(View::unknown(key("a")));
    history.begin(position);
    history.end(position);
    let before = position.back(2).last();
    assert!(matches!(history.since(&unknown, before, None), Reach::Lost));
    assert!(matches!(history.since(&unknown, position.back(1).last(), None), Reach::Nothing));

    let mut world = World::new();
    let first = world.frame(|frame| frame.put("a", "1", "x", true));
    let shown = world.directory.view(&key("a"));
    let ahead = View { revision: world.position().at(9), ..shown.select(&Selector::default()) };
    world.directory.put_view(Arc::new(ahead));
    world.frame(|frame| frame.put("a", "2", "x", true));
    assert!(!is_delta(&world, "a", first));
}

/// 100,000 services of 10 instances each, all registered lately and watched by nobody.
#[test]
fn an_instance_that_nobody_watches_costs_little() {
    assert!(size_of::<Unit>() <= 64, "{} bytes a unit", size_of::<Unit>());
    let limits = HistoryLimits::default();
    let instances = 1_000_000;
    // A unit, its one change with its counts, its place in the order of the namespace; and for each service known to
    // the history a key twice, an entry and a track.
    let units = limits.records_max * (size_of::<Unit>() + 40 + 8);
    let services = (limits.records_max / 10).min(100_000) * 160;
    assert!((units + services) / instances <= 30, "{} bytes an instance", (units + services) / instances);
}
