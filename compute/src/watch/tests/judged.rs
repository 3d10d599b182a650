//! The judge itself: it passes what is right, and finds each thing that could be wrong.

use std::sync::Arc;

use super::judge::Judge;
use super::world::{World, healthy, key, namespace, next};
use crate::model::{Digest, InstanceId, Revision, Selector};
use crate::view::Encoded;
use crate::watch::{Delta, Removed, Scope, WatchEvent};

fn copy(delta: &Delta) -> Delta {
    Delta {
        service: delta.service.clone(),
        from: delta.from,
        to: delta.to,
        digest: delta.digest,
        row: delta.row.clone(),
        protected: delta.protected,
        put: delta.put.clone(),
        removed: delta.removed.clone(),
        encoded: Encoded::default(),
    }
}

/// A story with something of everything, as one watcher is told it.
fn told(scope: Scope, selector: Selector) -> (World, Vec<WatchEvent>) {
    let mut world = World::new();
    world.frame(|frame| frame.put("a", "0", "x", true));
    let mut watch = world.watch(scope, selector, None);
    let mut events = Vec::new();
    let mut read = |world: &World| {
        world.wake();
        events.extend(std::iter::from_fn(|| next(&mut watch)));
    };
    read(&world);
    world.frame(|frame| (0..4).for_each(|id| frame.put("a", &id.to_string(), "x", true)));
    read(&world);
    world.frame(|frame| frame.put("a", "1", "y", false));
    read(&world);
    world.frame(|frame| {
        frame.remove("a", "2");
        frame.put("b", "0", "x", true);
    });
    read(&world);
    world.frame(|frame| frame.describe("a", 1.0));
    read(&world);
    world.clock.advance(10_000);
    read(&world);
    (world, events)
}

/// What the judge finds wrong in a story after `change` was made to it.
fn wrong(scope: &Scope, selector: &Selector, change: impl FnOnce(&mut Vec<WatchEvent>)) -> Option<String> {
    let (world, mut events) = told(scope.clone(), selector.clone());
    change(&mut events);
    let mut judge = Judge::new(scope.clone(), selector.clone(), world.truth.clone(), None);
    let seen = events.iter().try_for_each(|event| judge.see(event));
    seen.and_then(|()| judge.is_at(world.applied())).err()
}

fn changes(events: &[WatchEvent]) -> Vec<usize> {
    let is_change = |at: &usize| matches!(events[*at], WatchEvent::Change(_));
    (0..events.len()).filter(is_change).collect()
}

fn with_delta(events: &mut [WatchEvent], which: usize, change: impl FnOnce(&mut Delta)) {
    let at = changes(events)[which];
    let WatchEvent::Change(delta) = &events[at] else { panic!("a change was looked for") };
    let mut delta = copy(delta);
    change(&mut delta);
    events[at] = WatchEvent::Change(Arc::new(delta));
}

fn scopes() -> [Scope; 3] {
    let services = |names: &[&str]| Scope::Services(names.iter().map(|name| key(name)).collect());
    [services(&["a"]), services(&["a", "b"]), Scope::Namespace(namespace())]
}

#[test]
fn what_is_right_passes() {
    for scope in scopes() {
        for selector in [Selector::default(), healthy()] {
            assert_eq!(wrong(&scope, &selector, |_| ()), None, "{scope:?}");
        }
    }
}

type Fault = (&'static str, fn(&mut Vec<WatchEvent>));

#[test]
fn each_fault_is_found() {
    let faults: [Fault; 15] = [
        ("a change is lost", |events| drop(events.remove(changes(events)[1]))),
        ("a change comes twice", |events| {
            let at = changes(events)[1];
            events.insert(at, events[at].clone());
        }),
        ("two changes change places", |events| {
            let at = changes(events);
            events.swap(at[0], at[1]);
        }),
        ("it begins elsewhere", |events| with_delta(events, 1, |delta| delta.from = Revision::ZERO)),
        ("an instance is not put", |events| with_delta(events, 0, |delta| drop(delta.put.pop()))),
        ("an instance is put again", |events| {
            let WatchEvent::Change(first) = events[changes(events)[0]].clone() else { panic!("a change") };
            with_delta(events, 1, |delta| delta.put.push(first.put[0].clone()));
        }),
        ("a removal is left out", |events| {
            let removes = |at: &&usize| matches!(&events[**at], WatchEvent::Change(d) if !d.removed.is_empty());
            let which = changes(events).iter().position(|at| removes(&at)).expect("a removal");
            with_delta(events, which, |delta| drop(delta.removed.pop()));
        }),
        ("something is removed that was never there", |events| {
            let never = Removed { id: InstanceId::new("never").expect("an id"), removal: None };
            with_delta(events, 1, |delta| delta.removed.push(never));
        }),
        ("the digest is another", |events| with_delta(events, 1, |delta| delta.digest = Digest::from_bytes([1; 16]))),
        ("it is said to be gone", |events| with_delta(events, 0, |delta| delta.row = None)),
        ("it ends too early", |events| {
            with_delta(events, 0, |delta| delta.to = Revision::from_packed(delta.to.packed() - 1).expect("small"));
        }),
        ("a snapshot comes unannounced", |events| events.push(events[0].clone())),
        ("progress goes back", |events| events.push(WatchEvent::Progress(Revision::ZERO))),
        ("progress comes too early", |events| {
            let last = events.last().cloned().expect("an event");
            let at = changes(events)[1];
            events.insert(at, last);
        }),
        ("nothing comes", |events| events.truncate(1)),
    ];
    for (name, fault) in faults {
        for scope in scopes() {
            assert!(wrong(&scope, &Selector::default(), fault).is_some(), "not found in {scope:?}: {name}");
        }
    }
}

#[test]
fn faults_of_a_selection_are_found() {
    let scope = Scope::Services(vec![key("a")]);
    let is_out = |delta: &Delta| delta.removed.iter().any(|removed| removed.removal.is_none());
    let with_out = |events: &mut Vec<WatchEvent>, change: fn(&mut Delta)| {
        let at = changes(events).into_iter().find(|at| matches!(&events[*at], WatchEvent::Change(d) if is_out(d)));
        let which = changes(events).iter().position(|other| Some(*other) == at).expect("an instance went out of sight");
        with_delta(events, which, change);
    };
    let kept = wrong(&scope, &healthy(), |events| with_out(events, |delta| delta.removed.clear()));
    assert!(kept.is_some(), "an instance that is not selected any more stays");
    let flag = wrong(&scope, &healthy(), |events| {
        let last = changes(events).len() - 1;
        with_delta(events, last, |delta| delta.protected = !delta.protected);
    });
    assert!(flag.is_some(), "the protection is not told");
}
