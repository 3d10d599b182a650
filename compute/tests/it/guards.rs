//! What a node that boots on half of the truth says: it does not start.

use std::sync::Arc;

use compute::model::{Digest, InstanceKey, Lease, LogState, Namespace, Position, Row, Rows, ServiceKey};
use compute::node::{Readiness, StartError};
use compute::port::store::Epoch;
use compute::port::{ChangeLog, PresenceStore};
use compute::state::LoadError;
use compute::testing::change_log::FaultyLog;
use compute::testing::store::{Fault, FaultyStore, MemoryStore};

use crate::world::{World, deregister, key, must, provider, register, service};

/// A node has run on it and stopped in order: everything is landed.
async fn used() -> World {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    for id in ["a", "b", "c"] {
        must(&registry, register(&key("orders", id), provider(80, Lease::Permanent))).await;
    }
    must(&registry, deregister(&key("orders", "c"))).await;
    world.drive(node.stop()).await;
    world
}

async fn landed(world: &World) -> LogState {
    world.store.mark().await.expect("readable").expect("led").1
}

async fn refused(world: &World) -> StartError {
    let before = world.store.load().await.expect("readable");
    let refused = world.try_start().await.err().expect("half of the truth is enough");
    assert_eq!(world.store.load().await.expect("readable"), before, "a start that was refused wrote something");
    refused
}

#[tokio::test]
async fn what_is_whole_starts() {
    let world = used().await;
    let node = world.start().await;
    assert_eq!(node.registry().view(&service("orders")).counts.all, 2);
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_refused() {
    let world = used().await;
    let ended = landed(&world).await.watermark;
    let last = ended.back(1);
    world.memory.lose_behind(last);
    match refused(&world).await {
        StartError::LogLost { landed, last: found } => assert_eq!((landed, found), (ended, last)),
        other => panic!("{other}"),
    }
}

/// A log restored from an old copy that happens to end where the store does is a pair with it.
#[tokio::test]
async fn a_log_that_ends_where_the_store_does_starts() {
    let world = used().await;
    world.memory.lose_behind(landed(&world).await.watermark);
    world.start().await;
}

#[tokio::test]
async fn a_store_that_the_log_was_trimmed_behind_is_refused() {
    let mut world = used().await;
    let ended = landed(&world).await.watermark;
    // A backup from before the second frame, whose log was trimmed since.
    let (backup, old) = backup(&world, Position::new(1, 1).expect("in range")).await;
    world.store = backup;
    let trimmed = ended.back(1);
    world.memory.trim(trimmed).await.expect("trimmed");
    match refused(&world).await {
        StartError::StoreLost { landed, trimmed: found } => assert_eq!((landed, found), (old, trimmed)),
        other => panic!("{other}"),
    }
}

/// The same backup with a log that still has everything behind it only has more to replay.
#[tokio::test]
async fn a_store_that_is_behind_an_untrimmed_log_starts() {
    let mut world = used().await;
    world.store = backup(&world, Position::new(1, 1).expect("in range")).await.0;
    let node = world.start().await;
    assert_eq!(node.registry().view(&service("orders")).counts.all, 2);
}

/// The store as it was at `at`: a node that landed then, and no further.
async fn backup(world: &World, at: Position) -> (Arc<dyn PresenceStore>, Position) {
    let cut = World::new();
    for entry in world.memory.read(Position::ZERO, at.offset() as usize).await.expect("there") {
        cut.memory.append(entry.frame).await.expect("taken");
    }
    let node = cut.start().await;
    cut.drive(node.stop()).await;
    assert_eq!(landed(&cut).await.watermark, at);
    (cut.store, at)
}

/// A store with what `spoil` makes of a good one's rows.
async fn spoilt(spoil: impl FnOnce(&mut Rows)) -> LoadError {
    let mut world = used().await;
    let upto = landed(&world).await;
    let mut rows = world.store.load().await.expect("readable").rows;
    spoil(&mut rows);
    let store = MemoryStore::new();
    let epoch: Epoch = store.lead(upto.identity).await.expect("free");
    store.replace(epoch, rows, upto).await.expect("taken");
    world.store = store;
    world.log = FaultyLog::over(world.memory.clone());
    match refused(&world).await {
        StartError::Rows(error) => error,
        other => panic!("{other}"),
    }
}

fn is(service: &ServiceKey) -> impl Fn(&Row<InstanceKey, Arc<compute::model::Instance>>) -> bool {
    move |row| row.key().service == *service
}

#[tokio::test]
async fn instances_that_are_not_those_of_the_digest_are_refused() {
    let orders = service("orders");
    let lost = spoilt(|rows| rows.instances.retain(|row| row.key().id.as_str() != "a")).await;
    assert!(matches!(&lost, LoadError::Digest { service, .. } if *service == orders), "{lost}");

    let none = spoilt(|rows| rows.instances.retain(|row| !is(&orders)(row))).await;
    assert!(matches!(&none, LoadError::Digest { found, .. } if *found == Digest::default()), "{none}");

    let older = spoilt(|rows| {
        let Row::Put(_, instance) = &mut rows.instances[0] else { panic!("no instance") };
        Arc::make_mut(instance).revision = Position::new(1, 1).expect("in range").at(9);
    });
    let older = older.await;
    let LoadError::Digest { service, expected, found } = &older else { panic!("{older}") };
    assert_eq!(*service, orders);
    assert_ne!(expected, found);
    assert!(older.to_string().contains("default/orders"), "{older}");
}

#[tokio::test]
async fn an_instance_without_its_service_is_refused() {
    let orphan = spoilt(|rows| rows.services.clear()).await;
    assert!(matches!(&orphan, LoadError::Orphan(key) if key.service == service("orders")), "{orphan}");
    assert!(orphan.to_string().contains("default/orders"), "{orphan}");
}

#[tokio::test]
async fn a_service_without_its_namespace_is_refused() {
    let elsewhere = ServiceKey::new("elsewhere", "orders").expect("a good name");
    let homeless = spoilt(|rows| {
        rows.instances.clear();
        let Some(Row::Put(key, row)) = rows.services.first_mut() else { panic!("no service") };
        *key = elsewhere.clone();
        row.digest = Digest::default();
        rows.namespaces.retain(|row| *row.key() == Namespace::default_namespace());
    });
    assert_eq!(homeless.await, LoadError::Homeless(elsewhere));
}

/// An attempt to land had succeeded, its answer was lost, and so was that to the question what had become of it.
#[tokio::test]
async fn a_node_is_not_fenced_by_its_own_landing() {
    for again in [Fault::Obscure, Fault::Late] {
        let mut world = World::new();
        let store = FaultyStore::new(MemoryStore::new(), world.clock.clone(), world.chance.clone());
        world.store = store.clone();
        let node = world.start().await;
        let registry = node.registry();
        store.script_writes([Some(again)]);
        store.script_reads([Some(Fault::Refuse)]);
        must(&registry, register(&key("orders", "a"), provider(80, Lease::Permanent))).await;
        world.pass_until(5_000, || store.befallen() == 2).await.expect("it lands, and asks");
        // The next batch is a longer one.
        must(&registry, register(&key("orders", "b"), provider(80, Lease::Permanent))).await;
        store.deliver().await;
        let is_landed = || registry.progress().landed == registry.progress().applied;
        let landed = world.pass_until(20_000, is_landed).await;
        assert!(landed.is_some(), "{again:?}: {:?}", registry.readiness());
        assert_eq!(registry.readiness(), Readiness::Ready);
        assert_eq!(store.inner().load().await.expect("readable").rows.instances.len(), 2);
    }
}
