//! What is answered without a log: what has landed, and nothing else.

use compute::command::Ack;
use compute::error::Error;
use compute::model::LogIdentity;
use compute::node::{Config, Readiness, Stale, StartError};
use compute::port::PresenceStore;
use compute::port::store::ReadError;
use compute::testing::SeededChance;
use compute::testing::store::{Fault, FaultyStore, MemoryStore};

use crate::among::company::{Company, Seat};
use crate::world::{ask, key, must, provider, register, service, somebody, ttl};

async fn registered(seat: &Seat, ids: std::ops::Range<usize>) {
    for at in ids {
        must(&seat.registry(), register(&key("orders", &format!("i{at}")), provider(80, ttl(600_000, 60_000)))).await;
    }
}

/// One node, which has landed five, has a copy of these, and has registered three more that have not landed.
async fn left() -> Company {
    let mut company = Company::new();
    let a = company.join("a").await;
    registered(&a, 0..5).await;
    company.world.pass(95_000).await;
    a.store.stand(Some(Fault::Lose));
    registered(&a, 5..8).await;
    company.kill(a).await;
    company
}

fn stale(company: &Company, is_store_away: bool) -> Stale {
    let (chance, clock) = (SeededChance::new(5), company.clock().clone());
    let store = FaultyStore::new(company.store.clone(), clock.clone(), chance.clone());
    store.stand(is_store_away.then_some(Fault::Lose));
    let snapshot = Some(company.copies["a"].clone() as std::sync::Arc<dyn PresenceStore>);
    Stale { store, snapshot, clock, chance }
}

#[tokio::test]
async fn what_has_landed_is_shown_and_nothing_is_decided() {
    let mut company = left().await;
    let mut newest = None;
    for is_store_away in [false, true] {
        let shown = stale(&company, is_store_away).serve(&Config::default()).await.expect("there are rows");
        let view = shown.view(&service("orders"));
        assert_eq!((view.instances.len(), shown.is_stale()), (5, true), "from the copy: {is_store_away}");
        newest = newest.max(Some((view.revision, shown.progress().applied)));
        let Readiness::NotReady(why) = shown.readiness() else { panic!("it is not ready") };
        assert!(why.contains("stale"), "{why}");
        let written = ask(&shown, Ack::Memory, register(&key("orders", "x"), provider(80, ttl(9_000, 9_000)))).await;
        assert!(matches!(written, Err(Error::NotReady(_))), "{written:?}");
        let renewed = shown.renew(&somebody(), &key("orders", "i0"), None).await;
        assert!(matches!(renewed, Err(Error::NotReady(_))), "{renewed:?}");
    }
    let a = company.join("a").await;
    let whole = a.registry();
    assert!(!whole.is_stale());
    assert_eq!(whole.view(&service("orders")).instances.len(), 8, "the log is back, and so is what it has");
    assert!(Some((whole.view(&service("orders")).revision, whole.progress().applied)) > newest, "no step back");
}

#[tokio::test]
async fn what_was_never_landed_is_no_empty_list() {
    let company = Company::new();
    let (chance, clock) = (SeededChance::new(5), company.clock().clone());
    for (case, is_bound) in [("of no log", false), ("bound, and empty", true)] {
        let store = MemoryStore::new();
        if is_bound {
            store.lead(LogIdentity([9; 16])).await.expect("led");
        }
        let stale = Stale { store, snapshot: None, clock: clock.clone(), chance: chance.clone() };
        let shown = stale.serve(&Config::default()).await.map(drop);
        assert!(matches!(shown, Err(StartError::Store(ReadError::Away(_)))), "{case}: {shown:?}");
    }
}
