//! The log that all of them share is lost: its next life begins from the node that is furthest, or from the rows.

use compute::command::Ack;
use compute::model::{InstanceKey, Lease, LogIdentity, Position, Revision};
use compute::node::StartError;
use compute::port::peers::Reading;
use compute::port::{ChangeLog, Clock, PresenceStore};
use compute::testing::change_log::suite::frame;
use compute::testing::change_log::{FaultyLog, MemoryLog, Stall};
use compute::testing::store::Fault;

use crate::among::company::{Company, Seat, health};
use crate::world::{ask, deregister, key, must, provider, register, service, somebody, ttl};

/// A life that was raised, and not drawn for a new log.
const RAISED: u8 = 96;

async fn registered(seat: &Seat, ids: std::ops::Range<usize>) -> Vec<InstanceKey> {
    let keys: Vec<_> = ids.map(|at| key("orders", &format!("i{at}"))).collect();
    for at in &keys {
        must(&seat.registry(), register(at, provider(80, ttl(9_000, 60_000)))).await;
    }
    keys
}

fn listed(seat: &Seat) -> usize {
    seat.registry().view(&service("orders")).instances.len()
}

fn revision(seat: &Seat) -> Revision {
    seat.registry().view(&service("orders")).revision
}

fn applied(seat: &Seat) -> Position {
    seat.registry().progress().applied
}

fn reading(seat: &Seat) -> Reading {
    seat.registry().status().reading
}

fn store_away(seat: &Seat, is_away: bool) {
    seat.store.stand(is_away.then_some(Fault::Lose));
}

/// They all read the same life again.
async fn together(company: &Company, seats: &[&Seat], generation: u8) {
    let is_so = |seat: &&Seat| reading(seat) == Reading::Reads && applied(seat).generation() == generation;
    company.until("they go on together", || seats.iter().all(is_so)).await;
}

/// What they decided stands, in both lives, by the model that reads all of it.
fn stands(company: &Company, least: u64) {
    let judged = company.judged();
    assert_eq!(judged.wrong, []);
    assert_eq!(judged.unjudged, 0);
    let decisions: u64 = judged.decisions.values().sum();
    assert!(decisions >= least, "{decisions} decisions were judged");
}

/// Until the store has all that this node has of the service.
async fn landed(company: &Company, seat: &Seat) {
    let wanted = applied(seat);
    company.until("it has landed", || seat.registry().progress().landed >= wanted).await;
}

#[tokio::test]
async fn a_topic_that_was_made_anew_loses_nothing_and_stops_no_reader() {
    let (company, [a, b, c]) = Company::three().await;
    let keys = registered(&a, 0..20).await;
    landed(&company, &a).await;
    // What follows can't land: the nodes are ahead of the store.
    for seat in [&a, &b, &c] {
        store_away(seat, true);
    }
    let more = registered(&b, 20..25).await;
    company.world.pass(1_000).await;
    let before = revision(&a);
    company.log.make_anew();
    for _ in 0..6 {
        company.world.pass(2_000).await;
        for seat in [&a, &b, &c] {
            assert_eq!(listed(seat), 25, "reads are answered");
            assert_eq!(seat.registry().status().reading, Reading::Stopped);
        }
        for at in keys.iter().chain(&more) {
            b.registry().renew(&somebody(), at, None).await.expect("renewals are");
        }
    }
    for seat in [&a, &b, &c] {
        store_away(seat, false);
    }
    together(&company, &[&a, &b, &c], RAISED).await;
    assert_eq!(company.journal.raised().len(), 1, "one has begun it, once");
    must(&c.registry(), register(&key("orders", "new"), provider(80, ttl(9_000, 60_000)))).await;
    company.until("all of them have it", || [&a, &b, &c].iter().all(|seat| listed(seat) == 26)).await;
    assert!(revision(&a) > before, "no revision goes back");
    assert_eq!(revision(&a), revision(&b));
    for turn in 0..10 {
        company.world.pass(2_500).await;
        for at in keys.iter().chain(&more) {
            [&a, &b, &c][turn % 3].registry().renew(&somebody(), at, None).await.expect("renewed");
        }
        assert!(keys.iter().chain(&more).all(|at| health(&a.registry(), &at.service, at.id.as_str()) == Some(true)));
    }
    assert_eq!([&a, &b, &c].map(|seat| seat.registry().status().divergences), [0; 3]);
    assert_eq!(a.registry().status().members.len(), 3, "none was taken for gone");
    stands(&company, 100);
}

/// What only one of them has applied, and has acknowledged, is what all of them go on from.
#[tokio::test]
async fn the_one_that_is_furthest_begins_the_next_life() {
    for ahead in 0..3 {
        let (company, seats) = Company::three().await;
        registered(&seats[0], 0..3).await;
        landed(&company, &seats[0]).await;
        for (at, seat) in seats.iter().enumerate() {
            store_away(seat, true);
            if at != ahead {
                seat.log.stall(Stall::Read);
            }
        }
        registered(&seats[ahead], 3..6).await;
        company.log.make_anew();
        company.until("all have stopped", || seats.iter().all(|seat| reading(seat) == Reading::Stopped)).await;
        for seat in &seats {
            seat.log.release(Stall::Read);
            store_away(seat, false);
        }
        let [a, b, c] = &seats;
        together(&company, &[a, b, c], RAISED).await;
        assert_eq!([a, b, c].map(listed), [6; 3], "ahead was {ahead}");
        assert_eq!(company.journal.raised().len(), 1);
        stands(&company, 100);
    }
}

/// A node that was away for long writes into the new topic before it knows that there is one.
#[tokio::test]
async fn what_is_written_for_an_earlier_life_says_nothing_and_its_writer_begins_anew() {
    let (company, [a, b, c]) = Company::three().await;
    registered(&a, 0..4).await;
    company.world.pass(1_000).await;
    // It stands still: nobody hears it, and something of its own is on its way.
    for (from, to) in [("a", "c"), ("b", "c"), ("c", "a"), ("c", "b")] {
        company.network.cut(from, to);
    }
    let before = c.incarnation();
    c.freeze();
    store_away(&c, true);
    company.world.pass(1_000).await;
    let late = c.registry();
    let late = tokio::spawn(async move {
        ask(&late, Ack::Log, register(&key("orders", "late"), provider(80, ttl(9_000, 60_000)))).await
    });
    company.world.settle().await;
    company.log.make_anew();
    together(&company, &[&a, &b], RAISED).await;
    must(&b.registry(), register(&key("orders", "new"), provider(80, ttl(9_000, 60_000)))).await;

    c.thaw();
    company.world.pass(3_000).await;
    company.network.mend();
    store_away(&c, false);
    together(&company, &[&a, &b, &c], RAISED).await;
    company.until("it is a member", || a.registry().status().members.len() == 3).await;
    assert_ne!(c.incarnation(), before, "the others took it for gone");
    assert!(late.await.expect("answered").is_ok_and(|outcome| outcome.reached == compute::command::Reached::Overlay));
    company.until("they have the same", || revision(&a) == revision(&c) && listed(&a) == listed(&c)).await;
    assert_eq!(company.journal.raised().len(), 1);
    assert_eq!(a.registry().status().divergences, 0);
    stands(&company, 100);
}

/// An old frame in a new topic: every reader goes past it.
#[tokio::test]
async fn frames_of_an_earlier_life_are_passed_over_by_all() {
    let (company, [a, b, c]) = Company::three().await;
    registered(&a, 0..4).await;
    let identity = a.registry().status().log;
    let old = company.log.handle();
    let first = applied(&a).generation();
    company.log.make_anew();
    together(&company, &[&a, &b, &c], RAISED).await;
    old.follow((identity, first)).await.expect("it follows");
    for seed in 0..3 {
        old.append(frame(identity, seed)).await.expect("a broker takes it");
    }
    registered(&b, 4..8).await;
    company.until("all have it", || [&a, &b, &c].iter().all(|seat| listed(seat) == 8)).await;
    assert_eq!([&a, &b, &c].map(|seat| seat.registry().status().divergences), [0; 3]);
    together(&company, &[&a, &b, &c], RAISED).await;
    stands(&company, 100);
}

/// What was acknowledged without the log is in the next life of it, once.
#[tokio::test]
async fn what_was_accepted_meanwhile_is_in_the_next_life() {
    let (company, [a, b, c]) = Company::three().await;
    let keys = registered(&a, 0..2).await;
    landed(&company, &a).await;
    company.log.make_anew();
    company.until("it is lost", || reading(&b) == Reading::Stopped).await;
    let outcome =
        ask(&b.registry(), Ack::Memory, register(&key("orders", "kept"), provider(81, Lease::Permanent))).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    let outcome = ask(&b.registry(), Ack::Memory, deregister(&keys[0])).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    let refused = ask(&b.registry(), Ack::Log, deregister(&keys[1])).await;
    assert_eq!(refused.err(), Some(compute::Error::LogAway), "nobody repeats it");
    together(&company, &[&a, &b, &c], RAISED).await;
    let has_both = |seat: &&Seat| {
        let there = |id| health(&seat.registry(), &service("orders"), id);
        there("kept").is_some() && there("i0").is_none() && there("i1").is_some()
    };
    company.until("all have it", || [&a, &b, &c].iter().all(has_both)).await;
    company.until("it is the log's", || b.registry().status().counted.overlay == 0).await;
    stands(&company, 100);
}

#[tokio::test]
async fn where_nobody_lives_the_rows_are_the_state() {
    let (mut company, [a, b, c]) = Company::three().await;
    registered(&a, 0..5).await;
    landed(&company, &a).await;
    store_away(&a, true);
    store_away(&b, true);
    store_away(&c, true);
    registered(&a, 5..7).await;
    let shown = revision(&a);
    for seat in [a, b, c] {
        company.kill(seat).await;
    }
    company.log.make_anew();
    let began = company.clock().mono_ms();
    let a = company.join("a").await;
    assert!(company.clock().mono_ms() - began >= 15_000, "a broker may not have found it yet");
    let b = company.join("b").await;
    together(&company, &[&a, &b], RAISED).await;
    assert_eq!([listed(&a), listed(&b)], [5; 2], "what had not landed is lost");
    assert!(revision(&a) > shown, "what was shown and is lost is below what is shown now");
    assert_eq!(company.journal.raised().len(), 1);
    stands(&company, 100);
}

/// Who starts has nothing; who lives has more than the store.
#[tokio::test]
async fn a_node_that_starts_waits_for_those_who_live() {
    let (mut company, [a, b, c]) = Company::three().await;
    registered(&a, 0..2).await;
    landed(&company, &a).await;
    for seat in [&a, &b] {
        store_away(seat, true);
    }
    registered(&b, 2..4).await;
    company.kill(c).await;
    company.log.make_anew();
    company.until("they have stopped", || [&a, &b].iter().all(|seat| reading(seat) == Reading::Stopped)).await;
    let stores = [a.store.clone(), b.store.clone()];
    // It has time enough to begin the next life from the rows, and does not.
    let clock = company.clock().clone();
    let later = tokio::spawn(async move {
        clock.sleep_until(clock.mono_ms() + 40_000).await;
        stores.iter().for_each(|store| store.stand(None));
    });
    let d = company.join("d").await;
    later.await.expect("the stores are back");
    together(&company, &[&a, &b, &d], RAISED).await;
    assert_eq!([&a, &b, &d].map(listed), [4; 3]);
    assert_eq!(company.journal.raised().len(), 1);
    stands(&company, 100);
}

/// Somebody was told another topic, with the same store, and reaches none of the others: what they land shows that they
/// live, and that it is this node which looks at the wrong log.
#[tokio::test]
async fn who_looks_at_another_log_does_not_take_the_store_from_those_who_land() {
    let (mut company, [a, b, c]) = Company::three().await;
    registered(&a, 0..4).await;
    landed(&company, &a).await;
    let theirs = std::mem::replace(&mut company.log, MemoryLog::new(LogIdentity([9; 16])));
    for other in ["a", "b", "c"] {
        company.network.cut("stray", other);
    }
    waits(&mut company).await;
    company.log = theirs;
    assert_eq!(company.journal.raised().len(), 0, "no life is begun");
    let seats = [&a, &b, &c];
    assert_eq!(seats.map(listed), [4; 3]);
    registered(&b, 4..6).await;
    landed(&company, &b).await;
    together(&company, &seats, applied(&a).generation()).await;
}

/// A node that starts over another log does not become ready in a minute.
async fn waits(company: &mut Company) {
    let clock = company.clock().clone();
    let end = clock.mono_ms() + 60_000;
    let minute = async {
        while clock.mono_ms() < end {
            clock.sleep(std::time::Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        stray = company.try_join("stray") => panic!("it must wait; it started: {}", stray.is_ok()),
        () = minute => {}
    }
}

/// The same where nothing lands, but members say that they do not believe it.
#[tokio::test]
async fn who_is_refused_by_those_who_live_begins_no_life() {
    let (mut company, [a, b, c]) = Company::three().await;
    registered(&a, 0..4).await;
    landed(&company, &a).await;
    [&a, &b, &c].iter().for_each(|seat| store_away(seat, true));
    let theirs = std::mem::replace(&mut company.log, MemoryLog::new(LogIdentity([9; 16])));
    company.network.distrust("stray");
    waits(&mut company).await;
    company.log = theirs;
    [&a, &b, &c].iter().for_each(|seat| store_away(seat, false));
    assert_eq!(company.journal.raised().len(), 0, "no life is begun");
    landed(&company, &a).await;
}

/// With another secret a node is in the log and can be told nothing.
#[tokio::test]
async fn who_is_believed_by_nobody_knows_it() {
    let (mut company, [a, b, c]) = Company::three().await;
    assert_eq!(company.world.drive(a.registry().disbelieved()).await, None);
    company.network.distrust("d");
    let d = company.join("d").await;
    let why = company.world.drive(d.registry().disbelieved()).await.expect("all refuse it");
    assert!(why.contains("does not believe"), "{why}");
    assert_eq!(company.world.drive(b.registry().disbelieved()).await, None, "others are not asked by it alone");
    company.network.mend();
    assert_eq!(company.world.drive(d.registry().disbelieved()).await, None);
    for seat in [a, b, c] {
        company.kill(seat).await;
    }
    company.network.distrust("d");
    assert_eq!(company.world.drive(d.registry().disbelieved()).await, None, "nobody is there: it is alone");
}

/// Neither hears the other, and both begin: the store lets one through.
#[tokio::test]
async fn two_that_decide_at_once_are_fenced_by_the_store() {
    let (company, [a, b, c]) = Company::three().await;
    registered(&a, 0..4).await;
    company.world.pass(1_000).await;
    for (from, to) in [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")] {
        company.network.cut(from, to);
    }
    company.log.make_anew();
    together(&company, &[&a, &b, &c], RAISED).await;
    assert_eq!(company.journal.raised().len(), 1);
    company.network.mend();
    company.world.pass(5_000).await;
    assert_eq!([&a, &b, &c].map(listed), [4; 3]);
    assert_eq!(revision(&a), revision(&c));
    stands(&company, 100);
}

/// A store that does not say whether it took the next life tells it when it is asked again.
#[tokio::test]
async fn a_next_life_whose_landing_is_unknown_is_begun_once() {
    for fault in [Fault::Obscure, Fault::Lose, Fault::Late] {
        let (company, [a, b, c]) = Company::three().await;
        registered(&a, 0..4).await;
        landed(&company, &a).await;
        [&a, &b, &c].iter().for_each(|seat| store_away(seat, true));
        company.log.make_anew();
        company.until("all have stopped", || [&a, &b, &c].iter().all(|seat| reading(seat) == Reading::Stopped)).await;
        for seat in [&a, &b, &c] {
            seat.store.script_writes([None, Some(fault)]);
            store_away(seat, false);
        }
        together(&company, &[&a, &b, &c], RAISED).await;
        assert_eq!([&a, &b, &c].map(listed), [4; 3]);
    }
}

/// Their clocks and their brokers are others' business: what belongs to another log is not written to.
#[tokio::test]
async fn a_topic_of_another_log_is_refused() {
    let (mut company, [a, b, c]) = Company::three().await;
    registered(&a, 0..1).await;
    landed(&company, &a).await;
    for seat in [a, b, c] {
        company.kill(seat).await;
    }
    company.log.make_anew();
    let other = LogIdentity([3; 16]);
    let stranger = company.log.handle();
    stranger.follow((other, 7)).await.expect("it follows");
    stranger.append(frame(other, 1)).await.expect("appended");
    let refused = company.try_join("a").await.map(|_| ()).expect_err("it is another log");
    assert!(matches!(refused, StartError::Unpaired { log, .. } if log == other), "{refused}");
    assert!(refused.to_string().contains(&other.to_string()));
}

/// Rows that are gone can only be made again of a log that has its beginning.
#[tokio::test]
async fn a_store_without_rows_is_refused_where_the_log_has_no_beginning() {
    let (mut company, [a, b, c]) = Company::three().await;
    registered(&a, 0..3).await;
    let last = applied(&a);
    for seat in [a, b, c] {
        company.kill(seat).await;
    }
    company.store = compute::testing::store::MemoryStore::new();
    let a = company.join("a").await;
    assert_eq!(listed(&a), 3, "the rows are made of the log again");
    company.kill(a).await;
    let log = FaultyLog::over(company.log.handle());
    log.trim(last).await.expect("trimmed");
    company.store = compute::testing::store::MemoryStore::new();
    let refused = company.try_join("b").await.map(|_| ()).expect_err("it is not whole");
    assert!(matches!(refused, StartError::Headless { .. }), "{refused}");
    assert!(company.store.mark().await.is_ok_and(|mark| mark.is_none()), "nothing was written");
}

/// What is left in the topic of a later life is a part of the registry, even where nothing of it was forgotten.
#[tokio::test]
async fn a_store_without_rows_is_refused_where_the_log_lives_its_second_life() {
    let (mut company, [a, b, c]) = Company::three().await;
    registered(&a, 0..5).await;
    landed(&company, &a).await;
    company.log.make_anew();
    together(&company, &[&a, &b, &c], RAISED).await;
    must(&a.registry(), register(&key("orders", "new"), provider(80, ttl(9_000, 60_000)))).await;
    let log = applied(&a);
    for seat in [a, b, c] {
        company.kill(seat).await;
    }
    company.store = compute::testing::store::MemoryStore::new();
    let refused = company.try_join("a").await.map(|_| ()).expect_err("it has one of six");
    assert!(matches!(refused, StartError::Headless { .. }), "{refused} at {log}");
    assert!(company.store.mark().await.is_ok_and(|mark| mark.is_none()), "nothing was written");
    // Somebody has bound it to the log all the same, such as a node that lives and has lost its store.
    let StartError::Headless { log } = refused else { unreachable!("it was looked at") };
    company.store.lead(log).await.expect("led");
    let refused = company.try_join("a").await.map(|_| ()).expect_err("it has one of six");
    assert!(matches!(refused, StartError::Headless { .. }), "{refused}");
}

/// Whoever lives has everything in memory: it goes on, lands nothing where something is missing, and says so.
#[tokio::test]
async fn a_store_that_was_emptied_under_a_later_life_is_left_alone() {
    let (company, [a, b, c]) = Company::three().await;
    registered(&a, 0..5).await;
    landed(&company, &a).await;
    company.log.make_anew();
    together(&company, &[&a, &b, &c], RAISED).await;
    landed(&company, &a).await;
    company.store.forget();
    must(&a.registry(), register(&key("orders", "new"), provider(80, ttl(60_000, 60_000)))).await;
    let says = |seat: &Seat| seat.registry().status().store_error.clone().is_some_and(|why| why.contains("has lost"));
    company.until("somebody says it", || [&a, &b, &c].iter().any(|seat| says(seat))).await;
    company.world.pass(5_000).await;
    assert_eq!([&a, &b, &c].map(listed), [6; 3], "reads are answered");
}
