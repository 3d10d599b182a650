//! Nodes that die, stand still, or are cut off.

use compute::command::Command;
use compute::model::{InstanceKey, Lease};
use compute::node::Readiness;
use compute::registry::Attached;
use compute::testing::change_log::Stall;
use futures::FutureExt;

use crate::among::company::{Company, Seat, health};
use crate::world::{key, must, provider, register, service, somebody, ttl};

const TTL_MS: u64 = 9_000;

async fn register_all(seat: &Seat, names: &[&str]) -> Vec<InstanceKey> {
    let keys: Vec<_> = names.iter().map(|name| key(name, "x")).collect();
    for at in &keys {
        must(&seat.registry(), register(at, provider(80, ttl(TTL_MS, 60_000)))).await;
    }
    keys
}

fn is_healthy(seat: &Seat, at: &InstanceKey) -> Option<bool> {
    health(&seat.registry(), &at.service, "x")
}

#[tokio::test]
async fn the_leases_of_a_dead_node_go_on_at_others() {
    let (company, [a, b, c]) = Company::three().await;
    let names: Vec<_> = (0..30).map(|at| format!("s{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let keys = register_all(&a, &names).await;
    company.kill(a).await;
    for turn in 0..20 {
        company.world.pass(2_500).await;
        for at in keys.iter().skip(1) {
            [&b, &c][turn % 2].registry().renew(&somebody(), at, None).await.expect("renewed");
        }
        for at in keys.iter().skip(1) {
            assert_eq!(is_healthy(&b, at), Some(true), "{at} in turn {turn}");
        }
    }
    assert_eq!(is_healthy(&c, &keys[0]), Some(false), "nobody renewed it");
}

/// Its owner and its provider die together: it is unhealthy within the larger of TTL and 2 s of that, and 2 s more.
#[tokio::test]
async fn a_dead_provider_of_a_dead_owner_goes_within_the_bound() {
    for victim in 0..3 {
        let (company, seats) = Company::three().await;
        let keys = register_all(&seats[1], &["s0", "s1", "s2", "s3", "s4", "s5"]).await;
        company.world.pass(3_000).await;
        for at in &keys {
            seats[1].registry().renew(&somebody(), at, None).await.expect("renewed");
        }
        // Long enough for the owners to hear of it; what dies with a node before that, its clients say again.
        company.world.pass(500).await;
        let [a, b, c] = seats;
        let (dead, witness, _other) = match victim {
            0 => (a, b, c),
            1 => (b, a, c),
            _ => (c, a, b),
        };
        company.kill(dead).await;
        let all = || keys.iter().all(|at| is_healthy(&witness, at) == Some(false));
        let sick = company.until("all are unhealthy", all).await;
        assert!((TTL_MS - 600..=TTL_MS + 4_500).contains(&sick), "unhealthy after {sick} ms");
    }
}

#[tokio::test]
async fn a_node_that_stood_still_comes_back_as_another_one_and_removes_nobody() {
    let (company, [a, b, c]) = Company::three().await;
    let keys = register_all(&b, &["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"]).await;
    let before = a.incarnation();
    a.freeze();
    for _ in 0..12 {
        company.world.pass(2_500).await;
        for at in &keys {
            b.registry().renew(&somebody(), at, None).await.expect("renewed");
            assert_eq!(is_healthy(&c, at), Some(true));
        }
    }
    assert_eq!(b.registry().status().members.len(), 2, "the others took it for gone");
    a.thaw();
    company.until("it is back", || b.registry().status().members.len() == 3).await;
    assert_ne!(a.incarnation(), before);
    for _ in 0..20 {
        company.world.pass(2_500).await;
        for at in &keys {
            c.registry().renew(&somebody(), at, None).await.expect("renewed");
            assert_eq!(is_healthy(&a, at), Some(true));
        }
    }
}

/// What is appended to it when it goes on was handed over long ago, and nobody could have read it before.
#[tokio::test]
async fn nobody_is_behind_a_log_that_stands_still() {
    let (company, [a, b, c]) = Company::three().await;
    for seat in [&a, &b, &c] {
        seat.freeze();
    }
    company.world.pass(8_000).await;
    for seat in [&a, &b, &c] {
        seat.log.release(Stall::Append);
    }
    for _ in 0..8 {
        company.world.pass(1_000).await;
        for seat in [&a, &b, &c] {
            assert_eq!(seat.registry().readiness(), Readiness::Ready);
        }
    }
    b.thaw();
    c.thaw();
    let is_ready = |seat: &Seat| seat.registry().readiness() == Readiness::Ready;
    company.until("who reads nothing while the others do is behind", || !is_ready(&a)).await;
    a.thaw();
    company.until("all have caught up", || [&a, &b, &c].into_iter().all(is_ready)).await;
}

/// It does not know that the others took it for gone, and its leases over, and its clients do not know either.
#[tokio::test]
async fn who_is_cut_off_from_the_log_alone_tells_everybody_what_it_hears() {
    let (company, [a, b, c]) = Company::three().await;
    let keys = register_all(&b, &["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"]).await;
    a.freeze();
    for _ in 0..12 {
        company.world.pass(2_500).await;
        for at in &keys {
            a.registry().renew(&somebody(), at, None).await.expect("renewed");
            assert_eq!(is_healthy(&c, at), Some(true), "{at}");
        }
    }
    assert_eq!(b.registry().status().members.len(), 2, "the others took it for gone");
    a.thaw();
}

/// Nobody can be told that it goes, and it need not be: the others notice its silence.
#[tokio::test]
async fn who_is_told_to_stop_while_the_log_is_away_stops() {
    let (company, [a, _b, c]) = Company::three().await;
    a.log.stall(Stall::Append);
    c.log.set_away(true);
    // Until both have noticed: an append is under way at the one, and none at the other.
    company.world.pass(4_000).await;
    for seat in [a, c] {
        company.world.drive(seat.node.stop()).await;
    }
}

/// What a session's stream says reaches this node alone, and the others count its grace from this node's last word.
#[tokio::test]
async fn who_is_cut_off_from_the_log_alone_sends_its_sessions_elsewhere_in_time() {
    const GRACE_MS: u32 = 6_000;
    let (company, [a, b, c]) = Company::three().await;
    let held = a.registry().open_session(&somebody(), GRACE_MS, "client").await.expect("opened");
    let at = key("orders", "x");
    let command = Command::Register {
        instance: at.clone(),
        provider: Box::new(provider(80, Lease::stream(held.session, 30_000).expect("a lease"))),
        epoch: Some(held.epoch),
        generation: None,
    };
    must(&a.registry(), command).await;
    a.freeze();
    let closed = company.until("its stream is closed", || is_closed(&held)).await;
    assert!(closed + 1_500 < u64::from(GRACE_MS), "closed after {closed} ms");
    let refused = company.world.drive(a.registry().resume_session(&somebody(), held.session)).await;
    assert!(refused.is_err(), "only another node can take it");
    let taken = company.world.drive(b.registry().resume_session(&somebody(), held.session)).await.expect("taken over");
    for _ in 0..12 {
        company.world.pass(2_500).await;
        assert_eq!(is_healthy(&c, &at), Some(true));
    }
    drop(taken);
    a.thaw();
}

/// A session can't be taken anywhere else then.
#[tokio::test]
async fn where_the_log_is_away_for_all_nobody_closes_a_stream() {
    let (company, seats) = Company::three().await;
    let held = seats[0].registry().open_session(&somebody(), 6_000, "client").await.expect("opened");
    seats.iter().for_each(Seat::freeze);
    for _ in 0..12 {
        company.world.pass(2_500).await;
        assert!(!is_closed(&held));
    }
    seats.iter().for_each(Seat::thaw);
}

fn is_closed(held: &Attached) -> bool {
    held.superseded().now_or_never().is_some()
}

/// It can't say so to anybody: it does not promise what it can't keep.
#[tokio::test]
async fn a_node_that_hears_nobody_refuses_renewals_and_answers_reads() {
    let (company, [a, b, _c]) = Company::three().await;
    let keys = register_all(&a, &["s0"]).await;
    company.world.pass(1_000).await;
    a.freeze();
    for (from, to) in [("a", "b"), ("a", "c"), ("b", "a"), ("c", "a")] {
        company.network.cut(from, to);
    }
    company.world.pass(6_000).await;
    let refused = a.registry().renew(&somebody(), &keys[0], None).await;
    assert!(matches!(refused, Err(compute::Error::NotReady(_))), "{refused:?}");
    assert_eq!(is_healthy(&a, &keys[0]), Some(true), "reads are answered");
    b.registry().renew(&somebody(), &keys[0], None).await.expect("the others renew");
    a.thaw();
    company.network.mend();
    company.until("it is heard again", || a.registry().status().isolated.is_none()).await;
    company.world.drive(a.registry().renew(&somebody(), &keys[0], None)).await.expect("renewed");
}

#[tokio::test]
async fn all_of_them_die_and_every_lease_has_its_full_time_again() {
    let (mut company, [a, b, c]) = Company::three().await;
    let keys = register_all(&b, &["s0", "s1", "s2"]).await;
    let landed = b.registry().progress().applied;
    company.until("it has landed", || b.registry().progress().landed >= landed).await;
    for seat in [a, b, c] {
        company.kill(seat).await;
    }
    company.world.pass(60_000).await;
    let a = company.join("a").await;
    assert!(keys.iter().all(|at| is_healthy(&a, at) == Some(true)));
    let sick = company.until("they lapse", || keys.iter().all(|at| is_healthy(&a, at) == Some(false))).await;
    assert!((TTL_MS - 1_000..=TTL_MS + 2_000).contains(&sick), "unhealthy after {sick} ms");
    assert_eq!(a.registry().view(&service("s0")).instances.len(), 1);
}
