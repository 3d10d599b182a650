//! A node that has something else than the others, and rows that are not what the nodes have.

use compute::model::{Digest, LogState, Row, Rows};
use compute::node::NodeStatus;
use compute::port::{Clock, PresenceStore};
use compute::watch::{Scope, Subscriber, WatchEvent, WatchSpec};

use crate::among::company::{Company, Seat, health};
use crate::world::{key, must, provider, register, service, somebody, ttl};

async fn registered(seat: &Seat, ids: std::ops::Range<usize>) {
    for at in ids {
        must(&seat.registry(), register(&key("orders", &format!("i{at}")), provider(80, ttl(600_000, 60_000)))).await;
    }
}

async fn landed(company: &Company, seat: &Seat) {
    let wanted = seat.registry().progress().applied;
    company.until("it has landed", || seat.registry().progress().landed >= wanted).await;
}

fn listed(seat: &Seat) -> usize {
    seat.registry().view(&service("orders")).instances.len()
}

fn digest(seat: &Seat) -> Digest {
    seat.registry().view(&service("orders")).digest
}

fn count(seats: &[&Seat], of: fn(NodeStatus) -> u64) -> Vec<u64> {
    seats.iter().map(|seat| of(seat.registry().status())).collect()
}

fn repairs(seats: &[&Seat]) -> Vec<u64> {
    count(seats, |status| status.repairs)
}

fn unrepaired(seats: &[&Seat]) -> Vec<u64> {
    count(seats, |status| status.unrepaired)
}

/// The one that is wrong may be the one that lands, or another.
#[tokio::test]
async fn a_node_that_alone_has_something_else_goes_on_from_store_and_log() {
    for bent in 0..3 {
        let (company, seats) = Company::three().await;
        let all = [&seats[0], &seats[1], &seats[2]];
        registered(&seats[0], 0..5).await;
        landed(&company, &seats[0]).await;
        let wrong = &seats[bent];
        let before = wrong.registry().view(&service("orders")).revision;
        wrong.node.bend(&key("orders", "i2"));
        company.until("it shows one less", || listed(wrong) == 4).await;
        company.until("it has been repaired", || repairs(&all)[bent] > 0).await;
        assert_eq!(all.map(listed), [5; 3]);
        assert_eq!(digest(wrong), digest(&seats[(bent + 1) % 3]));
        assert!(wrong.registry().view(&service("orders")).revision > before, "what was shown is shown no more");
        registered(wrong, 5..6).await;
        company.until("all go on together", || all.iter().all(|seat| listed(seat) == 6)).await;
        // Beacons that were under way have come.
        company.world.pass(3_000).await;
        let divergences = count(&all, |status| status.divergences);
        company.world.pass(30_000).await;
        assert_eq!(count(&all, |status| status.divergences), divergences, "nothing differs any more");
        // The one that lands has what was wrong landed again.
        let repaired = if bent == 0 { 2 } else { 1 };
        assert_eq!((repairs(&all)[bent], repairs(&all).iter().sum::<u64>()), (repaired, repaired));
        assert_eq!(unrepaired(&all), [0; 3]);
        assert_eq!(all.map(|seat| health(&seat.registry(), &service("orders"), "i2")), [Some(true); 3]);
        assert_eq!(company.store.load().await.expect("it answers").rows.instances.len(), 6);
    }
}

#[tokio::test]
async fn its_watchers_are_told_what_it_had_lost() {
    let (company, [a, b, c]) = Company::three().await;
    registered(&a, 0..5).await;
    landed(&company, &a).await;
    company.until("all have them", || listed(&b) == 5).await;
    b.node.bend(&key("orders", "i2"));
    company.until("it shows one less", || listed(&b) == 4).await;
    let subscriber = Subscriber { name: "w".into(), address: None, door: "test".into() };
    let scope = Scope::Services(vec![service("orders")]);
    let spec = WatchSpec { scope, selector: Default::default(), from: None, subscriber };
    let mut watch = b.registry().watch(spec).expect("watched");
    let Some(WatchEvent::Snapshot { view: Some(view), revision: mut last, .. }) = watch.next().await else {
        panic!("no snapshot")
    };
    assert_eq!(view.instances.len(), 4, "it is wrong");
    let told = company.world.drive(async {
        loop {
            match watch.next().await.expect("it goes on") {
                WatchEvent::Change(delta) => break delta,
                WatchEvent::Progress(upto) => {
                    assert!(upto >= last, "{upto} after {last}");
                    last = upto;
                }
                _ => panic!("neither a change nor progress"),
            }
        }
    });
    let delta = told.await;
    assert_eq!(delta.from, last, "the chain is whole");
    assert!(delta.to > delta.from);
    let put: Vec<_> = delta.put.iter().map(|instance| instance.id.as_str()).collect();
    assert_eq!((put, delta.removed.len()), (vec!["i2"], 0));
    assert_eq!(delta.digest, digest(&c), "with it the watcher has what the others have");
}

/// What it alone had heard of other nodes' leases it still knows, and says.
#[tokio::test]
async fn a_heartbeat_that_it_heard_before_counts_behind_it() {
    let (company, [a, b, c]) = Company::three().await;
    registered(&a, 0..1).await;
    let keys: Vec<_> = (1..9).map(|at| key("orders", &format!("i{at}"))).collect();
    let began = company.clock().mono_ms();
    for at in &keys {
        must(&a.registry(), register(at, provider(80, ttl(15_000, 60_000)))).await;
    }
    landed(&company, &a).await;
    company.until("it is six seconds later", || company.clock().mono_ms() >= began + 6_000).await;
    // Nobody else hears of it.
    company.network.cut("b", "a");
    company.network.cut("b", "c");
    b.node.bend(&key("orders", "i0"));
    company.until("it is noticed", || count(&[&b], |status| status.divergences)[0] > 0).await;
    for at in &keys {
        b.registry().renew(&somebody(), at, None).await.expect("renewed");
    }
    company.until("it has been repaired", || repairs(&[&b])[0] > 0).await;
    assert!(company.clock().mono_ms() < began + 10_000, "nobody is suspected yet");
    company.until("the first time of all is over", || company.clock().mono_ms() >= began + 19_000).await;
    for at in &keys {
        assert_eq!(health(&c.registry(), &at.service, at.id.as_str()), Some(true), "{at} was heard");
    }
}

/// Each says that the other is wrong, and both are: nobody has what store and log say, so that may be wrong as well.
#[tokio::test]
async fn where_nobody_has_what_store_and_log_say_nothing_is_touched() {
    let mut company = Company::new();
    let (a, b) = (company.join("a").await, company.join("b").await);
    registered(&a, 0..5).await;
    landed(&company, &a).await;
    company.until("both have them", || listed(&b) == 5).await;
    a.node.bend(&key("orders", "i1"));
    b.node.bend(&key("orders", "i2"));
    company.until("both have alarmed", || unrepaired(&[&a, &b]) == [1, 1]).await;
    company.world.pass(60_000).await;
    assert_eq!((repairs(&[&a, &b]), unrepaired(&[&a, &b])), (vec![0, 0], vec![1, 1]), "once, and not all the time");
    assert_eq!((listed(&a), listed(&b)), (4, 4));
    assert!(count(&[&a, &b], |status| status.divergences).iter().all(|count| *count > 0));
}

/// Rows of which one was lost by the store, consistent in themselves.
async fn lose_a_row(company: &Company, id: &str) -> LogState {
    let loaded = company.store.load().await.expect("it answers");
    let (log, mut rows) = (loaded.log.expect("it is bound"), loaded.rows);
    let lost = rows.instances.iter().position(|row| row.key().id.as_str() == id).expect("it is there");
    let Row::Put(lost, instance) = rows.instances.remove(lost) else { panic!("it is there") };
    for row in &mut rows.services {
        if let Row::Put(service, row) = row
            && *service == lost.service
        {
            row.digest = row.digest.minus(instance.digest());
        }
    }
    let epoch = company.store.lead(log.identity).await.expect("led");
    company.store.replace(epoch, rows, log).await.expect("replaced");
    log
}

/// Each looks at the rows at its own times; who finds something makes the others look.
#[tokio::test]
async fn rows_that_no_node_has_are_landed_again() {
    let mut company = Company::new();
    let a = company.join("a").await;
    company.world.pass(150_000).await;
    let b = company.join("b").await;
    let all = [&a, &b];
    registered(&b, 0..5).await;
    company.world.pass(50_000).await;
    landed(&company, &a).await;
    lose_a_row(&company, "i3").await;
    let Rows { instances, .. } = company.store.load().await.expect("it answers").rows;
    assert_eq!(instances.len(), 4);
    company.world.pass_until(400_000, || repairs(&all).iter().sum::<u64>() > 0).await.expect("found within 400 s");
    let loaded = company.store.load().await.expect("it answers");
    assert_eq!(loaded.rows.instances.len(), 5);
    company.world.pass(30_000).await;
    assert_eq!((repairs(&all), unrepaired(&all)), (vec![1, 0], vec![0; 2]), "by the one that lands, once");
    assert_eq!(all.map(listed), [5; 2]);
}

#[tokio::test]
async fn where_nothing_differs_nothing_is_made_anew() {
    let (company, seats) = Company::three().await;
    let all = [&seats[0], &seats[1], &seats[2]];
    for turn in 0..8 {
        registered(&seats[turn % 3], turn * 3..turn * 3 + 3).await;
        company.world.pass(45_000).await;
    }
    let nothing = vec![0; 3];
    assert_eq!(count(&all, |status| status.divergences), nothing);
    assert_eq!((repairs(&all), unrepaired(&all)), (nothing.clone(), nothing));
}
