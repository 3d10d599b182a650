//! Leases of nodes that share them: renewed anywhere, ended once, never by a fault of the nodes.

use compute::Registry;
use compute::model::InstanceKey;

use crate::among::company::{Company, Seat, health};
use crate::world::{deregister, key, must, provider, register, service, somebody, ttl};

const TTL_MS: u64 = 9_000;

async fn filled(registry: &Registry, count: usize) -> Vec<InstanceKey> {
    let keys: Vec<_> = (0..count).map(|at| key("orders", &format!("i{at}"))).collect();
    for at in &keys {
        must(registry, register(at, provider(80, ttl(TTL_MS, 30_000)))).await;
    }
    keys
}

async fn renew(registry: &Registry, keys: &[InstanceKey]) {
    for at in keys {
        registry.renew(&somebody(), at, None).await.expect("renewed");
    }
}

fn healthy(registry: &Registry) -> usize {
    registry.view(&service("orders")).instances.iter().filter(|instance| instance.is_healthy()).count()
}

fn owned(seat: &Seat) -> usize {
    seat.registry().status().counted.leases.ttl
}

#[tokio::test]
async fn each_lease_has_one_owner() {
    let (company, [a, b, c]) = Company::three().await;
    filled(&a.registry(), 300).await;
    company.world.pass(1_000).await;
    let shares = [owned(&a), owned(&b), owned(&c)];
    assert_eq!(shares.iter().sum::<usize>(), 300);
    assert!(shares.iter().all(|share| (60..=140).contains(share)), "{shares:?}");
}

#[tokio::test]
async fn a_newcomer_has_no_share_for_half_a_minute() {
    let mut company = Company::new();
    let a = company.join("a").await;
    company.world.pass(31_000).await;
    filled(&a.registry(), 90).await;
    let b = company.join("b").await;
    company.world.pass(20_000).await;
    renew(&a.registry(), &[]).await;
    assert_eq!(owned(&b), 0);
    company.world.pass(15_000).await;
    assert!(owned(&b) > 0);
}

/// Renewals arrive at a node that owns few of the leases: their owners hear of them, and no word goes to the log.
#[tokio::test]
async fn what_is_renewed_anywhere_never_goes_and_costs_no_change() {
    let (company, [a, b, c]) = Company::three().await;
    let keys = filled(&a.registry(), 60).await;
    for turn in 0..30 {
        company.world.pass(3_000).await;
        renew(&[&a, &b, &c][turn % 3].registry(), &keys).await;
        assert_eq!(healthy(&a.registry()), 60, "in turn {turn}");
    }
    assert_eq!(a.registry().status().counted.suspects, 0);
    assert_eq!(a.registry().view(&service("orders")).revision, b.registry().view(&service("orders")).revision);
}

/// The way to the owners is cut: then the owner suspects, and who heard the instance refutes.
#[tokio::test]
async fn what_is_renewed_where_the_owner_cannot_hear_it_never_goes() {
    let (company, [a, b, c]) = Company::three().await;
    let keys = filled(&a.registry(), 60).await;
    for (from, to) in [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("a", "c"), ("c", "a")] {
        company.network.cut(from, to);
    }
    for turn in 0..30 {
        company.world.pass(3_000).await;
        renew(&[&a, &b, &c][turn % 3].registry(), &keys).await;
        assert_eq!(healthy(&a.registry()), 60, "in turn {turn}");
    }
}

#[tokio::test]
async fn what_nobody_renews_goes_within_the_bounds_whoever_owns_it() {
    let (company, [a, b, c]) = Company::three().await;
    // Few enough that their loss is no mass loss.
    let keys: Vec<_> = (0..8).map(|at| key(&format!("s{at}"), "x")).collect();
    for at in &keys {
        must(&a.registry(), register(at, provider(80, ttl(TTL_MS, 5_000)))).await;
    }
    company.world.pass(3_000).await;
    renew(&b.registry(), &keys).await;
    let all = |healthy: Option<bool>| {
        let seats = [&a, &b, &c];
        let at = |seat: &&Seat, key: &InstanceKey| health(&seat.registry(), &key.service, "x") == healthy;
        seats.iter().all(|seat| keys.iter().all(|key| at(seat, key)))
    };
    let sick = company.until("all are unhealthy", || all(Some(false))).await;
    assert!((TTL_MS..=TTL_MS + 2_000).contains(&sick), "unhealthy after {sick} ms");
    let gone = company.until("all are gone", || all(None)).await;
    assert!(gone <= 7_000, "removed after {gone} ms");
}

/// Each owner sees its own alone go: what went at the others counts too, also when it is not there any more.
#[tokio::test]
async fn the_last_of_a_service_is_held_though_each_was_another_nodes() {
    let (company, [a, b, c]) = Company::three().await;
    let seats = [&a, &b, &c];
    let mut members = [const { None }; 3];
    for at in 0..40 {
        // Who owns a name shows in how many leases each has.
        let (name, before) = (key("orders", &format!("i{at}")), seats.map(owned));
        must(&a.registry(), register(&name, provider(80, ttl(600_000, 1_000)))).await;
        company.world.pass(300).await;
        let owner = (0..3).find(|seat| owned(seats[*seat]) > before[*seat]).expect("somebody owns it");
        members[owner] = Some(name);
    }
    let members = members.map(|member| member.expect("forty names are of all three"));
    for at in (0..40).map(|at| key("orders", &format!("i{at}"))) {
        let lease = ttl(TTL_MS, 1_000);
        let word = if members.contains(&at) { register(&at, provider(80, lease)) } else { deregister(&at) };
        must(&a.registry(), word).await;
    }
    for fallen in 0..3 {
        renew(&b.registry(), &members[fallen..]).await;
        company.world.pass(3_000).await;
    }
    let is_gone = |member: &InstanceKey| health(&a.registry(), &member.service, member.id.as_str()).is_none();
    company.until("the first is gone", || is_gone(&members[0])).await;
    // By now the last one's own time is over as well, and the first one's loss still in the window.
    company.world.pass(7_500).await;
    for seat in seats {
        assert_eq!(health(&seat.registry(), &members[2].service, members[2].id.as_str()), Some(true));
        assert_eq!(seat.registry().freezes().len(), 1);
    }
}
