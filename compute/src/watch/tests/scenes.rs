//! What a watcher is told, scene by scene. What holds of every scene is the judge's; see [`super::judge`].

use std::sync::Arc;

use super::world::{World, finish, healthy, key, namespace, next, subscriber, zone};
use crate::error::Error;
use crate::model::{Revision, Selector};
use crate::view::{Encoded, View};
use crate::watch::{
    Company, Delta, HistoryLimits, Hub, Scope, Subscription, Watch, WatchEvent, WatchLimits, WatchSpec,
};

fn snapshot(watch: &mut Watch) -> (Option<Arc<View>>, Revision, bool) {
    match next(watch) {
        Some(WatchEvent::Snapshot { view, revision, complete }) => (view, revision, complete),
        other => panic!("{}", name(&other)),
    }
}

fn change(watch: &mut Watch) -> Arc<Delta> {
    match next(watch) {
        Some(WatchEvent::Change(delta)) => delta,
        other => panic!("{}", name(&other)),
    }
}

fn progress(watch: &mut Watch) -> Revision {
    match next(watch) {
        Some(WatchEvent::Progress(revision)) => revision,
        other => panic!("{}", name(&other)),
    }
}

fn compacted(watch: &mut Watch) -> Revision {
    match next(watch) {
        Some(WatchEvent::Compacted(revision)) => revision,
        other => panic!("{}", name(&other)),
    }
}

#[track_caller]
fn nothing(watch: &mut Watch) {
    let event = next(watch);
    assert!(event.is_none(), "{}", name(&event));
}

fn name(event: &Option<WatchEvent>) -> String {
    match event {
        None => "nothing".to_owned(),
        Some(WatchEvent::Snapshot { revision, complete, .. }) => format!("snapshot {revision} {complete}"),
        Some(WatchEvent::Change(delta)) => format!("change {} {}..{}", delta.service, delta.from, delta.to),
        Some(WatchEvent::Progress(revision)) => format!("progress {revision}"),
        Some(WatchEvent::Compacted(revision)) => format!("compacted {revision}"),
    }
}

fn ids(delta: &Delta) -> (Vec<&str>, Vec<&str>) {
    let put = delta.put.iter().map(|i| i.id.as_str()).collect();
    (put, delta.removed.iter().map(|removed| removed.id.as_str()).collect())
}

#[test]
fn a_snapshot_then_changes_that_follow_one_another() {
    let mut world = World::new();
    world.frame(|frame| frame.put("a", "1", "x", true));
    let mut watch = world.watch_one("a", None);
    let (view, first, complete) = snapshot(&mut watch);
    assert!(complete && view.is_some_and(|view| view.revision == first && view.instances.len() == 1));
    nothing(&mut watch);
    world.frame(|frame| frame.put("a", "2", "x", true));
    nothing(&mut watch);
    world.wake();
    let second = change(&mut watch);
    assert_eq!((second.from, ids(&second)), (first, (vec!["2"], vec![])));
    world.frame(|frame| frame.remove("a", "1"));
    world.wake();
    let third = change(&mut watch);
    assert_eq!((third.from, ids(&third)), (second.to, (vec![], vec!["1"])));
    assert!(third.removed[0].removal.as_ref().is_some_and(|removal| &*removal.author.name == "somebody"));
    nothing(&mut watch);
}

#[test]
fn a_service_that_does_not_exist_can_be_waited_for() {
    let mut world = World::new();
    let mut watch = world.watch_one("a", None);
    let (view, revision, _) = snapshot(&mut watch);
    assert!(view.is_some_and(|view| !view.exists()));
    assert_eq!(revision, Revision::ZERO);
    world.frame(|frame| frame.put("a", "1", "x", true));
    world.wake();
    let made = change(&mut watch);
    assert_eq!((made.from, made.row.is_some()), (Revision::ZERO, true));
    world.frame(|frame| {
        frame.remove("a", "1");
        frame.delete("a");
    });
    world.wake();
    let deleted = change(&mut watch);
    assert_eq!((deleted.row.is_none(), ids(&deleted)), (true, (vec![], vec!["1"])));
}

#[test]
fn a_slow_watcher_skips_to_the_newest() {
    let mut world = World::new();
    let mut watch = world.watch_one("a", None);
    snapshot(&mut watch);
    for _ in 0..100 {
        world.frame(|frame| frame.put("a", "1", "x", true));
        world.frame(|frame| frame.put("a", "2", "x", true));
        world.frame(|frame| frame.remove("a", "2"));
        world.wake();
    }
    assert_eq!(ids(&change(&mut watch)), (vec!["1"], vec![]));
    nothing(&mut watch);
}

#[test]
fn who_missed_nothing_is_told_so_and_who_missed_some_gets_that() {
    let mut world = World::new();
    let first = world.frame(|frame| frame.put("a", "1", "x", true));
    let second = world.frame(|frame| frame.put("b", "1", "x", true));
    for from in [first, second] {
        assert_eq!(progress(&mut world.watch_one("a", Some(from))), second);
    }
    assert_eq!(change(&mut world.watch_one("b", Some(first))).from, first);
    // Between the changes of one frame there is nothing that anybody saw: the whole frame is told again.
    let both = world.frame(|frame| {
        frame.put("a", "2", "x", true);
        frame.put("a", "3", "x", true);
    });
    let in_between = both.position().at(0);
    let rest = change(&mut world.watch_one("a", Some(in_between)));
    assert_eq!((rest.from, ids(&rest).0), (in_between, vec!["2", "3"]));
}

#[test]
fn from_the_beginning_is_a_snapshot_unless_there_is_still_nothing() {
    let mut world = World::new();
    world.frame(|frame| frame.put("a", "1", "x", true));
    assert_eq!(progress(&mut world.watch_one("b", Some(Revision::ZERO))), world.applied());
    let (view, _, _) = snapshot(&mut world.watch_one("a", Some(Revision::ZERO)));
    assert!(view.is_some_and(|view| view.exists()));
}

#[test]
fn after_a_restart_only_who_missed_something_before_it_begins_anew() {
    let mut world = World::new();
    let early = world.frame(|frame| frame.put("a", "1", "x", true));
    let late = world.frame(|frame| frame.put("a", "2", "x", true));
    world.frame(|frame| frame.put("b", "1", "x", true));
    world.restart();
    assert_eq!(progress(&mut world.watch_one("a", Some(late))), world.applied());
    let mut behind = world.watch_one("a", Some(early));
    assert_eq!(compacted(&mut behind), early);
    assert_eq!(snapshot(&mut behind).1, late.position().at(0));
    // What was changed since the restart is a delta also for who comes with the state before it.
    world.frame(|frame| frame.put("a", "3", "x", true));
    let mut watch = world.watch_one("a", Some(late));
    assert_eq!(ids(&change(&mut watch)).0, ["3"]);
    // Nobody knows when something went that is not there.
    assert_eq!(compacted(&mut world.watch_one("gone", Some(early))), early);
}

#[test]
fn who_begins_anew_goes_on_behind_what_it_was_shown() {
    let mut world = World::with(HistoryLimits { records_max: 2, ..HistoryLimits::default() });
    let mut watch = world.watch_one("b", None);
    snapshot(&mut watch);
    for id in ["1", "2", "3"] {
        world.frame(|frame| frame.put("a", id, "x", true));
    }
    world.frame(|frame| frame.put("b", "1", "x", true));
    world.wake();
    compacted(&mut watch);
    let (_, shown, _) = snapshot(&mut watch);
    assert_eq!(watch.position(), Some(shown));
}

#[test]
fn a_namespace_is_resumed_after_a_restart_from_where_the_node_was() {
    let mut world = World::new();
    let early = world.frame(|frame| frame.put("a", "1", "x", true));
    let late = world.frame(|frame| frame.put("a", "2", "x", true));
    world.restart();
    let scope = || Scope::Namespace(namespace());
    assert_eq!(progress(&mut world.watch(scope(), Selector::default(), Some(late))), late);
    assert_eq!(compacted(&mut world.watch(scope(), Selector::default(), Some(early))), early);
}

#[test]
fn who_has_seen_more_than_this_node_waits_for_it() {
    let mut world = World::new();
    let coming = world.position().next().last();
    let mut watch = world.watch_one("a", Some(coming));
    world.frame(|frame| frame.put("a", "1", "x", true));
    world.wake();
    nothing(&mut watch);
    world.frame(|frame| frame.put("b", "1", "x", true));
    assert_eq!(progress(&mut watch), coming);
    assert!(watch.refused().is_none());
}

#[test]
fn nobody_waits_for_ever_for_what_was_never_applied() {
    let world = World::new();
    let never = Revision::from_packed(u64::MAX >> 1).expect("the largest");
    let mut watch = world.watch_one("a", Some(never));
    nothing(&mut watch);
    world.clock.advance(4_999);
    nothing(&mut watch);
    assert!(watch.refused().is_none());
    world.clock.advance(1);
    nothing(&mut watch);
    assert!(matches!(watch.refused(), Some(Error::Behind { wanted, .. }) if *wanted == never));
}

#[test]
fn a_selection_is_told_what_it_sees_of_it() {
    let mut world = World::new();
    world.frame(|frame| {
        frame.put("a", "1", "x", true);
        frame.put("a", "2", "y", true);
    });
    let mut watch = world.watch(Scope::Services(vec![key("a")]), zone("x"), None);
    assert_eq!(snapshot(&mut watch).0.map(|view| view.instances.len()), Some(1));
    // Never shown: never mentioned.
    world.frame(|frame| frame.remove("a", "2"));
    world.wake();
    nothing(&mut watch);
    world.frame(|frame| frame.put("a", "1", "y", true));
    world.wake();
    let out = change(&mut watch);
    assert_eq!(ids(&out), (vec![], vec!["1"]));
    assert!(out.removed[0].removal.is_none(), "it is still there");
    world.frame(|frame| frame.put("a", "1", "x", true));
    world.wake();
    assert_eq!(ids(&change(&mut watch)), (vec!["1"], vec![]));
}

#[test]
fn protection_brings_the_unhealthy_back() {
    let mut world = World::new();
    world.frame(|frame| {
        frame.describe("a", 0.5);
        frame.put("a", "1", "x", true);
        frame.put("a", "2", "x", false);
        frame.put("a", "3", "x", true);
    });
    let mut watch = world.watch(Scope::Services(vec![key("a")]), healthy(), None);
    assert_eq!(snapshot(&mut watch).0.map(|view| (view.instances.len(), view.protected)), Some((2, false)));
    world.frame(|frame| frame.put("a", "1", "x", false));
    world.wake();
    let on = change(&mut watch);
    assert_eq!((on.protected, ids(&on)), (true, (vec!["1", "2"], vec![])));
    world.frame(|frame| frame.put("a", "2", "x", true));
    world.wake();
    let off = change(&mut watch);
    assert_eq!((off.protected, ids(&off)), (false, (vec!["2"], vec!["1"])));
    // Only the threshold moves.
    world.frame(|frame| frame.describe("a", 1.0));
    world.wake();
    let again = change(&mut watch);
    assert_eq!((again.protected, ids(&again)), (true, (vec!["1"], vec![])));
}

#[test]
fn those_who_are_told_the_same_share_it() {
    let mut world = World::new();
    let mut watches: Vec<_> = (0..3).map(|_| world.watch_one("a", None)).collect();
    let mut other = world.watch(Scope::Services(vec![key("a")]), zone("x"), None);
    let views: Vec<_> = watches.iter_mut().filter_map(|watch| snapshot(watch).0).collect();
    snapshot(&mut other);
    assert_eq!(views.len(), 3);
    world.frame(|frame| frame.put("a", "1", "y", true));
    world.wake();
    let deltas: Vec<_> = watches.iter_mut().map(change).collect();
    assert!(deltas.iter().all(|delta| Arc::ptr_eq(delta, &deltas[0])));
    let theirs = change(&mut other);
    assert!(!Arc::ptr_eq(&theirs, &deltas[0]) && theirs.put.is_empty(), "another selection");
    let mut later: Vec<_> = (0..2).map(|_| world.watch_one("a", None)).collect();
    let views: Vec<_> = later.iter_mut().filter_map(|watch| snapshot(watch).0).collect();
    assert!(Arc::ptr_eq(&views[0], &views[1]));
}

#[test]
fn nothing_provisional_is_told() {
    let mut world = World::new();
    world.frame(|frame| frame.put("a", "1", "x", true));
    let log = world.directory.view(&key("a"));
    let none =
        View { instances: Arc::default(), overlay: 1, log: Some(log.clone()), ..log.select(&Selector::default()) };
    world.directory.put_view(Arc::new(none));
    let mut reader = world.hub.watcher(&key("a"));
    let mut watch = world.watch_one("a", None);
    let told = snapshot(&mut watch).0.expect("a view");
    assert_eq!((told.instances.len(), told.overlay), (1, 0));
    world.hub.overlaid(&key("a"));
    world.wake();
    assert!(futures::FutureExt::now_or_never(reader.changed()).is_some(), "a reader sees the overlay");
    nothing(&mut watch);
}

#[test]
fn silence_ends_every_ten_seconds() {
    let mut world = World::new();
    let mut watches: Vec<_> = (0..40).map(|_| world.watch_one("a", None)).collect();
    watches.iter_mut().for_each(|watch| drop(snapshot(watch)));
    let mut last = vec![(0, Revision::ZERO); watches.len()];
    for second in 1..=40_u64 {
        world.frame(|frame| frame.put("b", "1", "x", true));
        world.wake();
        world.clock.advance(1_000);
        for (watch, last) in watches.iter_mut().zip(&mut last) {
            if let Some(event) = next(watch) {
                let WatchEvent::Progress(revision) = event else { panic!("{}", name(&Some(event))) };
                assert!(revision > last.1);
                *last = (second, revision);
            }
            assert!(second - last.0 < 10, "silent since {} at {second}", last.0);
        }
    }
    let mut revisions: Vec<_> = last.iter().map(|(_, revision)| *revision).collect();
    revisions.dedup();
    revisions.sort_unstable();
    revisions.dedup();
    assert!(revisions.len() <= 16, "too many to share a delta: {revisions:?}");
}

#[test]
fn a_change_after_progress_begins_at_it() {
    let mut world = World::new();
    let mut watch = world.watch_one("a", None);
    snapshot(&mut watch);
    world.frame(|frame| frame.put("b", "1", "x", true));
    world.clock.advance(8_000);
    let told = progress(&mut watch);
    assert_eq!(watch.position(), Some(told));
    world.frame(|frame| frame.put("a", "1", "x", true));
    world.wake();
    assert_eq!(change(&mut watch).from, told);
}

#[test]
fn a_namespace_is_one_chain_over_what_comes_and_goes() {
    let mut world = World::new();
    world.frame(|frame| ["a", "b", "c"].iter().for_each(|service| frame.put(service, "1", "x", true)));
    let mut watch = world.watch(Scope::Namespace(namespace()), Selector::default(), None);
    let parts: Vec<_> = (0..3).map(|_| snapshot(&mut watch)).collect();
    let services = parts.iter().filter_map(|(view, _, _)| view.as_ref()).map(|view| view.service.clone());
    assert_eq!(services.collect::<Vec<_>>(), [key("a"), key("b"), key("c")]);
    assert!(parts.iter().all(|(_, revision, _)| *revision == world.applied()));
    assert_eq!(parts.iter().map(|(_, _, complete)| *complete).collect::<Vec<_>>(), [false, false, true]);
    world.frame(|frame| {
        frame.put("a", "2", "x", true);
        frame.put("d", "1", "x", true);
        frame.remove("b", "1");
    });
    world.frame(|frame| frame.delete("b"));
    world.wake();
    let told: Vec<_> = (0..3).map(|_| change(&mut watch)).collect();
    let services: Vec<_> = told.iter().map(|delta| delta.service.service.as_str()).collect();
    assert_eq!(services, ["a", "d", "b"]);
    assert_eq!((told[0].from, told[1].from, told[2].from), (parts[0].1, told[0].to, told[1].to));
    assert!(told[2].row.is_none(), "removed and deleted in one");
    nothing(&mut watch);
}

#[test]
fn a_namespace_without_services_has_a_snapshot_too() {
    let world = World::new();
    let mut watch = world.watch(Scope::Namespace(namespace()), Selector::default(), None);
    assert!(matches!(snapshot(&mut watch), (None, _, true)));
    assert_eq!(watch.position(), Some(world.applied()));
}

#[test]
fn what_changes_under_a_snapshot_of_a_namespace_is_told_once() {
    let mut world = World::new();
    world.frame(|frame| ["a", "b", "c", "d"].iter().for_each(|service| frame.put(service, "1", "x", true)));
    let mut watch = world.watch(Scope::Namespace(namespace()), Selector::default(), None);
    let (_, revision, _) = snapshot(&mut watch);
    assert_eq!(watch.position(), None);
    world.frame(|frame| ["a", "b"].iter().for_each(|service| frame.put(service, "2", "x", true)));
    let (b, told, complete) = snapshot(&mut watch);
    assert_eq!((b.map(|view| view.instances.len()), told, complete), (Some(2), revision, false));
    snapshot(&mut watch);
    world.frame(|frame| {
        frame.remove("d", "1");
        frame.delete("d");
    });
    // It was the last one, and went before its turn.
    assert!(matches!(snapshot(&mut watch), (None, _, true)));
    let delta = change(&mut watch);
    assert_eq!((delta.service.clone(), delta.from), (key("a"), revision));
    nothing(&mut watch);
}

#[test]
fn who_is_ahead_shares_nothing_with_who_is_not() {
    let mut world = World::new();
    world.frame(|frame| ["a", "b"].iter().for_each(|service| frame.put(service, "1", "x", true)));
    let open = || world.watch(Scope::Namespace(namespace()), Selector::default(), None);
    let (mut early, mut late) = (open(), open());
    (0..2).for_each(|_| drop(snapshot(&mut early)));
    snapshot(&mut late);
    world.frame(|frame| frame.put("b", "2", "x", true));
    assert!(matches!(snapshot(&mut late), (Some(b), _, true) if b.instances.len() == 2));
    world.frame(|frame| frame.put("b", "3", "x", true));
    world.wake();
    assert_eq!(ids(&change(&mut early)).0, ["2", "3"]);
    assert_eq!(ids(&change(&mut late)).0, ["3"]);
}

#[test]
fn what_went_before_its_page_was_read_is_not_spoken_of() {
    let mut world = World::new();
    let services = ["a", "b", "c", "d", "e"];
    world.frame(|frame| services.iter().for_each(|service| frame.put(service, "1", "x", true)));
    let mut watch = world.watch(Scope::Namespace(namespace()), Selector::default(), None);
    snapshot(&mut watch);
    world.frame(|frame| frame.put("d", "2", "x", true));
    world.frame(|frame| ["1", "2"].iter().for_each(|id| frame.remove("d", id)));
    world.frame(|frame| frame.delete("d"));
    let rest: Vec<_> = (0..3).filter_map(|_| snapshot(&mut watch).0).map(|view| view.service.clone()).collect();
    assert_eq!(rest, [key("b"), key("c"), key("e")]);
    nothing(&mut watch);
    world.frame(|frame| frame.put("d", "3", "x", true));
    world.wake();
    assert_eq!(ids(&change(&mut watch)), (vec!["3"], vec![]));
}

#[test]
fn what_came_and_went_before_its_page_was_read_is_not_spoken_of() {
    let mut world = World::new();
    world.frame(|frame| ["a", "b"].iter().for_each(|service| frame.put(service, "1", "x", true)));
    let mut watch = world.watch(Scope::Namespace(namespace()), Selector::default(), None);
    snapshot(&mut watch);
    world.frame(|frame| frame.put("d", "1", "x", true));
    let between = world.frame(|frame| frame.put("a", "2", "x", true));
    world.frame(|frame| {
        frame.remove("d", "1");
        frame.delete("d");
    });
    assert!(snapshot(&mut watch).2);
    world.wake();
    let told = change(&mut watch);
    assert_eq!((told.service.service.as_str(), told.to.position()), ("a", between.position()));
    nothing(&mut watch);
}

#[test]
fn progress_is_not_of_a_time_before_what_was_left_out() {
    let mut world = World::new();
    let mut watch = world.watch_one("a", None);
    snapshot(&mut watch);
    world.frame(|frame| frame.put("a", "1", "x", true));
    world.wake();
    // Read together with the first, and covered by no round yet: of both together nothing is to be seen.
    let second = world.frame(|frame| {
        frame.remove("a", "1");
        frame.delete("a");
    });
    nothing(&mut watch);
    world.clock.advance(10_000);
    assert!(progress(&mut watch) >= second.position().at(1));
}

#[test]
fn of_several_services_what_came_in_turns_is_told_in_turns() {
    let mut world = World::new();
    let mut watch = world.watch(Scope::Services(vec![key("b"), key("a")]), Selector::default(), None);
    let begin: Vec<_> = (0..2).filter_map(|_| snapshot(&mut watch).0).map(|view| view.service.clone()).collect();
    assert_eq!(begin, [key("a"), key("b")]);
    for service in ["a", "b", "b", "a", "b"] {
        world.frame(|frame| frame.put(service, "1", "x", true));
    }
    world.wake();
    let told: Vec<_> = (0..4).map(|_| change(&mut watch)).collect();
    assert!(told.windows(2).all(|pair| pair[0].to < pair[1].to));
    let services: Vec<_> = told.iter().map(|delta| delta.service.service.as_str()).collect();
    assert_eq!(services, ["a", "b", "a", "b"]);
    assert_eq!(told[2].from, told[0].to);
    nothing(&mut watch);
}

#[test]
fn what_nobody_was_woken_for_is_not_told_ahead_of_it() {
    let mut world = World::new();
    let mut watch = world.watch(Scope::Services(vec![key("a"), key("b")]), Selector::default(), None);
    (0..2).for_each(|_| drop(snapshot(&mut watch)));
    world.frame(|frame| frame.put("a", "1", "x", true));
    world.wake();
    world.frame(|frame| frame.put("b", "1", "x", true));
    world.frame(|frame| frame.put("a", "2", "x", true));
    assert_eq!(ids(&change(&mut watch)).0, ["1"]);
    nothing(&mut watch);
    world.wake();
    assert_eq!(change(&mut watch).service, key("b"));
    assert_eq!(ids(&change(&mut watch)).0, ["2"]);
}

#[test]
fn a_reader_is_woken_by_its_own_service_and_what_is_new() {
    let mut world = World::new();
    let is_woken = |watcher: &mut crate::watch::Watcher| futures::FutureExt::now_or_never(watcher.changed()).is_some();
    world.frame(|frame| frame.put("a", "1", "x", true));
    let mut early = world.hub.watcher(&key("a"));
    world.frame(|frame| frame.put("b", "1", "x", true));
    world.wake();
    assert!(!is_woken(&mut early));
    world.frame(|frame| frame.put("a", "1", "x", true));
    let mut late = world.hub.watcher(&key("a"));
    world.wake();
    assert!(is_woken(&mut early) && !is_woken(&mut late), "it was made after the change");
    assert!(!is_woken(&mut early), "nothing since the last call");
    world.frame(|frame| frame.put("a", "1", "x", true));
    world.wake();
    assert!(is_woken(&mut early) && is_woken(&mut late));
}

#[test]
fn subscribers_are_listed_while_they_watch() {
    let mut world = World::new();
    let revision = world.frame(|frame| frame.put("a", "1", "x", true)).position().at(0);
    let spec =
        |scope, name| WatchSpec { scope, selector: Selector::default(), from: None, subscriber: subscriber(name) };
    let open = |spec| world.hub.watch(world.directory.clone(), world.clock.clone(), spec).expect("within limits");
    let mut one = open(spec(Scope::Services(vec![key("a")]), "one"));
    let whole = open(spec(Scope::Namespace(namespace()), "whole"));
    let _poll = world.hub.watcher_as(&key("a"), subscriber("poll"), revision);
    let _unnamed = world.hub.watcher(&key("a"));
    snapshot(&mut one);
    let of = |name, sent, acknowledged| Subscription { subscriber: subscriber(name), sent, acknowledged };
    let zero = Revision::ZERO;
    let listed = world.hub.subscribers(&key("a"));
    assert_eq!(listed, [of("one", revision, None), of("poll", revision, None), of("whole", zero, None)]);
    let acknowledger = one.acknowledger();
    assert!(acknowledger.acknowledge(&key("a"), world.applied()), "believed only as far as it was sent");
    assert!(!acknowledger.acknowledge(&key("b"), revision));
    drop(whole);
    let listed = world.hub.subscribers(&key("a"));
    assert_eq!(listed, [of("one", revision, Some(revision)), of("poll", revision, None)]);
    drop(one);
    assert_eq!(world.hub.subscribers(&key("a")).len(), 1);
    assert_eq!(world.hub.subscribers(&key("b")), []);
}

#[test]
fn what_is_too_much_is_refused_and_given_back() {
    let world = World::new();
    let limits = WatchLimits { watchers_max: 2, services_max: 3, followed_max: 4 };
    let hub = Hub::with(Company::Among, limits, HistoryLimits::default());
    let open = |names: &[&str]| {
        let scope = Scope::Services(names.iter().map(|name| key(name)).collect());
        let spec = WatchSpec { scope, selector: Selector::default(), from: None, subscriber: subscriber("x") };
        hub.watch(world.directory.clone(), world.clock.clone(), spec)
    };
    let code = |result: Result<Watch, Error>| result.err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(code(open(&[])), "services is \"0 services\"; allowed: 1 to 3 services");
    assert_eq!(code(open(&["a", "b", "c", "d"])), "services is \"4 services\"; allowed: 1 to 3 services");
    assert_eq!(code(open(&["a", "b", "a"])), "services is \"a\"; allowed: no service twice");
    let first = open(&["a", "b", "c"]).expect("within limits");
    assert!(code(open(&["a", "b"])).starts_with("the number of services watched is at its limit"));
    let second = open(&["a"]).expect("what was refused does not count");
    assert!(code(open(&["b"])).starts_with("the number of watchers is at its limit"));
    drop((first, second));
    assert!(open(&["a", "b", "c"]).is_ok());
}

#[test]
fn when_the_node_stops_every_watch_ends() {
    let world = World::new();
    let mut watch = world.watch_one("a", None);
    snapshot(&mut watch);
    nothing(&mut watch);
    world.hub.close();
    assert!(finish(watch.next()).is_none() && watch.refused().is_none());
    finish(world.hub.run(world.clock.clone()));
}

#[test]
fn a_delta_is_encoded_once() {
    let encoded = Encoded::default();
    let mut times = 0;
    for _ in 0..3 {
        encoded.get(crate::view::Format("json"), || {
            times += 1;
            bytes::Bytes::from_static(b"x")
        });
    }
    assert_eq!(times, 1);
}
