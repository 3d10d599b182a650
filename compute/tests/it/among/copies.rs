//! Nodes that start while the store is away, from their own copies of what had landed.

use compute::model::{LogIdentity, Position};
use compute::node::StartError;
use compute::port::store::ReadError;
use compute::port::{ChangeLog, PresenceStore};

use crate::among::company::{Company, Seat};
use crate::world::{key, must, provider, register, service, ttl};

async fn registered(seat: &Seat, ids: std::ops::Range<usize>) {
    for at in ids {
        must(&seat.registry(), register(&key("orders", &format!("i{at}")), provider(80, ttl(9_000, 60_000)))).await;
    }
}

fn listed(seat: &Seat) -> usize {
    seat.registry().view(&service("orders")).instances.len()
}

async fn landed(company: &Company, seat: &Seat) {
    let wanted = seat.registry().progress().applied;
    company.until("it has landed", || seat.registry().progress().landed >= wanted).await;
}

/// Nobody lives, the store is away, and what the last one had landed is still there, with what the log has behind it.
async fn left_alone() -> Company {
    let mut company = Company::new();
    let a = company.join("a").await;
    registered(&a, 0..5).await;
    landed(&company, &a).await;
    // The first copy is taken within a minute and a half of the start.
    company.world.pass(95_000).await;
    assert!(company.copies["a"].mark().await.is_ok_and(|mark| mark.is_some()), "a copy is kept");
    registered(&a, 5..8).await;
    company.kill(a).await;
    company.is_store_away = true;
    company
}

#[tokio::test]
async fn a_node_that_starts_while_the_store_is_away_has_all_and_lands_when_it_is_back() {
    let mut company = left_alone().await;
    let a = company.join("a").await;
    assert_eq!(listed(&a), 8, "what was landed, and what the log has behind it");
    registered(&a, 8..10).await;
    company.world.pass(3_000).await;
    let store = company.store.clone();
    let before = store.mark().await.expect("it answers").expect("it is bound").1.watermark;
    a.store.stand(None);
    landed(&company, &a).await;
    let loaded = store.load().await.expect("it answers");
    assert!(loaded.log.is_some_and(|log| log.watermark > before));
    assert_eq!(loaded.rows.instances.len(), 10);
    company.is_store_away = false;
    let b = company.join("b").await;
    assert_eq!(listed(&b), 10, "the rows are whole");
}

#[tokio::test]
async fn one_that_stops_leaves_what_it_had() {
    let mut company = Company::new();
    let a = company.join("a").await;
    registered(&a, 0..5).await;
    landed(&company, &a).await;
    company.network.leave(&a.name);
    company.world.drive(a.node.stop()).await;
    company.is_store_away = true;
    let a = company.join("a").await;
    assert_eq!(listed(&a), 5);
}

/// Nothing is made up: without a copy that the log leads on from, a node waits for the store.
#[tokio::test]
async fn a_copy_that_the_log_does_not_lead_on_from_is_discarded() {
    type Spoil = fn(&Company) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
    let spoils: [(&str, Spoil); 4] = [
        ("there is none", |company| Box::pin(async { empty(company).await })),
        ("made anew", |company| Box::pin(async { company.log.make_anew() })),
        ("of another log", |company| Box::pin(async { rebind(company).await })),
        ("trimmed", |company| {
            Box::pin(async {
                let last = company.log.bounds().await.expect("readable").last;
                company.log.trim(last).await.expect("trimmed");
            })
        }),
    ];
    for (case, spoil) in spoils {
        let mut company = left_alone().await;
        spoil(&company).await;
        let refused = company.try_join("a").await.map(drop).expect_err(case);
        assert!(matches!(refused, StartError::Store(ReadError::Away(_))), "{case}: {refused}");
    }
}

async fn empty(company: &Company) {
    let copy = &company.copies["a"];
    let (_, log) = copy.mark().await.expect("it answers").expect("it is bound");
    let epoch = copy.lead(log.identity).await.expect("led");
    let nothing = compute::model::LogState { watermark: Position::ZERO, ..log };
    copy.replace(epoch, compute::model::Rows::default(), nothing).await.expect("replaced");
    // All that is in the log is needed then.
    let last = company.log.bounds().await.expect("readable").last;
    company.log.trim(last.back(1)).await.expect("trimmed");
}

async fn rebind(company: &Company) {
    let copy = &company.copies["a"];
    let (_, log) = copy.mark().await.expect("it answers").expect("it is bound");
    let rows = copy.load().await.expect("it answers").rows;
    let epoch = copy.lead(log.identity).await.expect("led");
    let other = compute::model::LogState { identity: LogIdentity([1; 16]), ..log };
    copy.replace(epoch, rows, other).await.expect("replaced");
}
