//! Leases of a whole node, against the bounds of the contract.

use compute::Registry;
use compute::command::{Ack, Command};
use compute::error::Error;
use compute::model::{HealthReason, Lease, RemovalReason};
use compute::node::Node;
use compute::port::Clock;
use compute::testing::change_log::{AppendFault, Stall};

use crate::world::{
    World, ask, deregister, generation, instance, key, must, provider, register, service, somebody, ttl,
};

fn health(registry: &Registry, id: &str) -> Option<bool> {
    registry.view(&service("orders")).get(&key("orders", id).id).map(|i| i.is_healthy())
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_within_the_bounds() {
    for (ttl_ms, slack_ms) in [(1_000, 3_000), (5_000, 2_000), (15_000, 2_000)] {
        let world = World::new();
        let node = world.start().await;
        let registry = node.registry();
        must(&registry, register(&key("orders", "a"), provider(80, ttl(ttl_ms, 4_000)))).await;
        let sick = world.pass_until(60_000, || health(&registry, "a") == Some(false)).await.expect("unhealthy");
        assert!((ttl_ms..=ttl_ms + slack_ms).contains(&sick), "unhealthy after {sick} ms of {ttl_ms}");
        let view = registry.view(&service("orders"));
        assert_eq!(view.instances[0].health.reason, Some(HealthReason::LeaseLapsed));
        let gone = world.pass_until(60_000, || health(&registry, "a").is_none()).await.expect("removed");
        assert!((4_000..=6_000).contains(&gone), "removed after {gone} ms");
        let view = registry.view(&service("orders"));
        let removal = view.row.as_ref().and_then(|row| row.last_removal.clone()).expect("a proof");
        assert_eq!((removal.reason, removal.author.door.as_ref()), (RemovalReason::Expired, "lease"));
    }
}

#[tokio::test]
async fn a_renewed_lease_never_ends_and_costs_no_change() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let at = key("orders", "a");
    let there = must(&registry, register(&at, provider(80, ttl(3_000, 1_000)))).await;
    for _ in 0..50 {
        world.pass(1_500).await;
        registry.renew(&somebody(), &at, Some(generation(&there))).await.expect("renewed");
    }
    assert_eq!(health(&registry, "a"), Some(true));
    assert_eq!(registry.progress().applied, there.revision.position(), "a heartbeat never reaches the log");
}

/// A refute that is owed is due at once, however long the node has been up: nothing of that is lateness of its own.
#[tokio::test]
async fn a_suspect_that_was_heard_gives_nobody_else_more_time() {
    const TTL_MS: u64 = 10_000;
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let registered = world.clock.mono_ms();
    must(&registry, register(&key("orders", "dead"), provider(80, ttl(TTL_MS, 60_000)))).await;
    world.pass(3_000).await;
    must(&registry, register(&key("orders", "alive"), provider(80, ttl(TTL_MS, 60_000)))).await;
    // It becomes a suspect, but the log is slow to say so, and it is heard before it does.
    world.pass(6_500).await;
    world.log.stall(Stall::Append);
    world.pass(300).await;
    registry.renew(&somebody(), &key("orders", "alive"), None).await.expect("renewed");
    // The log says so at the moment in which the other one lapses.
    let passed = world.clock.mono_ms() - registered;
    world.clock.advance(TTL_MS + 20 - passed);
    world.log.release(Stall::Append);
    let more = world.pass_until(2 * TTL_MS, || health(&registry, "dead") == Some(false)).await.expect("unhealthy");
    assert!(more + 20 <= 2_000, "unhealthy {more} ms after its time");
    assert_eq!(health(&registry, "alive"), Some(true));
}

#[tokio::test]
async fn a_suspect_that_is_heard_is_refuted() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let at = key("orders", "a");
    let there = must(&registry, register(&at, provider(80, ttl(3_000, 1_000)))).await;
    world.pass(2_500).await;
    assert!(registry.progress().applied > there.revision.position(), "it is suspect by now");
    world.drive(registry.renew(&somebody(), &at, None)).await.expect("renewed");
    world.pass(2_900).await;
    assert_eq!(health(&registry, "a"), Some(true));
    assert_eq!(registry.view(&service("orders")).revision, there.revision, "nobody is told of a doubt");
}

#[tokio::test]
async fn an_unhealthy_instance_that_renews_is_healthy_again() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let at = key("orders", "a");
    let there = must(&registry, register(&at, provider(80, ttl(3_000, 20_000)))).await;
    world.pass_until(10_000, || health(&registry, "a") == Some(false)).await.expect("unhealthy");
    world.drive(registry.renew(&somebody(), &at, Some(generation(&there)))).await.expect("renewed");
    assert_eq!(health(&registry, "a"), Some(true));
}

#[tokio::test]
async fn after_a_restart_every_lease_has_its_full_time() {
    let world = World::new();
    let node = world.start().await;
    let at = key("orders", "a");
    must(&node.registry(), register(&at, provider(80, ttl(5_000, 5_000)))).await;
    world.pass(4_900).await;
    // Not dropped: it would go on for a while, and judge by the new time what it had known by the old one.
    node.kill().await;
    world.clock.advance(600_000);
    let node = world.start().await;
    let registry = node.registry();
    let sick = world.pass_until(60_000, || health(&registry, "a") == Some(false)).await.expect("unhealthy");
    assert!((5_000..=7_000).contains(&sick), "unhealthy {sick} ms after the restart");
}

/// The same node, in another life.
async fn restarted(world: &World, node: Node) -> Node {
    node.kill().await;
    world.start().await
}

/// Renews one of them until it is so.
async fn renew_until(world: &World, registry: &Registry, id: &str, so: impl Fn() -> bool) {
    for _ in 0..20 {
        registry.renew(&somebody(), &key("orders", id), None).await.expect("renewed");
        if world.pass_until(500, &so).await.is_some() {
            return;
        }
    }
    panic!("not within ten seconds");
}

/// A node that starts has not seen what fell a moment ago, and its state shows it.
#[tokio::test]
async fn what_fell_before_a_restart_and_what_falls_after_it_are_one_loss() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    for (id, remove_after_ms) in [("gone", 1_000), ("sick", 60_000), ("last", 60_000)] {
        must(&registry, register(&key("orders", id), provider(80, ttl(2_000, remove_after_ms)))).await;
    }
    let has_fallen = || health(&registry, "gone").is_none() && health(&registry, "sick") == Some(false);
    renew_until(&world, &registry, "last", has_fallen).await;
    let node = restarted(&world, node).await;
    let registry = node.registry();
    world.pass_until(5_000, || !registry.freezes().is_empty()).await.expect("held back");
    world.pass(3_000).await;
    assert_eq!(health(&registry, "last"), Some(true));
}

/// Of two one may go and then the other: neither one that fell before a restart and went after it, nor one whose place
/// another has taken, makes three of them.
#[tokio::test]
async fn a_service_of_two_loses_both_whatever_fell_before_a_restart() {
    for is_replaced in [false, true] {
        let world = World::new();
        let node = world.start().await;
        let registry = node.registry();
        for (id, remove_after_ms) in [("first", 1_000), ("second", 3_000)] {
            must(&registry, register(&key("orders", id), provider(80, ttl(2_000, remove_after_ms)))).await;
        }
        let is_gone = || health(&registry, "first").is_none();
        let is_sick = || health(&registry, "first") == Some(false);
        if is_replaced {
            renew_until(&world, &registry, "second", is_gone).await;
            must(&registry, register(&key("orders", "third"), provider(80, ttl(2_000, 1_000)))).await;
        } else {
            renew_until(&world, &registry, "second", is_sick).await;
        }
        let node = restarted(&world, node).await;
        let registry = node.registry();
        let all_gone = || registry.view(&service("orders")).instances.is_empty();
        world.pass_until(9_000, all_gone).await.unwrap_or_else(|| panic!("held back, replaced: {is_replaced}"));
    }
}

#[tokio::test]
async fn the_wall_clock_ends_no_lease() {
    for jump in [3_600_000_i64, -3_600_000] {
        let world = World::new();
        let node = world.start().await;
        let registry = node.registry();
        let at = key("orders", "a");
        must(&registry, register(&at, provider(80, ttl(5_000, 5_000)))).await;
        world.pass(1_000).await;
        let wall = compute::port::Clock::wall_ms(world.clock.as_ref());
        world.clock.set_wall_ms(wall.wrapping_add_signed(jump));
        must(&registry, register(&key("orders", "b"), provider(81, Lease::Permanent))).await;
        world.pass(3_500).await;
        assert_eq!(health(&registry, "a"), Some(true), "{jump}");
        let sick = world.pass_until(60_000, || health(&registry, "a") == Some(false)).await.expect("unhealthy");
        assert!(sick <= 2_500, "{sick} ms, with the clock off by {jump}");
    }
}

#[tokio::test]
async fn while_the_log_is_away_nobody_goes() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    must(&registry, register(&key("orders", "a"), provider(80, ttl(3_000, 1_000)))).await;
    world.log.script(vec![Some(AppendFault::Refused); 150]);
    assert!(matches!(
        ask(&registry, Ack::Log, register(&key("orders", "b"), provider(81, Lease::Permanent))).await,
        Err(Error::LogAway)
    ));
    world.pass(30_000).await;
    assert_eq!(health(&registry, "a"), Some(true));
    assert_eq!(registry.status().holding.as_deref(), Some("the change log is away"));
    let back = world.pass_until(200_000, || registry.status().holding.is_none()).await.expect("the log is back");
    let sick = world.pass_until(60_000, || health(&registry, "a") == Some(false)).await.expect("unhealthy");
    assert!(sick >= 2_900, "it has its full time again: {sick} ms after {back} ms");
}

#[tokio::test]
async fn a_lost_session_has_its_grace_and_its_token_is_good_until_then() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let held = registry.open_session(&somebody(), 4_000, "client").await.expect("opened");
    let at = key("orders", "a");
    let lease = Lease::stream(held.session, 2_000).expect("good");
    let command = Command::Register {
        instance: at.clone(),
        provider: Box::new(provider(80, lease)),
        epoch: Some(held.epoch),
        generation: None,
    };
    let there = must(&registry, command).await;
    world.pass(60_000).await;
    assert_eq!(health(&registry, "a"), Some(true), "it lives while its session does");
    let session = held.session;
    drop(held);
    world.pass(3_500).await;
    let held = world.drive(registry.resume_session(&somebody(), session)).await.expect("resumed");
    assert_eq!(held.epoch, 2);
    world.pass(60_000).await;
    assert_eq!(health(&registry, "a"), Some(true));
    assert_eq!(registry.view(&service("orders")).revision, instance(&there).revision);
    drop(held);
    let sick = world.pass_until(60_000, || health(&registry, "a") == Some(false)).await.expect("unhealthy");
    assert!((4_000..=6_000).contains(&sick), "unhealthy after {sick} ms of grace");
    let gone = world.pass_until(60_000, || health(&registry, "a").is_none()).await.expect("removed");
    assert!((2_000..=4_000).contains(&gone), "removed after {gone} ms");
    world.pass_until(60_000, || registry.status().counted.sessions == 0).await.expect("and the session with it");
    let resumed = world.drive(registry.resume_session(&somebody(), session)).await;
    assert!(matches!(resumed.err(), Some(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_newer_stream_takes_a_session_over() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let first = registry.open_session(&somebody(), 2_000, "client").await.expect("opened");
    let second = registry.resume_session(&somebody(), first.session).await.expect("taken over");
    first.superseded().await;
    // The end of the older connection is no loss of the session.
    drop(first);
    world.pass(30_000).await;
    assert_eq!(registry.status().counted.sessions, 1);
    drop(second);
    world.pass_until(30_000, || registry.status().counted.sessions == 0).await.expect("closed");
}

#[tokio::test]
async fn a_session_nobody_claims_is_not_held_for_ever() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let caller = somebody();
    // The caller is gone before it hears of its session.
    let mut opening = Box::pin(registry.open_session(&caller, 2_000, "client"));
    let polled = futures_once(opening.as_mut()).await;
    assert!(polled.is_none());
    drop(opening);
    world.pass_until(1_000, || registry.status().counted.sessions == 1).await.expect("the log has it");
    world.pass_until(30_000, || registry.status().counted.sessions == 0).await.expect("closed");
}

async fn futures_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn a_mass_loss_is_held_back_and_then_let_go_slowly() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    for n in 0..6 {
        must(&registry, register(&key("orders", &n.to_string()), provider(80, ttl(3_000, 1_000)))).await;
    }
    world.pass(10_000).await;
    let healthy = || registry.view(&service("orders")).counts.healthy;
    assert_eq!(healthy(), 6, "all of a service at once is rather our fault than theirs");
    assert_eq!(registry.status().freezes.len(), 1);
    let released = world.pass_until(180_000, || registry.status().freezes.is_empty()).await.expect("not for ever");
    assert!((100_000..=125_000).contains(&released), "released after {released} ms");
    world.pass_until(200_000, || registry.view(&service("orders")).counts.all == 0).await.expect("the dead go");
}

#[tokio::test]
async fn an_operator_ends_a_freeze() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    for n in 0..3 {
        must(&registry, register(&key("orders", &n.to_string()), provider(80, ttl(3_000, 1_000)))).await;
    }
    world.pass_until(30_000, || !registry.status().freezes.is_empty()).await.expect("frozen");
    let released = registry.release_freezes(&somebody(), "thuban").await.expect("asked");
    assert_eq!(released, 1);
    world.pass_until(5_000, || registry.status().freezes.is_empty()).await.expect("released");
    world.pass_until(60_000, || registry.view(&service("orders")).counts.all == 0).await.expect("the dead go");
}

/// A process that did not make a freeze can't tell when its reason is over: without this it would last two minutes.
#[tokio::test]
async fn a_freeze_ends_with_its_service() {
    let world = World::new();
    let node = world.start().await;
    let ids = ["a", "b", "c"];
    for id in ids {
        must(&node.registry(), register(&key("orders", id), provider(80, ttl(3_000, 1_000)))).await;
    }
    let registry = node.registry();
    world.pass_until(30_000, || !registry.status().freezes.is_empty()).await.expect("frozen");
    drop(node);
    let node = world.start().await;
    let registry = node.registry();
    for id in ids {
        must(&registry, deregister(&key("orders", id))).await;
    }
    world.pass(3_000).await;
    assert_eq!(registry.status().freezes.len(), 1, "it outlives its members");
    must(&registry, Command::DeleteService { service: service("orders"), expected: None }).await;
    world.pass_until(1_000, || registry.status().freezes.is_empty()).await.expect("it has ended");
    for id in ids {
        must(&registry, register(&key("orders", id), provider(80, ttl(3_000, 1_000)))).await;
    }
    world.pass(1_000).await;
    must(&registry, register(&key("orders", "a"), provider(81, ttl(3_000, 1_000)))).await;
    world.pass_until(5_000, || health(&registry, "b") == Some(false)).await.expect("nothing holds a new service");
    assert_eq!(registry.status().freezes.len(), 0);
}

#[tokio::test]
async fn one_of_ten_that_crashes_goes_in_time() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    for n in 0..10 {
        must(&registry, register(&key("orders", &n.to_string()), provider(80, ttl(3_000, 1_000)))).await;
    }
    let caller = somebody();
    let mut gone = None;
    for round in 0..20 {
        for n in 1..10 {
            world.drive(registry.renew(&caller, &key("orders", &n.to_string()), None)).await.expect("renewed");
        }
        world.pass(500).await;
        if registry.view(&service("orders")).counts.all == 9 {
            gone = Some(round);
            break;
        }
    }
    assert!(gone.is_some_and(|round| round <= 14), "gone by round {gone:?}");
    assert_eq!(registry.view(&service("orders")).counts.healthy, 9);
}
