//! Journals as nodes write them, and the same with something planted.

use cache_sync::journal::{Config, FileJournal};
use compute::model::{Op, Position};
use compute::port::Journal as _;
use compute::state::{Refusal, Verdict};
use compute::testing::journal::Decided;
use compute::testing::script::{IDENTITY, Script};

use super::{Decisions, Ruled, Wrong};

/// What nodes decided of a log; each removal is by somebody who may order it.
fn script() -> Vec<Decided> {
    // An even seed: nobody says how it calls itself.
    let mut script = Script::new(4);
    (0..300).for_each(|_| drop(script.step()));
    let mut decided = script.journal().decided();
    for one in &mut decided {
        for change in &mut std::sync::Arc::make_mut(&mut one.entry.frame).changes {
            change.author.door = if matches!(change.op, Op::Expire { .. }) { "lease" } else { "http" }.into();
        }
    }
    decided
}

/// One process after the other of each node, with what each of them decided.
async fn judged(journals: &[(&str, &[Decided])]) -> Ruled {
    let folder = tempfile::tempdir().expect("a folder");
    for (node, decided) in journals {
        let config = Config { directory: folder.path().join(node), bytes_max: 1 << 30 };
        let journal = FileJournal::open(&config).expect("made");
        let from = decided[0].entry.position.back(1);
        journal.begun(IDENTITY, if from.offset() == 0 { Position::ZERO } else { from });
        decided.iter().for_each(|one| journal.record(&one.entry, &one.verdicts));
        journal.close().await;
    }
    let nodes = ["node1", "node2"].map(str::to_owned);
    Decisions::of(folder.path(), &nodes).judge().expect("readable")
}

fn count(decided: &[Decided]) -> u64 {
    decided.iter().map(|one| one.verdicts.len() as u64).sum()
}

fn columns(ruled: &Ruled) -> Vec<Wrong> {
    ruled.wrong.iter().map(|(wrong, _)| *wrong).collect()
}

/// With the first verdict of which `other` makes another one.
fn planted(decided: &[Decided], other: impl Fn(Verdict, Position, usize) -> Option<Verdict>) -> Vec<Decided> {
    let mut decided = decided.to_vec();
    let changed = decided.iter_mut().find_map(|one| {
        let at = one.entry.position;
        one.verdicts.iter_mut().enumerate().find_map(|(place, verdict)| {
            *verdict = other(*verdict, at, place)?;
            Some(())
        })
    });
    changed.expect("one to change");
    decided
}

#[tokio::test]
async fn what_nodes_decided_stands() {
    let all = script();
    let half = all.len() / 2;
    // The second dies, boots from rows, and decides some of it again.
    let ruled = judged(&[("node1", &all), ("node2", &all[..half]), ("node2", &all[half - 20..])]).await;
    assert_eq!(ruled.wrong, []);
    assert_eq!((ruled.unjudged, ruled.torn), (0, 0));
    assert_eq!(ruled.decisions["node1"], count(&all));
    assert_eq!(ruled.decisions["node2"], count(&all[..half]) + count(&all[half - 20..]));
    assert!(ruled.removals > 0, "{} removals", ruled.removals);
}

#[tokio::test]
async fn a_stale_decision_that_all_nodes_took_is_found() {
    let all = planted(&script(), |verdict, at, place| match verdict {
        Verdict::Refused(_) => Some(Verdict::Applied(at.at(place as u16))),
        _ => None,
    });
    let ruled = judged(&[("node1", &all), ("node2", &all)]).await;
    assert_eq!(columns(&ruled), [Wrong::StaleDecision, Wrong::TooLittle], "{:?}", ruled.wrong);
}

#[tokio::test]
async fn a_node_that_decides_otherwise_is_found() {
    let all = script();
    let other = planted(&all, |verdict, _, _| verdict.is_applied().then_some(Verdict::Refused(Refusal::Base)));
    let ruled = judged(&[("node1", &all), ("node2", &other)]).await;
    assert_eq!(columns(&ruled), [Wrong::OtherDecision], "{:?}", ruled.wrong);
    // All of them do, and the model does not.
    let ruled = judged(&[("node1", &other), ("node2", &other)]).await;
    assert_eq!(columns(&ruled), [Wrong::OtherDecision, Wrong::TooLittle], "{:?}", ruled.wrong);
}

#[tokio::test]
async fn a_removal_by_somebody_who_may_not_is_found() {
    let mut all = script();
    for change in all.iter_mut().flat_map(|one| &mut std::sync::Arc::make_mut(&mut one.entry.frame).changes) {
        change.author.door = "http".into();
    }
    let ruled = judged(&[("node1", &all)]).await;
    let columns = columns(&ruled);
    assert!(!columns.is_empty() && columns.iter().all(|wrong| *wrong == Wrong::UnprovenRemoval), "{:?}", ruled.wrong);
}

#[tokio::test]
async fn what_is_missing_is_too_little() {
    let all = script();
    let ruled = judged(&[("node1", &all[..30]), ("node2", &all[31..])]).await;
    assert_eq!(columns(&ruled), [Wrong::TooLittle]);
    assert_eq!((ruled.decisions.len(), ruled.unjudged), (1, count(&all[31..])));
}
