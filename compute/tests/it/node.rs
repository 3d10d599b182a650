use compute::command::{Ack, Answer, Command, Reached};
use compute::error::Error;
use compute::model::{GENERATIONS_FIRST, Lease, LogIdentity, Position, Revision};
use compute::node::StartError;
use compute::testing::change_log::{AppendFault, FaultyLog, MemoryLog};

use crate::world::{
    World, ask, deregister, generation, instance, key, must, provider, register, service, somebody, ttl,
};

#[tokio::test]
async fn a_client_reads_its_own_write() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let outcome = must(&registry, register(&key("orders", "a"), provider(80, Lease::DEFAULT))).await;
    assert!(matches!(outcome.answer, Answer::Instance { created: true, .. }));
    assert_eq!(outcome.reached, Reached::Log);
    let view = registry.view(&service("orders"));
    assert_eq!(view.instances.len(), 1);
    assert_eq!(view.revision, outcome.revision);
    assert_eq!(view.digest, view.instances[0].digest());
    assert_eq!(registry.progress().applied, outcome.revision.position());
}

#[tokio::test]
async fn saying_the_same_again_changes_nothing() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let at = key("orders", "a");
    let first = must(&registry, register(&at, provider(80, Lease::DEFAULT))).await;
    let again = must(&registry, register(&at, provider(80, Lease::DEFAULT))).await;
    assert_eq!(again.revision, first.revision);
    assert!(matches!(again.answer, Answer::Instance { created: false, .. }));
    let other = must(&registry, register(&at, provider(81, Lease::DEFAULT))).await;
    assert!(other.revision > first.revision);
    assert_eq!(generation(&other), generation(&first));
}

#[tokio::test]
async fn an_old_generation_removes_nobody() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let at = key("orders", "a");
    let first = must(&registry, register(&at, provider(80, Lease::DEFAULT))).await;
    must(&registry, deregister(&at)).await;
    let second = must(&registry, register(&at, provider(80, Lease::DEFAULT))).await;
    assert!(generation(&second) > generation(&first));
    let stale = Command::Deregister {
        instance: at.clone(),
        generation: Some(generation(&first)),
        reason: compute::model::RemovalReason::Deregistered,
    };
    let refused = ask(&registry, Ack::Log, stale).await.expect_err("stale");
    assert_eq!(refused.code(), "generation_mismatch");
    assert_eq!(registry.view(&service("orders")).instances.len(), 1);
}

/// Everything was wiped under its clients: what they bring is of a log that this one never comes to, and nobody waits.
#[tokio::test]
async fn a_generation_of_a_log_that_is_gone_is_not_waited_for() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let at = key("orders", "a");
    must(&registry, register(&key("orders", "b"), provider(80, Lease::DEFAULT))).await;
    let gone = Position::new(*GENERATIONS_FIRST.end(), 7).expect("a position");
    let unknown = registry.renew(&somebody(), &at, Some(gone.at(0))).await.expect_err("it is not there");
    assert_eq!(unknown.code(), "instance_not_found");
    let there = must(&registry, register(&at, provider(80, Lease::DEFAULT))).await.revision.position();
    let other = registry.renew(&somebody(), &at, Some(gone.at(0))).await.expect_err("another life");
    assert_eq!(other.code(), "generation_mismatch");
    let raised = Position::new(GENERATIONS_FIRST.end() + 1, 1).expect("a position");
    assert!(gone.is_of_another_log(there) && !raised.is_of_another_log(there), "that one it may come to");
    assert!(!there.is_of_another_log(there) && !Position::ZERO.is_of_another_log(there));
}

#[tokio::test]
async fn one_call_with_the_same_key_twice_is_decided_in_order() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let at = key("orders", "a");
    let commands = vec![
        register(&at, provider(80, Lease::DEFAULT)),
        deregister(&at),
        register(&at, provider(81, Lease::DEFAULT)),
        register(&at, provider(82, Lease::DEFAULT)),
    ];
    let outcomes = registry.submit(&somebody(), Ack::Log, commands).await;
    let revisions: Vec<_> = outcomes.iter().map(|o| o.as_ref().expect("accepted").revision).collect();
    assert!(revisions.is_sorted(), "{revisions:?}");
    let view = registry.view(&service("orders"));
    assert_eq!(view.instances[0].provider.port(), 82);
}

#[tokio::test]
async fn a_restart_keeps_everything_acknowledged() {
    let world = World::new();
    let node = world.start().await;
    let kept = must(&node.registry(), register(&key("orders", "a"), provider(80, Lease::DEFAULT))).await;
    must(&node.registry(), register(&key("orders", "b"), provider(81, Lease::DEFAULT))).await;
    must(&node.registry(), deregister(&key("orders", "b"))).await;
    // No stop: a crash, with the lander anywhere.
    drop(node);
    let node = world.start().await;
    let view = node.registry().view(&service("orders"));
    assert_eq!(view.instances.len(), 1);
    assert_eq!(view.instances[0], instance(&kept));
    let removal = view.row.as_ref().and_then(|row| row.last_removal.clone()).expect("b was removed");
    assert_eq!(removal.author.name.as_ref(), "somebody");
}

#[tokio::test]
async fn store_acknowledgement_waits_for_the_landing() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let command = register(&key("orders", "a"), provider(80, Lease::DEFAULT));
    let outcome = world.drive(registry.submit_one(&somebody(), Ack::Store, command)).await.expect("accepted");
    assert_eq!(outcome.reached, Reached::Store);
    let landed = world.store.mark().await.expect("readable").expect("bound").1.watermark;
    assert!(landed >= outcome.revision.position());
}

#[tokio::test]
async fn an_append_of_unknown_outcome_is_applied_once() {
    for fault in [AppendFault::Applied, AppendFault::Lost] {
        let world = World::new();
        let node = world.start().await;
        let registry = node.registry();
        must(&registry, register(&key("orders", "z"), provider(80, Lease::DEFAULT))).await;
        world.log.script([Some(fault)]);
        let at = key("orders", "a");
        let unknown = ask(&registry, Ack::Log, register(&at, provider(80, Lease::DEFAULT))).await;
        assert!(matches!(unknown, Err(Error::OutcomeUnknown) | Ok(_)), "{unknown:?}");
        let found = world.pass_until(5_000, || registry.view(&service("orders")).counts.all == 2).await;
        assert!(found.is_some(), "it is appended again until it is in the log");
        let one = registry.view(&service("orders")).get(&at.id).cloned().expect("there");
        assert_eq!(one.revision, one.generation, "applied once");
    }
}

#[tokio::test]
async fn while_the_log_is_away_renewing_providers_are_taken_and_the_rest_refused() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let there = must(&registry, register(&key("orders", "a"), provider(80, Lease::DEFAULT))).await;
    world.log.script(vec![Some(AppendFault::Refused); 200]);
    let outcome = ask(&registry, Ack::Log, register(&key("orders", "b"), provider(81, Lease::DEFAULT))).await;
    let outcome = outcome.expect("kept in the overlay");
    assert_eq!((outcome.reached, outcome.revision), (Reached::Overlay, Revision::ZERO));
    let view = registry.view(&service("orders"));
    assert_eq!((view.instances.len(), view.overlay), (2, 1));
    assert_eq!((view.revision, view.digest), (there.revision, instance(&there).digest()));
    assert!(matches!(ask(&registry, Ack::Log, deregister(&key("orders", "a"))).await, Err(Error::LogAway)));
    let gone = ask(&registry, Ack::Memory, deregister(&key("orders", "a"))).await.expect("asked for memory");
    assert_eq!(gone.reached, Reached::Memory);
    assert_eq!(registry.view(&service("orders")).instances.len(), 1);
    let permanent = register(&key("orders", "c"), provider(82, Lease::Permanent));
    assert!(matches!(ask(&registry, Ack::Log, permanent).await, Err(Error::LogAway)));
    let back = world.pass_until(60_000, || registry.view(&service("orders")).overlay == 0).await;
    assert!(back.is_some(), "the overlay is appended when the log is back");
    let view = registry.view(&service("orders"));
    let ids: Vec<_> = view.instances.iter().map(|i| i.id.as_str()).collect();
    assert_eq!(ids, ["b"]);
    assert!(view.instances[0].revision > there.revision);
}

#[tokio::test]
async fn a_store_of_another_log_is_refused() {
    let mut world = World::new();
    let node = world.start().await;
    must(&node.registry(), register(&key("orders", "a"), provider(80, ttl(5_000, 5_000)))).await;
    world.drive(node.stop()).await;
    world.memory = MemoryLog::new(LogIdentity([8; 16]));
    world.log = FaultyLog::over(world.memory.clone());
    assert!(matches!(world.try_start().await.err(), Some(StartError::Unpaired { .. })));
}

#[tokio::test]
async fn a_thousand_refusals_of_one_key_take_no_time() {
    let world = World::new();
    let node = world.start().await;
    let registry = node.registry();
    let commands = (0..1_000).map(|_| deregister(&key("orders", "a"))).collect();
    let caller = somebody();
    let answered = registry.submit(&caller, Ack::Memory, commands);
    // The clock stands still: nothing here may wait for it.
    let outcomes = tokio::time::timeout(std::time::Duration::from_secs(20), answered).await.expect("answered");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::NotFound { .. }))));
}
