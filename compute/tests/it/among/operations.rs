//! What an operator asks of any node about all of them, and of one through another.

use std::sync::Arc;

use compute::Registry;
use compute::error::{Error, What};
use compute::model::{FreezeScope, Selector};
use compute::node::Readiness;
use compute::port::Clock;
use compute::registry::{Gathered, NodeSeen};
use compute::watch::{Scope, Subscriber, WatchSpec};

use crate::among::company::{Company, Seat};
use crate::world::{key, must, provider, register, service, somebody, ttl};

async fn nodes(company: &Company, registry: &Registry) -> Gathered<NodeSeen> {
    company.world.drive(registry.nodes()).await
}

fn names(of: &[Arc<str>]) -> Vec<&str> {
    of.iter().map(AsRef::as_ref).collect()
}

#[tokio::test]
async fn any_node_shows_all_of_them() {
    let (company, [a, b, c]) = Company::three().await;
    for n in 0..90 {
        must(&a.registry(), register(&key("orders", &n.to_string()), provider(80, ttl(60_000, 30_000)))).await;
    }
    let _session = company.world.drive(b.registry().open_session(&somebody(), 10_000, "client")).await.expect("open");
    company.world.pass(1_000).await;
    for asked in [&a, &b, &c] {
        let Gathered { items, unanswered } = nodes(&company, &asked.registry()).await;
        assert_eq!(unanswered, Vec::<Arc<str>>::new());
        let shown: Vec<_> = items.iter().map(|seen| (&*seen.name, seen.node)).collect();
        assert_eq!(shown, [("a", a.incarnation()), ("b", b.incarnation()), ("c", c.incarnation())]);
        assert_eq!(
            items.iter().filter(|seen| seen.is_me).map(|seen| seen.node).collect::<Vec<_>>(),
            [asked.incarnation()]
        );
        assert_eq!(items.iter().filter(|seen| seen.is_lander).map(|seen| &*seen.name).collect::<Vec<_>>(), ["a"]);
        assert_eq!(items.iter().map(|seen| seen.sessions).collect::<Vec<_>>(), [0, 1, 0]);
        let told: Vec<_> = items.iter().map(|seen| seen.report.as_ref().expect("told")).collect();
        assert_eq!(told.iter().map(|report| report.leases.ttl).sum::<usize>(), 90);
        assert!(told.iter().all(|report| report.leases.ttl > 0 && report.readiness == Readiness::Ready), "{told:?}");
        assert!(items.iter().all(|seen| seen.lag_frames <= 2 && seen.joined_ms.is_some()), "{items:?}");
    }
}

/// The log reaches `c` no more: what it has not applied is counted by who has.
#[tokio::test]
async fn who_lags_is_shown_how_far() {
    let (company, [a, _b, c]) = Company::three().await;
    c.log.stall(compute::testing::change_log::Stall::Read);
    company.until("its newest frame does not come back", || c.registry().status().lag.ms >= 250).await;
    let before = a.registry().progress().applied.offset();
    for n in 0..20 {
        must(&a.registry(), register(&key("orders", &n.to_string()), provider(80, ttl(60_000, 30_000)))).await;
    }
    let written = a.registry().progress().applied.offset() - before;
    let seen = nodes(&company, &a.registry()).await.items;
    let [of_a, _, of_c] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(of_a.lag_frames, 0);
    assert!(of_c.lag_frames >= written, "{} of {written}", of_c.lag_frames);
    let lag = of_c.report.as_ref().expect("it answers its peers").lag;
    assert!(lag.ms >= 250 && lag.frames > 0, "{lag:?}");
    c.thaw();
}

#[tokio::test]
async fn who_does_not_answer_is_named_and_shown_as_the_log_knows_it() {
    let (company, [a, b, c]) = Company::three().await;
    company.network.cut("a", "c");
    let Gathered { items, unanswered } = nodes(&company, &a.registry()).await;
    assert_eq!(names(&unanswered), ["c"]);
    let [_, of_b, of_c] = &items[..] else { panic!("{items:?}") };
    assert!(of_b.report.is_ok() && of_c.report.is_err());
    assert_eq!((of_c.node, of_c.applied.offset() > 0), (c.incarnation(), true));
    // It hangs: nobody waits longer than the half second.
    company.network.mend();
    a.peers.set_stalled(true);
    let began = company.clock().mono_ms();
    let Gathered { unanswered, .. } = nodes(&company, &a.registry()).await;
    let took = company.clock().mono_ms() - began;
    assert_eq!(names(&unanswered), ["b", "c"]);
    assert!((500..=550).contains(&took), "{took} ms");
    a.peers.set_stalled(false);
    drop(b);
}

#[tokio::test]
async fn a_node_is_drained_through_another() {
    let (company, [a, b, c]) = Company::three().await;
    let drain = async |wanted: &str| company.world.drive(a.registry().drain_node(wanted)).await;
    assert_eq!(drain("d").await, Err(Error::not_found(What::Node, "d")));
    company.network.cut("a", "b");
    let away = drain("b").await.unwrap_err();
    assert!(matches!(&away, Error::NodeAway { node, .. } if node == "b"), "{away:?}");
    assert!(away.to_string().contains("node \"b\" does not answer: "), "{away}");
    assert_eq!(b.registry().readiness(), Readiness::Ready);
    company.network.mend();
    drain("b").await.expect("told");
    assert_eq!(b.registry().readiness(), Readiness::Draining);
    drain(&c.incarnation().to_string()).await.expect("told");
    assert_eq!((c.registry().readiness(), a.registry().readiness()), (Readiness::Draining, Readiness::Ready));
    company
        .until("the log shows that they go", || a.registry().status().members.iter().filter(|m| m.leaving).count() == 2)
        .await;
    drain("a").await.expect("told");
    assert_eq!(a.registry().readiness(), Readiness::Draining);
}

/// As after a restart that the others have not noticed: the name is the newer one's.
#[tokio::test]
async fn of_two_nodes_of_one_name_the_newer_is_meant() {
    let mut company = Company::new();
    let a = company.join("a").await;
    let old = company.join("b").await;
    let old_node = old.incarnation();
    company.kill(old).await;
    let new = company.join("b").await;
    let both = [old_node, new.incarnation()];
    let known = || a.registry().status().members.iter().filter(|member| both.contains(&member.node)).count();
    company.until("both are members", || known() == 2).await;
    company.world.drive(a.registry().drain_node("b")).await.expect("told");
    assert_eq!(new.registry().readiness(), Readiness::Draining);
}

fn frozen(seat: &Seat) -> Vec<FreezeScope> {
    seat.registry().status().freezes.into_iter().map(|freezing| freezing.scope).collect()
}

#[tokio::test]
async fn a_freeze_is_released_through_another_node_and_no_other_with_it() {
    let (company, [a, b, c]) = Company::three().await;
    // Services of two are exempt: what freezes is each node, for its own leases.
    for n in 0..480 {
        must(&a.registry(), register(&key(&format!("s{}", n / 2), &n.to_string()), provider(80, ttl(9_000, 30_000))))
            .await;
    }
    company.until("all three have frozen", || frozen(&b).len() == 3).await;
    let of_c = FreezeScope::Node(c.incarnation());
    let seen = nodes(&company, &b.registry()).await.items;
    assert_eq!(seen[2].freezes.iter().map(|freezing| &freezing.scope).collect::<Vec<_>>(), [&of_c]);
    // It goes through the log: that nobody reaches the node does not matter.
    company.network.cut("a", "c");
    let released = company.world.drive(a.registry().release_freezes(&somebody(), "c")).await;
    assert_eq!(released, Ok(1));
    for seat in [&a, &c] {
        company.until("the node has read it", || !frozen(seat).contains(&of_c)).await;
        assert_eq!(frozen(seat).len(), 2);
    }
    let unknown = company.world.drive(a.registry().release_freezes(&somebody(), "d")).await;
    assert_eq!(unknown, Err(Error::not_found(What::Node, "d")));
}

#[tokio::test]
async fn who_watches_through_any_node_is_listed() {
    let (company, [a, b, c]) = Company::three().await;
    let watch = |seat: &Seat, name: &str| {
        let scope = Scope::Services(vec![service("orders")]);
        let subscriber = Subscriber { name: name.into(), address: None, door: "test".into() };
        seat.registry()
            .watch(WatchSpec { scope, selector: Selector::default(), from: None, subscriber })
            .expect("watched")
    };
    let _held = [watch(&c, "x"), watch(&a, "y"), watch(&b, "z"), watch(&b, "x")];
    let listed = async || company.world.drive(a.registry().all_subscribers(&service("orders"))).await;
    let shown = |found: &Gathered<compute::registry::Watching>| {
        let items = found.items.iter();
        items.map(|of| format!("{}@{}", of.subscription.subscriber.name, of.node)).collect::<Vec<_>>()
    };
    let all = listed().await;
    assert_eq!(
        (shown(&all), names(&all.unanswered)),
        (["x@b", "x@c", "y@a", "z@b"].map(String::from).to_vec(), vec![])
    );
    company.network.cut("a", "b");
    let some = listed().await;
    assert_eq!((shown(&some), names(&some.unanswered)), (["x@c", "y@a"].map(String::from).to_vec(), vec!["b"]));
}
