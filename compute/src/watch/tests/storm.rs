//! The whole in real time and on several threads: one applier that never pauses, watchers that read as fast as they
//! can, come and go, and a judge for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::judge::Judge;
use super::world::{World, healthy, key, namespace, zone};
use crate::model::{Revision, Selector};
use crate::port::clock::SystemClock;
use crate::watch::{Hub, Scope, Subscriber, WatchSpec};

const FRAMES: usize = 3_000;
const WATCHERS: usize = 12;

struct Stage {
    hub: Arc<Hub>,
    directory: Arc<crate::directory::Directory>,
    clock: Arc<SystemClock>,
    truth: Arc<std::sync::Mutex<super::world::Truth>>,
    is_over: AtomicBool,
}

/// Follows until everything is published and it holds all of it, coming back anew after every few events.
async fn follow(stage: Arc<Stage>, scope: Scope, selector: Selector, patience: usize) -> Result<usize, String> {
    let mut from = None;
    let mut changes = 0;
    loop {
        let subscriber = Subscriber { name: "x".into(), address: None, door: "test".into() };
        let spec = WatchSpec { scope: scope.clone(), selector: selector.clone(), from, subscriber };
        let watch = stage.hub.watch(stage.directory.clone(), stage.clock.clone(), spec);
        let mut watch = watch.map_err(|refused| refused.to_string())?;
        let mut judge = Judge::new(scope.clone(), selector.clone(), stage.truth.clone(), from);
        for _ in 0..patience {
            let Some(event) = watch.next().await else { return Err("it ended".to_owned()) };
            judge.see(&event)?;
            let applied = stage.directory.progress().borrow().applied.last();
            let is_last = stage.is_over.load(Ordering::SeqCst) && judge.is_at(applied).is_ok();
            if is_last {
                return Ok(changes + judge.changes);
            }
        }
        changes += judge.changes;
        from = watch.position();
    }
}

fn publish(world: &mut World, random: &mut u64) {
    let mut next = |below: u64| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*random >> 33) % below
    };
    world.frame(|frame| {
        for _ in 0..=next(4) {
            let service = ["a", "b", "c"][next(3) as usize];
            let id = next(6).to_string();
            match next(8) {
                0..4 => frame.put(service, &id, ["x", "y"][next(2) as usize], next(3) > 0),
                4..7 => frame.remove(service, &id),
                _ => frame.describe(service, next(3) as f64 / 2.0),
            }
        }
        if next(10) == 0 {
            frame.delete("c");
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn watchers_hold_what_is_true_while_everything_moves() {
    let mut world = World::new();
    let stage = Arc::new(Stage {
        hub: world.hub.clone(),
        directory: world.directory.clone(),
        clock: SystemClock::new(),
        truth: world.truth.clone(),
        is_over: AtomicBool::new(false),
    });
    let waker = tokio::spawn({
        let stage = stage.clone();
        async move { stage.hub.run(stage.clock.clone()).await }
    });
    let services = |names: &[&str]| Scope::Services(names.iter().map(|name| key(name)).collect());
    let scopes = [services(&["a"]), services(&["a", "b", "c"]), Scope::Namespace(namespace())];
    let selectors = [Selector::default(), healthy(), zone("x")];
    let followers: Vec<_> = (0..WATCHERS)
        .map(|n| {
            let (scope, selector) = (scopes[n % 3].clone(), selectors[(n / 3) % 3].clone());
            let patience = if n % 2 == 0 { usize::MAX } else { 50 };
            tokio::spawn(follow(stage.clone(), scope, selector, patience))
        })
        .collect();
    let stage_of_applier = stage.clone();
    let applier = tokio::task::spawn_blocking(move || {
        let mut random = 7;
        (0..FRAMES).for_each(|_| publish(&mut world, &mut random));
        stage_of_applier.is_over.store(true, Ordering::SeqCst);
        // One more, so that everybody comes to see that it is over.
        world.frame(|frame| ["a", "b", "c"].iter().for_each(|service| frame.put(service, "end", "x", true)));
        world
    });
    let world = applier.await.expect("it does not panic");
    assert!(world.applied() > Revision::ZERO);
    for follower in followers {
        let followed = tokio::time::timeout(Duration::from_secs(60), follower);
        let changes = followed.await.expect("in time").expect("it does not panic");
        assert!(changes.unwrap_or_else(|wrong| panic!("{wrong}")) > 0);
    }
    stage.hub.close();
    waker.await.expect("it ends when it is closed");
}
