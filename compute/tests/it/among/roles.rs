//! Who is here, who lands, and that all of them are one registry.

use std::sync::Arc;

use compute::command::{Ack, Command};
use compute::error::Error;
use compute::model::{Author, Change, Digest, Frame, NodeIncarnation, Op, Origin};
use compute::port::{ChangeLog, PresenceStore};
use compute::testing::store::Fault;

use crate::among::company::{Company, Seat, health};
use crate::world::{ask, deregister, generation, key, must, provider, register, service, somebody, ttl};

#[tokio::test]
async fn what_one_node_takes_all_of_them_show_at_the_same_revision() {
    let (company, [a, b, c]) = Company::three().await;
    let orders = service("orders");
    let there = must(&a.registry(), register(&key("orders", "x"), provider(80, ttl(15_000, 30_000)))).await;
    for node in [&b, &c] {
        let registry = node.registry();
        company.world.drive(registry.reach(there.revision)).await.expect("caught up");
        assert_eq!(registry.view(&orders).revision, a.registry().view(&orders).revision);
        assert_eq!(registry.view(&orders).digest, a.registry().view(&orders).digest);
        assert_eq!(registry.status().members.len(), 3);
    }
    must(&b.registry(), deregister(&key("orders", "x"))).await;
    company
        .until("it is gone everywhere", || {
            [&a, &b, &c].iter().all(|node| health(&node.registry(), &orders, "x").is_none())
        })
        .await;
}

#[tokio::test]
async fn one_node_lands_and_when_it_dies_another_does() {
    let (company, [a, b, c]) = Company::three().await;
    let lander =
        |node: &Seat| node.registry().status().members.into_iter().find(|m| m.is_lander).map(|m| m.name.to_string());
    assert_eq!(lander(&b).as_deref(), Some("a"), "the first of them lands");
    let first = must(&b.registry(), register(&key("orders", "x"), provider(80, ttl(60_000, 30_000)))).await;
    company
        .until("it has landed, and all know", || {
            [&a, &b, &c].iter().all(|node| node.registry().progress().landed >= first.revision.position())
        })
        .await;
    company.kill(a).await;
    // Nobody lands it before the dead one is known to be gone.
    let second = must(&c.registry(), register(&key("orders", "y"), provider(81, ttl(60_000, 30_000)))).await;
    company.until("another has landed it", || c.registry().progress().landed >= second.revision.position()).await;
    assert_eq!(lander(&c).as_deref(), Some("b"));
    let rows = company.store.load().await.expect("rows").rows;
    assert_eq!(rows.instances.len(), 2);
}

/// The role moves in the middle of landings that fail: nothing that was applied is missing from the rows at the end.
#[tokio::test]
async fn what_the_old_lander_did_not_land_the_new_one_does() {
    let (company, [a, b, c]) = Company::three().await;
    a.store.stand(Some(Fault::Refuse));
    let mut last = None;
    for at in 0..50 {
        let key = key("orders", &format!("i{at}"));
        last = Some(must(&b.registry(), register(&key, provider(80, ttl(60_000, 30_000)))).await);
        company.world.pass(100).await;
    }
    must(&b.registry(), deregister(&key("orders", "i7"))).await;
    let last = last.expect("one").revision.position();
    company.kill(a).await;
    company.until("the next has landed it", || b.registry().progress().landed > last).await;
    let loaded = company.store.load().await.expect("rows");
    let (applied, log) = (b.registry().progress().applied, loaded.log.expect("a mark"));
    assert!(log.watermark <= applied);
    assert_eq!(loaded.rows.instances.len(), 49);
    drop(c);
}

#[tokio::test]
async fn nobody_says_not_found_before_it_has_read_the_end_of_the_log() {
    let (company, [a, b, _c]) = Company::three().await;
    b.log.stall(compute::testing::change_log::Stall::Read);
    // The read that was under way ends with this; the next one stalls.
    must(&a.registry(), register(&key("orders", "w"), provider(80, ttl(15_000, 30_000)))).await;
    company.world.settle().await;
    let there = must(&a.registry(), register(&key("orders", "x"), provider(80, ttl(15_000, 30_000)))).await;
    let registry = b.registry();
    let caller = somebody();
    let at = key("orders", "x");
    let renewed = registry.renew(&caller, &at, None);
    tokio::pin!(renewed);
    for _ in 0..10 {
        company.world.settle().await;
        assert!(futures::poll!(&mut renewed).is_pending(), "it can't know yet");
        company.clock().advance(50);
    }
    b.log.release(compute::testing::change_log::Stall::Read);
    company.world.drive(renewed).await.expect("it was there all the time");
    let unknown = key("orders", "nobody");
    let refused = ask(&registry, Ack::Log, Command::Renew { instance: unknown, generation: None }).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    assert!(generation(&there) <= there.revision);
}

#[tokio::test]
async fn a_session_is_taken_over_on_any_node() {
    let (company, [a, b, _c]) = Company::three().await;
    let held = a.registry().open_session(&somebody(), 10_000, "client").await.expect("opened");
    let lease = compute::model::Lease::stream(held.session, 30_000).expect("a lease");
    let command = Command::Register {
        instance: key("orders", "s"),
        provider: Box::new(provider(80, lease)),
        epoch: Some(held.epoch),
        generation: None,
    };
    let there = must(&a.registry(), command).await;
    let taken = b.registry().resume_session(&somebody(), held.session).await.expect("taken over");
    assert_eq!(taken.epoch, held.epoch + 1);
    company.world.drive(held.superseded()).await;
    company.world.pass(60_000).await;
    assert_eq!(health(&b.registry(), &service("orders"), "s"), Some(true), "its stream is at b");
    drop(taken);
    let sick =
        company.until("its grace is over", || health(&a.registry(), &service("orders"), "s") == Some(false)).await;
    assert!((10_000..=12_500).contains(&sick), "unhealthy after {sick} ms");
    assert!(there.revision.position().offset() > 0);
}

#[tokio::test]
async fn a_node_that_stops_says_so_and_nobody_waits_for_it() {
    let (company, [a, b, c]) = Company::three().await;
    let there = must(&a.registry(), register(&key("orders", "x"), provider(80, ttl(15_000, 30_000)))).await;
    company.network.leave(&a.name);
    company.world.drive(a.node.stop()).await;
    let mut members: Vec<_> = b.registry().status().members.into_iter().map(|m| m.name.to_string()).collect();
    members.sort();
    assert_eq!(members, ["b", "c"]);
    company.until("what it had taken has landed", || b.registry().progress().landed >= there.revision.position()).await;
    assert_eq!(health(&c.registry(), &service("orders"), "x"), Some(true));
}

/// A node that has read other frames at the same offsets follows another log, and one that has read the same and has
/// other instances is broken; their words give them away.
#[tokio::test]
async fn a_node_that_has_read_another_log_or_made_something_else_of_it_is_noticed() {
    let (company, [a, b, _c]) = Company::three().await;
    let count = |seat: &Seat| seat.registry().status().divergences;
    must(&a.registry(), register(&key("orders", "x"), provider(80, ttl(15_000, 30_000)))).await;
    company.world.pass(5_000).await;
    assert_eq!((count(&a), count(&b)), (0, 0), "in a healthy run none is seen");
    let (mut told, newest) = (0, company.newest_beacon().await);
    for (node, is_other_log, is_other_state) in [(77, true, false), (78, false, true), (79, false, false)] {
        let node = NodeIncarnation(node);
        let mut op = newest.clone();
        let Op::Beacon { rolling_hash, digest, .. } = &mut op else { unreachable!("it is a beacon") };
        assert_ne!(*digest, Some(Digest::default()), "there is an instance");
        *rolling_hash ^= u64::from(is_other_log);
        *digest = if is_other_state { Some(Digest::default()) } else { *digest };
        let change = Change { origin: Origin { node, counter: 1 }, author: Author::new("stranger", "node"), op };
        let frame = Frame { identity: a.registry().status().log, writer: node, time_ms: 0, changes: vec![change] };
        let at = company.log.append(Arc::new(frame)).await.expect("appended");
        told += u64::from(is_other_log || is_other_state);
        company.until("both have read it", || [&a, &b].iter().all(|n| n.registry().progress().applied >= at)).await;
        assert_eq!((count(&a), count(&b)), (told, told));
    }
}
