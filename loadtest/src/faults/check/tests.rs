//! Each property finds what it is there for, and nothing else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::truth::{Known, Revision, Seen, Since};
use super::chain::{Chain, Item, Told};
use super::enough::{self, Judged, Wanted};
use super::written::{Value, Written};
use super::{alive, dead, list, order, same};

const BOUND: Duration = Duration::from_secs(20);

fn at(offset: u64) -> Revision {
    Revision::new(1, offset, 0)
}

fn known(id: &str, held: Option<(Instant, Revision)>, died_at: Option<Instant>) -> Known {
    Known { held, died_at, ..Known::new("s", id) }
}

fn seen(asked: Instant, revision: Revision, listed: &[(&str, bool)]) -> Seen {
    let listed = listed.iter().map(|&(id, healthy)| (id.to_owned(), healthy)).collect();
    Seen { service: "s".into(), asked, revision, listed, by: "a test".into() }
}

#[test]
fn a_live_instance_must_be_shown_healthy_from_its_acknowledgement_on() {
    let now = Instant::now();
    let (before, after) = (now - Duration::from_secs(1), now + Duration::from_secs(1));
    let check = |held, died_at, revision, listed: &[(&str, bool)]| {
        alive::removed(&known("a", held, died_at), &seen(now, revision, listed)).is_some()
    };
    let held = Some((before, at(5)));
    assert!(check(held, None, at(5), &[]), "missing");
    assert!(check(held, None, at(9), &[("a", false)]), "unhealthy");
    assert!(!check(held, None, at(5), &[("a", true)]));
    assert!(!check(held, None, at(4), &[]), "the list is older than the register");
    assert!(!check(Some((after, at(5))), None, at(5), &[]), "asked for before it was acknowledged");
    assert!(!check(None, None, at(5), &[]), "only an overlay has it, or nobody knows");
    assert!(!check(held, Some(before), at(5), &[]), "it died");
}

#[test]
fn a_list_lacks_nobody_who_lives() {
    let now = Instant::now();
    let all = ["a", "b"].map(|id| known(id, Some((now, at(1))), None));
    assert_eq!(list::untrue(&all, &seen(now, at(1), &[("a", true), ("b", true)])), None);
    assert_eq!(list::untrue(&all, &seen(now, at(1), &[("a", true), ("b", false)])), None, "unhealthy is not missing");
    assert!(list::untrue(&all, &seen(now, at(1), &[("a", true)])).is_some_and(|what| what.contains("1 of 2")));
    assert!(list::untrue(&all, &seen(now, at(1), &[])).is_some_and(|what| what.contains("2 of 2")));
}

#[test]
fn the_dead_go_within_the_bound_of_what_happened_last() {
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    let check = |died_at: Instant, since, listed: &[(&str, bool)]| {
        let one = known("a", Some((died_at, at(1))), Some(died_at));
        dead::kept(&one, &seen(died_at + BOUND + second, at(9), listed), since, BOUND).is_some()
    };
    assert!(check(now, Since::At(now), &[("a", false)]));
    assert!(!check(now, Since::At(now), &[]), "it is gone");
    assert!(!check(now, Since::At(now + second * 2), &[("a", true)]), "its owner died behind it");
    assert!(!check(now, Since::Held, &[("a", true)]), "the log is away");
}

#[test]
fn nobody_reads_backwards() {
    assert!(order::back(Some(at(5)), at(4)).is_some());
    assert_eq!(order::back(Some(at(5)), at(5)), None);
    assert_eq!(order::back(None, at(1)), None);
    assert_eq!(order::back(Some(Revision::new(1, 900, 7)), Revision::new(2, 1, 0)), None, "another generation");
}

fn item(id: &str, is_healthy: bool) -> Item {
    Item { id: id.into(), is_healthy }
}

fn snapshot(revision: Revision, items: Vec<Item>) -> Told {
    Told::Snapshot { items, revision, is_complete: true }
}

fn change(from: Revision, to: Revision, put: Vec<Item>, removed: &[&str]) -> Told {
    Told::Change { from, to, put, removed: removed.iter().map(|&id| id.to_owned()).collect() }
}

#[test]
fn a_chain_is_whole() {
    let mut chain = Chain::new();
    assert_eq!(chain.take(snapshot(at(3), vec![item("a", true)])), Ok(()));
    assert_eq!(chain.take(change(at(3), at(5), vec![item("b", false)], &["a"])), Ok(()));
    assert_eq!(chain.view, BTreeMap::from([("b".to_owned(), false)]));
    assert_eq!(chain.take(Told::Progress { revision: at(8) }), Ok(()));
    chain.resumes();
    assert_eq!(chain.at(), Some(at(8)));
    assert_eq!(chain.take(change(at(8), at(9), vec![], &["b"])), Ok(()), "on another node, from where it was");
    assert_eq!(chain.take(Told::Compacted), Ok(()));
    assert_eq!(chain.take(snapshot(at(12), vec![])), Ok(()), "announced");
}

#[test]
fn a_broken_chain_is_found() {
    let begun = || {
        let mut chain = Chain::new();
        assert_eq!(chain.take(snapshot(at(3), vec![])), Ok(()));
        chain
    };
    assert!(begun().take(change(at(4), at(5), vec![], &[])).is_err(), "a gap");
    assert!(begun().take(change(at(2), at(5), vec![], &[])).is_err(), "twice");
    assert!(begun().take(snapshot(at(5), vec![])).is_err(), "a snapshot that nobody announced");
    assert!(begun().take(Told::Progress { revision: at(2) }).is_err(), "back");
    assert!(Chain::new().take(change(at(1), at(2), vec![], &[])).is_err(), "of nothing");
}

#[test]
fn who_saw_no_service_begins_anew() {
    let mut chain = Chain::new();
    assert_eq!(chain.take(snapshot(Revision::default(), vec![])), Ok(()));
    chain.resumes();
    assert_eq!(chain.at(), None);
    assert_eq!(chain.take(snapshot(at(3), vec![item("a", true)])), Ok(()));
}

#[test]
fn parts_of_a_snapshot_add_up_and_do_not_outlive_their_connection() {
    let part = |id, is_complete| Told::Snapshot { items: vec![item(id, true)], revision: at(3), is_complete };
    let mut chain = Chain::new();
    assert_eq!(chain.take(part("a", false)), Ok(()));
    chain.resumes();
    assert_eq!(chain.at(), None, "only what is complete may be resumed from");
    assert_eq!(chain.take(part("b", false)), Ok(()));
    assert_eq!(chain.take(part("c", true)), Ok(()));
    assert_eq!(chain.view.into_keys().collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn what_was_acknowledged_holds_and_what_is_unknown_may() {
    let mut written = Written::default();
    written.asked(Value::Weight(1));
    assert_eq!(written.lost(Value::Absent, at(9)), None, "nothing was acknowledged");
    written.acknowledged(Value::Weight(1), at(5));
    assert_eq!(written.lost(Value::Weight(1), at(5)), None);
    assert!(written.lost(Value::Absent, at(5)).is_some());
    assert_eq!(written.lost(Value::Absent, at(4)), None, "older than the acknowledgement");
    written.asked(Value::Absent);
    assert_eq!(written.lost(Value::Absent, at(6)), None, "it may hold");
    assert_eq!(written.lost(Value::Weight(1), at(6)), None, "or not");
    written.acknowledged(Value::Absent, at(7));
    assert!(written.lost(Value::Weight(1), at(8)).is_some(), "it came back");
}

#[test]
fn all_must_show_the_same() {
    let digests = |digest: &str| Some(BTreeMap::from([("s".to_owned(), digest.to_owned())]));
    let check =
        |store| same::differs(&BTreeMap::from([("node1".to_owned(), digests("1")), ("store".to_owned(), store)]));
    assert_eq!(check(digests("1")), None);
    assert!(check(digests("2")).is_some_and(|what| what.contains("node1") && what.contains("store")));
    assert!(check(Some(BTreeMap::new())).is_some(), "it lacks a service");
    assert!(check(None).is_some_and(|what| what.contains("store did not answer")));
}

#[test]
fn a_row_of_little_says_so() {
    let wanted = || Wanted {
        providers: 2,
        readers: vec!["a reader".into(), "node1".into()],
        nodes: vec!["node1".into(), "node2".into()],
        dead: 1,
        writers: 1,
    };
    let judged = || Judged {
        providers: 2,
        lists: BTreeMap::from([("a reader".to_owned(), 90), ("node1".to_owned(), 10)]),
        lists_meanwhile: 50,
        lasted: Duration::from_secs(10),
        took: Duration::from_secs(20),
        dead: 1,
        decisions: ["node1", "node2"].map(|node| (node.to_owned(), 7)).into(),
        decisions_unjudged: 0,
        removals: 1,
        torn_journals: 0,
        writers: ["w0".to_owned()].into(),
    };
    let check = |change: fn(&mut Judged)| {
        let mut judged = judged();
        change(&mut judged);
        enough::lacking(&judged, &wanted()).unwrap_or_default()
    };
    assert_eq!(check(|_| {}), "");
    assert!(check(|judged| judged.lists.retain(|by, _| by != "node1")).contains("node1"));
    assert!(check(|judged| judged.providers = 1).contains("1 providers"));
    assert!(check(|judged| judged.took = Duration::from_secs(21)).contains("100 lists"));
    assert!(check(|judged| judged.lasted = Duration::from_secs(11)).contains("50 lists while"));
    assert!(check(|judged| judged.dead = 0).contains("0 dead"));
    assert!(check(|judged| judged.decisions.retain(|node, _| node != "node2")).contains("no decision of node2"));
    assert!(check(|judged| judged.removals = 0).contains("0 removals"));
    assert!(check(|judged| judged.writers.clear()).contains("0 writers"));
}
