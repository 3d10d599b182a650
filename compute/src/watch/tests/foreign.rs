//! Watchers that come back to another history than the one they left: the log was thrown away, or an older one is back.

use super::world::{World, key, namespace, next};
use crate::model::{Revision, Selector};
use crate::watch::{Scope, Watch, WatchEvent};

/// Of a log of this generation that somebody has followed.
fn seen(generation: u8, offset: u64) -> Revision {
    World::alone(generation, offset).position().back(1).at(0)
}

/// Told at once to begin anew, and then everything; goes on from there like anybody.
fn begins_anew(world: &mut World, mut watch: Watch) {
    let applied = world.applied();
    match next(&mut watch) {
        Some(WatchEvent::Compacted(at)) => assert_eq!(at, applied, "never of the other history"),
        _ => panic!("not told that a snapshot follows"),
    }
    match next(&mut watch) {
        Some(WatchEvent::Snapshot { view: Some(view), revision, complete: true }) => {
            assert!(view.instances.len() == 1 && revision <= applied, "{revision}");
        }
        _ => panic!("no snapshot"),
    }
    let to = world.frame(|frame| frame.put("a", "2", "x", true));
    world.wake();
    assert!(matches!(next(&mut watch), Some(WatchEvent::Change(delta)) if delta.to <= to && delta.put.len() == 1));
    world.clock.advance(10_000);
    assert!(matches!(next(&mut watch), Some(WatchEvent::Progress(at)) if at == to));
    assert_eq!(watch.position(), Some(to));
    assert!(watch.refused().is_none());
}

fn scopes() -> [Scope; 2] {
    [Scope::Services(vec![key("a")]), Scope::Namespace(namespace())]
}

#[test]
fn who_is_ahead_of_a_node_that_is_alone_begins_anew_at_once() {
    for from in [seen(1, 500), seen(90, 3)] {
        for scope in scopes() {
            let mut world = World::alone(1, 100);
            world.frame(|frame| frame.put("a", "1", "x", true));
            let watch = world.watch(scope, Selector::default(), Some(from));
            begins_anew(&mut world, watch);
        }
    }
}

#[test]
fn what_a_log_of_another_generation_gave_is_not_gone_on_from_however_far_this_one_is() {
    for (mine, other) in [(60, 7), (7, 60)] {
        for scope in scopes() {
            // From its first frame on this one knows everything, and its offset is beyond that of the other.
            let mut world = World::alone(mine, 0);
            world.frame(|frame| frame.put("a", "1", "x", true));
            world.frame(|frame| frame.put("b", "1", "x", true));
            world.frame(|frame| frame.remove("b", "1"));
            let watch = world.watch(Scope::Services(vec![key("a")]), Selector::default(), Some(seen(other, 2)));
            begins_anew(&mut world, watch);
            let mut whole = world.watch(scope, Selector::default(), Some(seen(other, 2)));
            assert!(matches!(next(&mut whole), Some(WatchEvent::Compacted(_))));
        }
    }
}

#[test]
fn several_services_are_told_once_that_snapshots_follow() {
    let mut world = World::alone(1, 100);
    world.frame(|frame| frame.put("a", "1", "x", true));
    world.frame(|frame| frame.put("b", "1", "x", true));
    let scope = Scope::Services(vec![key("a"), key("b")]);
    let mut watch = world.watch(scope, Selector::default(), Some(seen(1, 500)));
    assert!(matches!(next(&mut watch), Some(WatchEvent::Compacted(_))));
    assert_eq!(watch.position(), None, "everything has to be told again");
    for _ in 0..2 {
        assert!(matches!(next(&mut watch), Some(WatchEvent::Snapshot { .. })));
    }
    assert!(next(&mut watch).is_none());
    assert_eq!(watch.position(), Some(world.applied().position().at(0)), "the last event's");
}

#[test]
fn who_comes_back_with_the_newest_event_goes_on_though_the_directory_shows_it_later() {
    let mut world = World::alone(1, 100);
    world.frame(|frame| frame.put("a", "1", "x", true));
    let shown = world.position().back(1);
    let newest = world.frame(|frame| frame.put("a", "2", "x", true));
    world.directory.put_applied(shown, 0);
    let mut watch = world.watch_one("a", Some(newest));
    assert!(matches!(next(&mut watch), Some(WatchEvent::Progress(at)) if at == newest));
}
