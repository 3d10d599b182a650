//! What a node still takes when it is at a limit, or on its way out.

use std::time::Duration;

use compute::Registry;
use compute::command::{Ack, Answer, Command};
use compute::error::Error;
use compute::model::{Lease, Namespace, NamespaceSettings, Op, OperatorPatch, Position, Set};
use compute::node::{Config, Readiness};
use compute::port::ChangeLog;
use compute::testing::change_log::Stall;
use compute::testing::store::{Fault, FaultyStore, MemoryStore};

use crate::world::{World, ask, deregister, key, must, provider, register, service, somebody, ttl};

fn is_shed<T>(outcome: Result<T, Error>, wanted: &str) -> bool {
    matches!(outcome, Err(Error::Overloaded { limit, retry_after }) if limit == wanted && retry_after > Duration::ZERO)
}

async fn open(world: &World, registry: &Registry) -> Result<compute::registry::Attached, Error> {
    world.drive(registry.open_session(&somebody(), 10_000, "client")).await
}

#[tokio::test]
async fn a_store_that_is_away_sheds_new_work_alone() {
    let mut world = World::new();
    let store = FaultyStore::new(MemoryStore::new(), world.clock.clone(), world.chance.clone());
    world.store = store.clone();
    let node = world.start_with(Config { unlanded_max: 1, ..Config::default() }).await;
    let registry = node.registry();
    let (a, b, c) = (key("orders", "a"), key("orders", "b"), key("orders", "c"));
    must(&registry, register(&a, provider(80, ttl(3_000, 2_000)))).await;
    let held = loop {
        world.pass(200).await;
        if let Ok(held) = open(&world, &registry).await {
            break held;
        }
    };
    world.pass(500).await;
    store.stand(Some(Fault::Refuse));
    must(&registry, register(&b, provider(81, Lease::Permanent))).await;
    let full = "rows that wait for the store";
    let namespace = Namespace::new("other").expect("a good name");
    for _ in 0..100 {
        // However long the lander waits before it tries again, and whatever is in its hands meanwhile.
        world.pass(100).await;
        assert!(is_shed(ask(&registry, Ack::Log, register(&c, provider(82, Lease::DEFAULT))).await, full));
        assert_eq!(registry.readiness(), Readiness::Ready);
        registry.renew(&somebody(), &a, None).await.expect("a renewal is no new work");
    }
    let settings = NamespaceSettings::default();
    assert!(is_shed(ask(&registry, Ack::Log, Command::PutNamespace { namespace, settings }).await, full));
    let patch = OperatorPatch { isolated: Set::To(true), ..OperatorPatch::default() };
    let operate = Command::Operate { instance: a.clone(), generation: None, patch };
    assert!(is_shed(ask(&registry, Ack::Log, operate).await, full));
    assert!(is_shed(open(&world, &registry).await, full));

    must(&registry, register(&a, provider(80, ttl(3_000, 2_000)))).await;
    let resumed = world.drive(registry.resume_session(&somebody(), held.session)).await.expect("taken over");
    must(&registry, deregister(&b)).await;
    world.drive(registry.close_session(&somebody(), resumed, true)).await.expect("closed");
    assert_eq!(registry.view(&service("orders")).instances.len(), 1, "reads go on");
    // A suspect is refuted through the log, and what is dead still goes: nothing holds expiry.
    world.pass(2_500).await;
    world.drive(registry.renew(&somebody(), &a, None)).await.expect("renewed");
    world.pass(2_500).await;
    assert_eq!(registry.view(&service("orders")).counts.healthy, 1);
    world.pass_until(8_000, || registry.view(&service("orders")).counts.all == 0).await.expect("it goes in time");
    assert_eq!(registry.status().holding, None);

    store.heal().await;
    world.pass(10_000).await;
    must(&registry, register(&c, provider(82, Lease::DEFAULT))).await;
}

/// A suspect's renewal is in the next frame, however many registers came before it.
#[tokio::test]
async fn renewals_do_not_wait_behind_new_work() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let suspect = key("orders", "a");
    must(&registry, register(&suspect, provider(80, ttl(3_000, 1_000)))).await;
    world.pass(2_200).await;
    let before = registry.progress().applied;
    world.log.stall(Stall::Append);
    let mut waiting = Vec::new();
    // More than wait for a frame and in the lane behind that.
    for request in 0..24 {
        let (registry, caller) = (registry.clone(), somebody());
        let ids = (0..1_000).map(|n| key("billing", &format!("{request}-{n}")));
        let commands = ids.map(|id| register(&id, provider(80, Lease::DEFAULT))).collect();
        waiting.push(tokio::spawn(async move { registry.submit(&caller, Ack::Log, commands).await.len() }));
        world.settle().await;
    }
    let renewed = tokio::spawn({
        let (registry, suspect) = (registry.clone(), suspect.clone());
        async move { registry.renew(&somebody(), &suspect, None).await }
    });
    world.settle().await;
    world.log.release(Stall::Append);
    tokio::time::timeout(Duration::from_secs(20), renewed).await.expect("in time").expect("it ran").expect("renewed");
    let entries = world.memory.read(before, 100).await.expect("the log is there");
    let is_refute = |op: &Op| matches!(op, Op::Refute { instance, .. } if *instance == suspect);
    let refuted = entries.iter().position(|entry| entry.frame.changes.iter().any(|change| is_refute(&change.op)));
    assert_eq!(refuted, Some(1), "in the frame behind the one that was under way");
    for calls in waiting {
        assert_eq!(world.drive(calls).await.expect("it ran"), 1_000);
    }
}

/// A provider that gave up on this node says more to another: what it said here before that must not come behind.
#[tokio::test]
async fn who_gave_up_while_a_frame_was_under_way_is_not_decided_any_more() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let (early, late) = (key("orders", "a"), key("orders", "b"));
    must(&registry, register(&late, provider(80, Lease::DEFAULT))).await;
    world.log.stall(Stall::Append);
    let ask_in_turn = |key, port| {
        let (registry, command) = (registry.clone(), register(key, provider(port, Lease::DEFAULT)));
        tokio::spawn(async move { registry.submit_one(&somebody(), Ack::Log, command).await })
    };
    let under_way = ask_in_turn(&early, 80);
    world.settle().await;
    let given_up = ask_in_turn(&late, 81);
    world.settle().await;
    let patient = ask_in_turn(&key("orders", "c"), 80);
    world.settle().await;
    given_up.abort();
    assert!(given_up.await.is_err_and(|ended| ended.is_cancelled()), "it was waiting still");
    world.log.release(Stall::Append);
    world.drive(under_way).await.expect("it ran").expect("accepted");
    world.drive(patient).await.expect("it ran").expect("accepted");
    let view = registry.view(&service("orders"));
    assert_eq!(view.get(&late.id).map(|there| there.provider.port()), Some(80));
    assert_eq!(view.instances.len(), 3);
}

#[tokio::test]
async fn a_node_that_drains_takes_goodbyes() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let held = open(&world, &registry).await.expect("opened");
    let of_session = Lease::stream(held.session, 1_000).expect("a good lease");
    let on_stream = Command::Register {
        instance: key("orders", "s"),
        provider: Box::new(provider(79, of_session)),
        epoch: Some(held.epoch),
        generation: None,
    };
    must(&registry, on_stream).await;
    for id in ["a", "b", "c"] {
        must(&registry, register(&key("orders", id), provider(80, Lease::DEFAULT))).await;
    }
    registry.drain();
    assert_eq!((registry.readiness(), registry.status().readiness), (Readiness::Draining, Readiness::Draining));
    registry.renew(&somebody(), &key("orders", "a"), None).await.expect("renewed");
    must(&registry, deregister(&key("orders", "a"))).await;
    let mixed = vec![
        register(&key("orders", "d"), provider(80, Lease::DEFAULT)),
        deregister(&key("orders", "b")),
        Command::DeleteNamespace { namespace: Namespace::new("other").expect("a good name") },
        Command::Renew { instance: key("orders", "c"), generation: None },
    ];
    let outcomes = registry.submit(&somebody(), Ack::Log, mixed).await;
    assert!(matches!(outcomes[0], Err(Error::NotReady(_))) && matches!(outcomes[2], Err(Error::NotReady(_))));
    assert!(matches!(outcomes[1].as_ref().expect("taken").answer, Answer::Removed));
    assert!(matches!(outcomes[3].as_ref().expect("taken").answer, Answer::Renewed));
    world.drive(registry.close_session(&somebody(), held, true)).await.expect("closed");
    let ids: Vec<_> = registry.view(&service("orders")).instances.iter().map(|i| i.id.to_string()).collect();
    assert_eq!(ids, ["c"]);
    world.pass(300).await;
    assert_eq!(registry.status().counted.sessions, 0);
    world.drive(node.stop()).await;
    assert!(matches!(ask(&registry, Ack::Log, deregister(&key("orders", "c"))).await, Err(Error::NotReady(_))));
}

#[tokio::test]
async fn a_node_opens_no_more_sessions_than_it_may() {
    let world = World::new();
    let node = world.start_with(Config { sessions_max: 2, ..Config::default() }).await;
    let registry = node.registry();
    let first = open(&world, &registry).await.expect("one");
    let second = open(&world, &registry).await.expect("two");
    let limit = "sessions of this node";
    assert!(is_shed(open(&world, &registry).await, limit));
    let first = world.drive(registry.resume_session(&somebody(), first.session)).await.expect("it is no new one");
    world.drive(registry.close_session(&somebody(), second, true)).await.expect("closed");
    let third = open(&world, &registry).await.expect("there is a place again");
    assert!(is_shed(open(&world, &registry).await, limit));
    drop(third);
    drop(first);
    world.pass(500).await;
    // Those that come in one frame count too.
    world.pass_until(60_000, || registry.status().counted.sessions == 0).await.expect("lost and closed");
    let caller = somebody();
    let all = futures_join((0..5).map(|_| registry.open_session(&caller, 10_000, "client"))).await;
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 2);
}

async fn futures_join<T>(calls: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let mut done = Vec::new();
    while !calls.is_empty() {
        let (one, _, rest) = futures::future::select_all(calls).await;
        done.push(one);
        calls = rest;
    }
    done
}

#[tokio::test]
async fn an_operator_is_told_that_freezes_stand_while_the_log_is_away() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    for n in 0..3 {
        must(&registry, register(&key("orders", &n.to_string()), provider(80, ttl(3_000, 1_000)))).await;
    }
    world.pass_until(30_000, || !registry.status().freezes.is_empty()).await.expect("frozen");
    // The node finds out by this very release, and then knows.
    world.log.set_away(true);
    for _ in 0..2 {
        let released =
            tokio::time::timeout(Duration::from_secs(20), registry.release_freezes(&somebody(), "thuban")).await;
        assert_eq!(released.expect("answered at once"), Err(Error::LogAway));
    }
    assert_eq!(registry.status().holding.as_deref(), Some("the change log is away"));
    world.log.set_away(false);
    world.pass(1_000).await;
    assert_eq!(registry.status().freezes.len(), 1, "nothing was released behind the operator's back");
    assert_eq!(registry.release_freezes(&somebody(), "thuban").await, Ok(1));
    world.pass(300).await;
    assert_eq!(registry.status().freezes.len(), 0, "it has ended when the operator hears so");
    assert_eq!(registry.release_freezes(&somebody(), "thuban").await, Ok(0));
}

#[tokio::test]
async fn what_lapsed_while_the_loop_stood_still_is_spared_and_said() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    must(&registry, register(&key("orders", "a"), provider(80, ttl(3_000, 4_000)))).await;
    world.pass(2_500).await;
    assert_eq!(registry.status().holding, None);
    world.clock.advance(3_000);
    world.pass(2_500).await;
    assert_eq!(registry.view(&service("orders")).counts.healthy, 1, "it has its full time again");
    let holding = registry.status().holding.expect("it says why");
    assert!(holding.contains("late by") && holding.contains("1 leases"), "{holding}");
    world.pass_until(2_000, || registry.view(&service("orders")).counts.healthy == 0).await.expect("and then it goes");
    world.pass(10_000).await;
    assert_eq!(registry.status().holding, None);
}

#[tokio::test]
async fn what_is_kept_of_an_operator_is_read_without_the_writer() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    for id in ["b", "a"] {
        must(&registry, register(&key("orders", id), provider(80, Lease::DEFAULT))).await;
        let patch = OperatorPatch { isolated: Set::To(true), keep_ms: Set::To(60_000), ..OperatorPatch::default() };
        must(&registry, Command::Operate { instance: key("orders", id), generation: None, patch }).await;
        must(&registry, deregister(&key("orders", id))).await;
    }
    let kept = |registry: &Registry| -> Vec<String> {
        registry.kept_overrides(&service("orders")).iter().map(|kept| kept.instance.id.to_string()).collect()
    };
    assert_eq!(kept(&registry), ["a", "b"]);
    assert!(registry.kept_overrides(&service("order")).is_empty());
    must(&registry, Command::DropOverride { instance: key("orders", "b") }).await;
    assert_eq!(kept(&registry), ["a"]);
    drop(node);
    let node = world.start().await;
    let registry = node.registry();
    assert_eq!(kept(&registry), ["a"], "and after a restart");
    must(&registry, register(&key("orders", "a"), provider(80, Lease::DEFAULT))).await;
    assert!(registry.kept_overrides(&service("orders")).is_empty(), "it lives with its instance again");
    world.pass(1_000).await;
    assert!(registry.progress().landed > Position::ZERO);
}

#[tokio::test]
async fn a_node_that_has_failed_lets_nothing_expire() {
    let world = World::new();
    let mut node = world.start().await;
    let registry = node.registry();
    must(&registry, register(&key("orders", "a"), provider(80, ttl(3_000, 1_000)))).await;
    world.pass(500).await;
    // Another process takes the role of landing; the next batch is refused.
    world.store.lead(registry.status().log).await.expect("taken");
    let before = registry.progress().applied;
    must(&registry, register(&key("orders", "b"), provider(81, ttl(3_000, 1_000)))).await;
    let failure = world.drive(node.failed()).await;
    assert!(failure.to_string().contains("another process lands"), "{failure}");
    assert!(matches!(registry.readiness(), Readiness::NotReady(_)));
    assert_eq!(registry.status().holding.as_deref(), Some("the node is not ready"));
    assert!(matches!(registry.renew(&somebody(), &key("orders", "a"), None).await, Err(Error::NotReady(_))));
    world.pass(60_000).await;
    let said = world.memory.read(before, 100).await.expect("the log is there");
    let words = said.iter().flat_map(|entry| &entry.frame.changes).filter(|c| !matches!(c.op, Op::Register { .. }));
    assert_eq!(words.count(), 0);
}
